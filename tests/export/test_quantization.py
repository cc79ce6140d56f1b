"""Networks with weights of 8 bits."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

import hfpose
from hfpose.cli import app
from hfpose.errors import ConfigError, InputError
from hfpose.export import quantization
from hfpose.export.graph_folders import export_folder
from hfpose.export.sample_inputs import Sample, make_samples
from hfpose.media.images import save_image
from small_models import save_model, small_model


@pytest.fixture(autouse=True)
def few_samples_and_narrow_networks(monkeypatch):
    monkeypatch.setattr(quantization, "_CALIBRATION_SAMPLES", 3)
    monkeypatch.setattr(quantization, "_MEASURED_SAMPLES", 2)
    monkeypatch.setattr(quantization, "_LEAST_PRODUCTS", 4)


def graph_of(*nodes, **weights):
    """A graph from `x` to `y` with weights of the given shapes."""
    from onnx import TensorProto, helper, numpy_helper

    tensors = [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    made = [
        helper.make_node(kind, inputs.split(), [output], name=f"{kind}_{output}", **options)
        for kind, inputs, output, options in nodes
    ]
    return helper.make_model(helper.make_graph(made, "graph", values[:1], values[1:], tensors))


def chosen(folder, *nodes, **weights):
    onnx.save(graph_of(*nodes, **weights), folder / "graph.onnx")
    return quantization._wide_convolutions(folder / "graph.onnx")


def test_8_bits_are_for_wide_convolutions_between_the_first_and_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "_LEAST_PRODUCTS", 64)
    nodes = [
        ("Conv", "x first", "a", {}),
        ("Conv", "a wide", "b", {}),
        ("Conv", "b depthwise", "c", {"group": 64}),
        ("Conv", "c narrow", "d", {}),
        ("Conv", "d wide", "e", {"strides": [2, 2]}),
        ("ReduceMean", "e", "f", {}),
        ("Conv", "f wide", "g", {}),
        ("Mul", "e g", "h", {}),
        ("Conv", "h wide", "i", {}),
        ("Sigmoid", "i", "y", {}),
    ]
    shapes = {"first": (64, 64, 3, 3), "wide": (64, 64, 3, 3), "depthwise": (64, 1, 5, 5), "narrow": (64, 64, 1, 1)}
    assert chosen(tmp_path, *nodes, **shapes) == ["Conv_b", "Conv_e"]


def test_strides_make_reading_dearer(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "_LEAST_PRODUCTS", 100)
    ends = [("Conv", "x weight", "a", {}), ("Conv", "b weight", "y", {})]
    one, two = (("Conv", "a weight", "b", {"strides": [step, step]}) for step in (1, 2))
    shape = (32, 32, 3, 3)  # 144 products for each value; with strides of 2 there are 57.6
    assert chosen(tmp_path, ends[0], one, ends[1], weight=shape) == ["Conv_b"]
    with pytest.raises(ConfigError, match="no wide convolutions"):
        chosen(tmp_path, ends[0], two, ends[1], weight=shape)


def test_ranges_are_means_so_that_one_wild_sample_does_not_coarsen_all_others(tmp_path):
    from onnx import numpy_helper

    nodes = [("Conv", f"{before} weight", after, {}) for before, after in ("xa", "ab", "by")]
    model = graph_of(*nodes, weight=(1, 1, 1, 1))
    model.ir_version, model.opset_import[0].version = 8, 17
    onnx.save(onnx.shape_inference.infer_shapes(model), tmp_path / "graph.onnx")
    pixels = [torch.tensor([[[[0.0, highest]]]]) for highest in (1, 1, 1, 13)]
    samples = [Sample({"x": each}, (2, 1)) for each in pixels]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "_LEAST_PRODUCTS", 0.1)
        quantization._quantize_statically(tmp_path / "graph.onnx", tmp_path / "target.onnx", samples)
    graph = onnx.load(tmp_path / "target.onnx").graph
    scale = next(numpy_helper.to_array(value) for value in graph.initializer if value.name == "a_scale")
    assert scale == pytest.approx(4 / 255)


def images(folder, count):
    for seed in range(count):
        image = np.random.default_rng(seed).integers(0, 256, (80, 60, 3), dtype=np.uint8)
        save_image(folder / f"{seed}.png", image)
    return folder


@pytest.mark.parametrize(("name", "mode", "unit"), [
    ("rtmpose", "static", "px"), ("rtmdet", "static", "px"), ("vitpose", "dynamic", "px"), ("motionbert", "dynamic", "m"),
    pytest.param("rtmo", "static", "px", marks=pytest.mark.slow),
])  # fmt: skip
def test_the_error_is_measured_and_written_down(name, mode, unit, tmp_path):
    model, processor = small_model(name)
    report = export_folder(model, processor, tmp_path, int8=mode).quantization
    assert json.loads((tmp_path / "quantization.json").read_text()) == vars(report)
    assert (report.mode, report.unit, report.measured_on) == (mode, unit, "packaged images")
    assert report.bytes == (tmp_path / "model.onnx").stat().st_size
    assert report.largest is None or 0 < report.mean <= report.largest
    assert (report.lost_boxes is None) == (name not in ("rtmdet", "rtmo"))
    operators = {node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node}
    assert ("QuantizeLinear" if mode == "static" else "DynamicQuantizeLinear") in operators
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.onnx", "graph.json", "config.json", "preprocessor_config.json", "quantization.json",
    }  # fmt: skip


def test_measured_images_are_not_those_of_the_calibration(tmp_path):
    model, processor = small_model("rtmpose")
    folder = images(tmp_path, 8)
    calibration = list(make_samples(model, processor, 10, folder))
    measured = list(make_samples(model, processor, 10, folder, to_measure=True))
    assert (len(calibration), len(measured)) == (6, 2)
    for one in calibration:
        assert not any(np.array_equal(one.inputs["pixel_values"], other.inputs["pixel_values"]) for other in measured)
    with pytest.raises(InputError, match="has 0 images; calibration needs at least 4"):
        make_samples(model, processor, 10, tmp_path / "nothing")


def test_an_exported_folder_with_8_bits_runs(tmp_path):
    (tmp_path / "images").mkdir()
    images(tmp_path / "images", 4)
    save_model("rtmpose", tmp_path / "model")
    arguments = ("--output", tmp_path / "out", "--int8", "static", "--calibration", tmp_path / "images")
    done = CliRunner().invoke(app, ["export", *map(str, (tmp_path / "model", *arguments))])
    assert done.exit_code == 0, done.output
    assert "int8 (static), " in done.output
    assert "1 images of images:" in done.output
    assert "distance: mean " in done.output
    pipe = hfpose.pipeline(model=tmp_path / "out", detector="whole_image", device="cpu", backend="onnxruntime")
    assert pipe(np.zeros((90, 70, 3), np.uint8)).keypoints.shape == (1, 17, 2)


def test_what_would_change_nothing_is_refused(tmp_path):
    model, processor = small_model("heatmap")
    with pytest.raises(ConfigError, match="dynamic quantization changes nothing"):
        export_folder(model, processor, tmp_path, int8="dynamic")
    with pytest.raises(ConfigError, match="Use --int8 dynamic for a transformer"):
        export_folder(*small_model("vitpose"), tmp_path, int8="static")
    with pytest.raises(ConfigError, match="only with int8"):
        export_folder(model, processor, tmp_path, calibration=tmp_path)
    with pytest.raises(ConfigError, match="takes keypoints"):
        make_samples(*small_model("motionbert"), 1, tmp_path)
    assert list(tmp_path.iterdir()) == []
