"""Stages that ONNX Runtime or OpenVINO computes from a graph."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import hfpose
from hfpose.backends.graph_backend import GraphRunner
from hfpose.backends.graph_files import write_description
from hfpose.backends.onnx_cache import cached_graph, compiled_cache, onnx_cache_dir
from hfpose.backends.onnx_graphs import example_inputs
from hfpose.errors import CheckpointError, ConfigError, InputError
from hfpose.export.graph_folders import export_folder
from hfpose.pipelines.stage import load_stage
from small_models import small_lifter, small_model

BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0]]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch, request):
    """A cache that the tests of this file share, so that each network is exported once."""
    folder = tmp_path_factory.getbasetemp() / "onnx-runner-cache"
    monkeypatch.setenv("HFPOSE_CACHE", str(folder))
    return folder


@pytest.fixture(params=["onnxruntime", "openvino"])
def backend(request) -> str:
    return pytest.importorskip(request.param).__name__


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def stage_of(name: str, backend: str = "onnxruntime", **options):
    model, processor = small_model(name)
    return load_stage(model, "pose", processor, backend=backend, **options)


@pytest.mark.parametrize("name", ["rtmpose", "vitpose-experts"])
def test_a_stage_computes_what_the_model_computes(name, backend):
    stage = stage_of(name, backend)
    for count in (1, 4):
        inputs = example_inputs(stage.model, stage.image_processor, count)
        with torch.inference_mode():
            found, expected = stage.run(**inputs), stage.model(**inputs)
        assert list(found) == list(expected)
        for key, value in expected.items():
            torch.testing.assert_close(getattr(found, key), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["rtmpose", "lifter"])
def test_an_empty_batch_has_outputs_of_no_rows(name, backend):
    model, processor = small_lifter() if name == "lifter" else small_model(name)
    runner = GraphRunner(model, processor, backend)
    inputs = {key: value[:0] for key, value in example_inputs(model, processor, 1).items()}
    with torch.inference_mode():
        found, expected = runner(**inputs), model(**inputs)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in expected.items()}


def test_inputs_that_are_not_in_order_are_put_in_order(backend):
    stage = stage_of("simcc", backend)
    pixel_values = example_inputs(stage.model, stage.image_processor, 3)["pixel_values"]
    plain = stage.run(pixel_values=pixel_values)
    shuffled = stage.run(pixel_values=pixel_values.contiguous(memory_format=torch.channels_last).flip(-1).flip(-1))
    assert torch.equal(plain.simcc_x, shuffled.simcc_x)


def test_outputs_of_later_calls_do_not_overwrite_those_of_earlier_ones(backend):
    stage = stage_of("simcc", backend)
    first, second = (example_inputs(stage.model, stage.image_processor, 2, seed)["pixel_values"] for seed in (0, 1))
    outputs = stage.run(pixel_values=first)
    before = outputs.simcc_x.clone()
    stage.run(pixel_values=second)
    assert torch.equal(outputs.simcc_x, before)


@pytest.mark.parametrize("flip_test", [False, True])
def test_a_lifter_takes_clips_of_any_length_with_and_without_padding(flip_test, backend):
    model, processor = small_model("motionbert")
    stage = load_stage(model, "lifter", processor, backend=backend)
    for frames in (1, 5, 12):
        clips = torch.randn(2, frames, 17, 3, generator=torch.Generator().manual_seed(frames))
        mask = torch.ones(2, frames, dtype=torch.bool)
        mask[0, 1:] = False
        for arguments in ({}, {"frame_mask": mask}):
            with torch.inference_mode():
                expected = model(keypoints_2d=clips, flip_test=flip_test, **arguments).keypoints_3d
                found = stage.run(keypoints_2d=clips, flip_test=flip_test, **arguments).keypoints_3d
            counted = mask if arguments else torch.ones_like(mask)
            torch.testing.assert_close(found[counted], expected[counted], rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match="13 frames, but the model takes 1 to 12"):
        stage.run(keypoints_2d=torch.zeros(1, 13, 17, 3))


def test_a_pipeline_gives_the_same_people(tiny_pose, cache, backend):
    pipes = [
        hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu", backend=each)
        for each in ("torch", backend)
    ]
    expected, found = (pipe(image(), boxes=BOXES, flip_test=True) for pipe in pipes)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.1)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-3)
    assert any(path.name.startswith("rtmpose-") for path in (cache / "onnx").iterdir())


def test_the_file_is_written_once_for_the_same_weights_and_anew_for_others():
    model, processor = small_model("simcc")
    path = cached_graph(model, processor)
    written = path.stat().st_mtime_ns
    assert cached_graph(small_model("simcc")[0], processor) == path
    assert path.stat().st_mtime_ns == written
    assert cached_graph(model, processor, opset=18) != path
    with torch.no_grad():
        next(model.parameters()).mul_(1.5)
    assert cached_graph(model, processor) != path


def test_bfloat16_in_a_file_of_weights(tiny_pose, tmp_path, backend):
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose)
    shutil.copytree(tiny_pose, tmp_path / "half")
    model.bfloat16().save_pretrained(tmp_path / "half")
    expected, found = (
        hfpose.pipeline(model=tmp_path / "half", detector="whole_image", device="cpu", backend=each)(
            image(), boxes=BOXES
        )
        for each in ("torch", backend)
    )
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-3)


def test_weights_that_change_are_followed(backend):
    stage = stage_of("simcc", backend)
    inputs = example_inputs(stage.model, stage.image_processor, 2)
    before = stage.run(**inputs).simcc_x
    with torch.no_grad():
        stage.model.head.classifier_x.weight.mul_(2)
        stage.model.head.classifier_x.bias.mul_(2)
    torch.testing.assert_close(stage.run(**inputs).simcc_x, 2 * before, rtol=1e-3, atol=1e-4)


def test_weights_count_as_they_are_in_the_file_until_they_change(tiny_pose, cache):
    pipe = hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu", backend="onnxruntime")
    stage = pipe.parts["model"]
    written = set((cache / "onnx").iterdir())
    path = cached_graph(stage.model, stage.image_processor)
    assert set((cache / "onnx").iterdir()) == written
    before = pipe(image(), boxes=BOXES).keypoints
    with torch.no_grad():
        stage.model.head.classifier_x.weight.neg_()
    assert np.abs(pipe(image(), boxes=BOXES).keypoints - before).max() > 1
    assert cached_graph(stage.model, stage.image_processor) != path


def test_what_a_killed_export_left_is_written_over():
    model, processor = small_model("simcc")
    path = cached_graph(model, processor)
    folder = path.parent
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(folder)
    unfinished.mkdir()
    (unfinished / path.name).write_bytes(b"half")
    assert cached_graph(model, processor) == path
    assert path.stat().st_size > 1000
    assert not unfinished.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="HFPOSE_CACHE names another folder"):
        cached_graph(*small_model("simcc"))


def test_cleaning_the_cache_removes_the_files(tmp_path, monkeypatch):
    from hfpose.hub.cache import clean_cache

    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    size = cached_graph(*small_model("simcc")).stat().st_size
    assert clean_cache() >= size
    assert not onnx_cache_dir().exists()


@pytest.mark.parametrize(
    ("format", "backend"), [("onnx", "onnxruntime"), ("onnx", "openvino"), ("openvino", "openvino")]
)
def test_an_exported_folder_loads_without_other_weights(format, backend, tmp_path):
    pytest.importorskip(backend)
    model, processor = small_model("simcc")
    export_folder(model, processor, tmp_path / "out", format=format)
    pipe = hfpose.pipeline(model=tmp_path / "out", detector="whole_image", device="cpu", backend=backend)
    expected = hfpose.PoseEstimationPipeline(model, processor)(image(), boxes=BOXES)
    np.testing.assert_allclose(pipe(image(), boxes=BOXES).keypoints, expected.keypoints, atol=0.1)
    pipe.save_pretrained(tmp_path / "saved")
    again = hfpose.PoseEstimationPipeline.from_pretrained(tmp_path / "saved", device="cpu", backend=backend)
    np.testing.assert_allclose(again(image(), boxes=BOXES).keypoints, expected.keypoints, atol=0.1)
    with pytest.raises(ConfigError, match="as a graph alone"):
        hfpose.pipeline(model=tmp_path / "out", detector="whole_image", device="cpu")


def test_half_precision_and_models_that_accelerate_moves_are_refused():
    from accelerate import cpu_offload

    with pytest.raises(ConfigError, match=r"in torch.float16, but backend=\"onnxruntime\" computes in float32"):
        stage_of("simcc", dtype="float16")
    stage = stage_of("simcc")
    inputs = example_inputs(stage.model, stage.image_processor, 1)
    cpu_offload(stage.model, torch.device("cpu"))
    with pytest.raises(ConfigError, match="cannot follow"):
        stage.run(**inputs)


def test_images_of_another_size_are_refused(backend):
    stage = stage_of("simcc", backend)
    with pytest.raises(InputError, match=r"but the exported network takes .*, ?3, ?64, ?64"):
        stage.run(pixel_values=torch.zeros(1, 3, 64, 96))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_named_with_the_extra(package, monkeypatch):
    model, processor = small_model("simcc")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=r"pip install hfpose\[onnx\]"):
        load_stage(model, "pose", processor, backend="onnxruntime")


def test_other_detectors_of_transformers_are_refused():
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(ConfigError, match="not one of the models that hfpose exports"):
        load_stage(YolosForObjectDetection(config), "detector", small_model("simcc")[1], backend="onnxruntime")


def test_a_flip_test_within_the_network_is_refused():
    model, processor = small_model("dekr")
    with pytest.raises(ConfigError, match='Leave flip_test out, or use backend="torch"'):
        GraphRunner(model.to("meta"), processor)(pixel_values=torch.zeros(1, 3, 64, 64), flip_test=True)


def test_weights_that_give_no_numbers_are_refused_at_every_call(backend):
    stage = stage_of("simcc", backend)
    inputs = example_inputs(stage.model, stage.image_processor, 1)
    stage.run(**inputs)
    with torch.no_grad():
        stage.model.head.classifier_x.weight.fill_(float("nan"))
    stage.refresh()
    for _ in range(2):
        with pytest.raises(CheckpointError, match="computes something else than torch"):
            stage.run(**inputs)
    with pytest.raises(CheckpointError, match="computes something else than torch"):
        load_stage(stage.model, "pose", stage.image_processor, backend=backend)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_graph_of_the_cache_is_made_anew(damage, caplog):
    path = cached_graph(*small_model("simcc"))
    damaged = path if damage == "changed" else path.with_name("graph.json")
    path.write_bytes(path.read_bytes().replace(b"pixel_values", b"pixel_value5"))
    damaged.unlink() if damage == "missing" else None
    with caplog.at_level("INFO", "hfpose"):
        assert cached_graph(*small_model("simcc")) == path
    assert b"pixel_value5" not in path.read_bytes()
    assert f"to {path.parent}, once" in caplog.text


def test_a_damaged_compiled_network_is_compiled_anew(tmp_path, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    stage = stage_of("simcc", "openvino")
    inputs = example_inputs(stage.model, stage.image_processor, 1)
    expected = stage.run(**inputs).simcc_x
    (blob,) = tmp_path.glob("openvino/*/*.blob")
    blob.chmod(0o600)
    content = bytearray(blob.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 4000] = bytes(range(250)) * 16
    blob.write_bytes(content)
    stage.refresh()
    assert torch.equal(stage.run(**inputs).simcc_x, expected)


def test_a_network_that_was_compiled_is_loaded_without_reading_its_graph(monkeypatch):
    pytest.importorskip("openvino")
    inputs = example_inputs(*small_model("simcc"), 2)
    expected = stage_of("simcc", "openvino").run(**inputs).simcc_x
    monkeypatch.delattr("hfpose.backends.openvino_sessions.OpenVinoSession._read")
    assert torch.equal(stage_of("simcc", "openvino").run(**inputs).simcc_x, expected)


def test_compiled_networks_of_the_same_layers_with_other_weights_are_told_apart(tmp_path):
    graph, weights = tmp_path / "model.xml", tmp_path / "model.bin"
    graph.write_text("layers")
    found = []
    for content in ("weights", "others"):
        weights.write_text(content)
        write_description(tmp_path, [graph, weights])
        found.append(compiled_cache(graph, "openvino", "cpu-float32"))
    assert found[0] != found[1]


def test_a_damaged_or_foreign_graph_in_a_folder_is_refused_when_it_is_loaded(tmp_path):
    for name in ("simcc", "vitpose"):
        export_folder(*small_model(name), tmp_path / name)
    options = {"detector": "whole_image", "device": "cpu", "backend": "onnxruntime"}
    graph = tmp_path / "simcc" / "model.onnx"
    shutil.copy(tmp_path / "vitpose" / "model.onnx", graph)
    with pytest.raises(CheckpointError, match=r"model.onnx is damaged, or is not the file that was exported"):
        hfpose.pipeline(model=tmp_path / "simcc", **options)
    shutil.copy(tmp_path / "vitpose" / "graph.json", graph.with_name("graph.json"))
    with pytest.raises(
        ConfigError, match=r"another model: its model_type is vitpose, but that of config.json there is simcc"
    ):
        hfpose.pipeline(model=tmp_path / "simcc", **options)
    graph.with_name("graph.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no graph.json .* `hfpose export`"):
        hfpose.pipeline(model=tmp_path / "simcc", **options)


def test_a_graph_of_the_same_family_with_other_keypoints_is_refused(tmp_path):
    model, processor = small_model("rtmpose")
    export_folder(model, processor, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    names = settings["keypoint_schema"]["keypoint_names"]
    names[0] = settings["id2label"]["0"] = "snout"
    settings["label2id"] = {name: index for index, name in enumerate(names)}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"another model: its keypoint_names is \["):
        hfpose.pipeline(model=tmp_path, detector="whole_image", device="cpu", backend="onnxruntime")


def test_openvino_refuses_types_that_it_has_no_precision_for():
    pytest.importorskip("openvino")
    with pytest.raises(ConfigError, match=r"not in torch.float64"):
        stage_of("rtmpose", "openvino", dtype="float64")


def test_a_stage_that_has_run_can_be_pickled(backend):
    stage = stage_of("simcc", backend)
    inputs = example_inputs(stage.model, stage.image_processor, 1)
    expected = stage.run(**inputs).simcc_x
    assert torch.equal(pickle.loads(pickle.dumps(stage)).run(**inputs).simcc_x, expected)


def test_openvino_computes_in_bfloat16_where_the_processor_does():
    openvino = pytest.importorskip("openvino")
    able = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if not able:
        with pytest.raises(ConfigError, match=r"not in torch.bfloat16"):
            stage_of("simcc", "openvino", dtype="bfloat16")
        return
    stage = stage_of("simcc", "openvino", dtype="bfloat16")
    assert stage.dtype == torch.float32  # of the inputs
    inputs = example_inputs(stage.model, stage.image_processor, 2)
    found, expected = stage.run(**inputs).simcc_x, stage_of("simcc", "torch").run(**inputs).simcc_x
    assert torch.corrcoef(torch.stack((found.flatten(), expected.flatten())))[0, 1] > 0.99
    assert (found - expected).abs().max() > 1e-3 * expected.abs().max()


def test_openvino_has_devices_of_its_own():
    openvino = pytest.importorskip("openvino")
    if "NPU" not in openvino.Core().available_devices:
        with pytest.raises(ConfigError, match="OpenVINO has no device NPU on this machine, which has CPU"):
            stage_of("simcc", "openvino", device="npu")
    with pytest.raises(InputError, match=r"'npu' names no device. This machine has"):
        stage_of("simcc", "onnxruntime", device="npu")


def test_openvino_computes_the_parts_of_a_batch_side_by_side(monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    stage = stage_of("simcc", "openvino")
    pixel_values = example_inputs(stage.model, stage.image_processor, 4)["pixel_values"]
    for count in (4, 3):
        found = stage.run(pixel_values=pixel_values[:count])
        each = [stage.run(pixel_values=pixel_values[index : index + 1]) for index in range(count)]
        torch.testing.assert_close(found.simcc_x, torch.cat([one.simcc_x for one in each]))
    assert sorted(stage.runner.made._networks) == [False, True]


def test_several_threads_may_call(backend):
    stage = stage_of("simcc", backend)
    inputs = [example_inputs(stage.model, stage.image_processor, 2, seed) for seed in range(4)]
    expected = [stage.run(**each).simcc_x for each in inputs]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda each: stage.run(**each).simcc_x, inputs * 4))
    assert all(torch.equal(each, expected[index % 4]) for index, each in enumerate(found))
