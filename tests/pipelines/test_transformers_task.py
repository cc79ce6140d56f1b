"""`transformers.pipeline("pose-estimation", ...)`."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from transformers.pipelines.pt_utils import KeyDataset

import hfpose
from hfpose.errors import ConfigError, InputError
from hfpose.hub.cache import models_dir
from hfpose.models.shared.devices import default_device
from hfpose.pipelines.transformers_task import ModelByName, TransformersPosePipeline


@pytest.fixture(scope="module")
def make(tiny_pose, person_detector):
    """Makes the pipeline by transformers' own factory."""

    def make(**options):
        return transformers.pipeline("pose-estimation", model=str(tiny_pose), detector=person_detector, **options)

    return make


@pytest.fixture(scope="module")
def pipe(make):
    """A pipeline that no test changes."""
    return make(device="cpu")


@pytest.fixture(scope="module")
def expected(tiny_pose, person_detector, photo):
    return hfpose.pipeline("pose-estimation", model=tiny_pose, detector=person_detector, device="cpu")(photo)


def keypoints(found: list[dict]) -> np.ndarray:
    """Keypoints (N, K, 2) of a result."""
    return np.array([[(point["x"], point["y"]) for point in one["keypoints"]] for one in found], dtype=np.float32)


def test_results_are_those_of_the_2d_pipeline_as_plain_dicts(pipe, photo, expected):
    assert isinstance(pipe, transformers.Pipeline)
    assert pipe.task == "pose-estimation"
    found = pipe(str(photo))
    np.testing.assert_array_equal(keypoints(found), expected.keypoints)
    assert found[0]["score"] == pytest.approx(float(expected.box_scores[0]))
    assert list(found[0]["box"].values()) == expected.boxes[0].round().astype(int).tolist()
    assert found[0]["keypoints"][0]["label"] == "nose"
    json.dumps(found)


def test_data_addresses_are_images_and_images_is_a_name_of_the_input(pipe, photo, expected):
    address = "data:image/jpeg;base64," + base64.b64encode(photo.read_bytes()).decode()
    np.testing.assert_array_equal(keypoints(pipe(images=address)), expected.keypoints)


@pytest.mark.parametrize("task", ["keypoint-detection", "pose-estimation-3d"])
def test_other_names_of_the_task(task, tiny_pose, tiny_lifter):
    options = {} if task == "keypoint-detection" else {"lifter": str(tiny_lifter)}
    pipe = transformers.pipeline(task, model=str(tiny_pose), detector="whole_image", device="cpu", **options)
    (found,) = pipe(np.zeros((64, 48, 3), np.uint8))
    assert ("z" in found["keypoints"][0]) == (task == "pose-estimation-3d")


def test_a_model_object_and_its_image_processor(tiny_pose, photo, expected, person_detector):
    model = transformers.AutoModelForPoseEstimation.from_pretrained(tiny_pose)
    processor = hfpose.RTMPoseImageProcessor(box_padding=2.0)
    pipe = transformers.pipeline("pose-estimation", model=model, detector=person_detector, device="cpu")
    assert pipe.model is model
    np.testing.assert_array_equal(keypoints(pipe(str(photo))), expected.keypoints)
    padded = transformers.pipeline(
        "pose-estimation", model=model, image_processor=processor, detector=person_detector, device="cpu"
    )
    assert padded.poses.estimator.stage.image_processor is processor
    assert not np.allclose(keypoints(padded(str(photo))), expected.keypoints)


def test_device_and_dtype_are_for_both_models(make):
    assert make(device=-1).device.type == "cpu"
    pipe = make(device=torch.device("cpu"), dtype="bfloat16")
    assert pipe.device.type == pipe.poses.detector.stage.device.type == "cpu"
    assert pipe.dtype == pipe.poses.detector.stage.model.dtype == torch.bfloat16
    best = default_device().type
    assert make().device.type == make(device=0).device.type == best
    with pytest.raises(InputError, match="no device 'meta'"):
        make(device=torch.device("meta"))


def test_device_map(make, photo, expected):
    pipe = make(device_map="cpu")
    if default_device().type == "cpu":
        np.testing.assert_array_equal(keypoints(pipe(str(photo))), expected.keypoints)


def test_options_for_all_calls_and_for_one(make, photo, monkeypatch):
    pipe = make(device="cpu", batch_size=2, num_workers=2, box_threshold=0.8)
    assert len(pipe(str(photo))) == 2
    assert len(pipe(str(photo), box_threshold=0.3)) == 4
    sizes = []
    processor = pipe.poses.detector.stage.image_processor
    pixel_values = processor.pixel_values
    monkeypatch.setattr(
        processor, "pixel_values", lambda images, *rest: sizes.append(len(images)) or pixel_values(images, *rest)
    )
    list(pipe([str(photo)] * 3))
    list(pipe([str(photo)] * 3, batch_size=3, num_workers=0))
    assert sizes == [2, 1, 3]


def test_lists_give_lists_and_data_sets_are_lazy(pipe, photo):
    many = pipe([str(photo), str(photo)], batch_size=2)
    assert isinstance(many, list)
    assert [len(found) for found in many] == [4, 4]
    stream = pipe(KeyDataset([{"image": str(photo)}] * 2, "image"))
    assert not isinstance(stream, list)
    assert [len(found) for found in stream] == [4, 4]


def test_the_detector_that_goes_with_the_keypoints(tiny_pose, person_detector, photo, expected, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    shutil.copytree(person_detector, models_dir() / "rtmdet_m_640-8xb32_coco-person")
    pipe = transformers.pipeline("pose-estimation", model=str(tiny_pose), device="cpu")
    np.testing.assert_array_equal(keypoints(pipe(str(photo))), expected.keypoints)
    assert pipe.poses.detector.label_ids == [0]


def test_it_can_be_saved(pipe, photo, expected, tmp_path):
    pipe.save_pretrained(tmp_path)
    again = hfpose.pipeline("pose-estimation", model=tmp_path, device="cpu")
    np.testing.assert_array_equal(again(photo).keypoints, expected.keypoints)


def test_vitpose_needs_none_of_transformers_own_processor(tmp_path):
    backbone = transformers.VitPoseBackboneConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=(32, 32), patch_size=(16, 16)
    )
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=17)
    transformers.VitPoseForPoseEstimation(config).save_pretrained(tmp_path)
    from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

    ViTPoseImageProcessor(size={"height": 32, "width": 32}, box_padding=1.5).save_pretrained(tmp_path)
    pipe = transformers.pipeline("pose-estimation", model=str(tmp_path), detector="whole_image", device="cpu")
    assert type(pipe.poses.estimator.stage.image_processor) is ViTPoseImageProcessor
    assert pipe.poses.estimator.stage.image_processor.size == {"height": 32, "width": 32}
    assert pipe.poses.estimator.stage.image_processor.box_padding == 1.5
    assert keypoints(pipe(np.zeros((40, 40, 3), np.uint8))).shape == (1, 17, 2)


@pytest.mark.parametrize("task", ["pose-estimation", "keypoint-detection", "pose-estimation-3d"])
def test_without_a_model_it_is_the_one_that_hfpose_takes(task, monkeypatch, photo):
    monkeypatch.setattr("hfpose.pipelines.transformers_task.pipeline", lambda task, model, **_: made(task, model))
    monkeypatch.setattr(ModelByName, "__fspath__", lambda name: str(photo.parent))

    def made(task, model):
        names.append((task, model))
        return hfpose.pipeline(task, model="demo3d" if task == "pose-estimation-3d" else "demo", device="cpu")

    names: list = []
    pipe = transformers.pipeline(task, device="cpu")
    assert names == [("pose-estimation-3d", "human3d") if "3d" in task else ("pose-estimation", "human")]
    assert pipe.task == task
    assert len(pipe.model.config.id2label) == 17


@pytest.mark.parametrize("task", ["pose-estimation", "keypoint-detection", None])
def test_names_that_hfpose_knows_and_folders_of_pipelines(task, tmp_path):
    image = np.zeros((64, 64, 3), np.uint8)
    pipe = transformers.pipeline(task, model="demo", detector="whole_image", device=-1, batch_size=2)
    assert (pipe.task, pipe.poses.detector) == (task or "pose-estimation", None)
    found = pipe([image, image])
    pipe.save_pretrained(tmp_path)
    assert transformers.pipeline(task, model=str(tmp_path), device="cpu")([image, image]) == found
    (tmp_path / "config.json").write_text("{}")  # a model of another library's
    with pytest.raises(ValueError, match="model_type"):
        transformers.pipeline("pose-estimation", model=str(tmp_path))


def test_a_name_of_a_3d_model_tells_the_task():
    assert transformers.pipeline(model="demo3d", device="cpu").task == "pose-estimation-3d"


def test_unknown_options_are_refused_at_construction(make):
    with pytest.raises(TypeError, match="no option 'nonsense'"):
        make(nonsense=1)


def test_a_pipeline_of_hfpose_with_all_that_it_was_made_with(photo, expected, tiny_pose, person_detector):
    poses = hfpose.pipeline(model=tiny_pose, detector=person_detector, device="cpu")
    pipe = transformers.pipeline("pose-estimation", model=poses)
    np.testing.assert_array_equal(keypoints(pipe(str(photo))), expected.keypoints)
    assert pipe.poses is poses


def test_it_is_pickled_and_copied(pipe, photo, expected):
    for again in (pickle.loads(pickle.dumps(pipe)), copy.deepcopy(pipe)):
        np.testing.assert_array_equal(keypoints(again(str(photo))), expected.keypoints)


def test_gradio_knows_it_and_draws_its_boxes(pipe, photo, expected):
    # What `Interface.from_pipeline` looks at; tests/app asks gradio itself.
    assert type(pipe).__module__.startswith("transformers.pipelines.")
    assert isinstance(pipe, transformers.ObjectDetectionPipeline)
    assert isinstance(pipe.model.config.name_or_path, str)
    boxes = [[found["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for found in pipe(inputs=str(photo))]
    assert boxes == expected.boxes.round().astype(int).tolist()


def test_hands_in_3d_are_sent_elsewhere():
    model = SimpleNamespace(config=SimpleNamespace(model_type="internet"))
    with pytest.raises(ConfigError, match="pose-estimation-3d"):
        TransformersPosePipeline(model)


@pytest.mark.parametrize(
    "order",
    [pytest.param("import hfpose, transformers", marks=pytest.mark.slow), "import transformers.pipelines, hfpose"],
)
def test_nothing_is_said_whatever_is_imported_first(order, tiny_pose, photo):
    code = f"""
{order}
transformers.utils.logging.disable_progress_bar()
pipe = transformers.pipeline("pose-estimation", model={str(tiny_pose)!r}, detector="whole_image")
print(len(pipe({str(photo)!r})))
"""
    done = subprocess.run([sys.executable, "-W", "always::UserWarning", "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("1\n", "")
