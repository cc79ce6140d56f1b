"""Models that find people without a detector, in the pipelines and all that is built on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfpose
from hfpose import pipeline
from hfpose.errors import ConfigError, InputError
from hfpose.hub.model_folders import PIPELINE_INDEX
from hfpose.pipelines.options import CallOptions
from hfpose.pipelines.stage import load_stage
from hfpose.pipelines.whole_image_stage import OneStageEstimator
from small_models import small_model
from small_zoo import find_someone


def save(name: str, folder: Path) -> Path:
    model, processor = small_model(name)
    find_someone(model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["rtmo", "yolox_pose"])
def folder(request, tmp_path_factory) -> Path:
    """A small model that finds a few people in every image."""
    return save(request.param, tmp_path_factory.mktemp("models") / request.param)


@pytest.fixture(scope="module")
def rtmo(tmp_path_factory) -> Path:
    return save("rtmo", tmp_path_factory.mktemp("models") / "rtmo")


def image(height: int = 48, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_people_have_boxes_scores_and_keypoints(folder):
    pipe = pipeline("pose-estimation", model=folder, device="cpu")
    people = pipe(image())
    count = people.num_instances
    assert count > 0
    assert people.keypoints.shape == (count, 17, 2)
    assert people.keypoint_scores.shape == (count, 17)
    assert people.boxes.shape == (count, 4)
    assert (np.diff(people.box_scores) <= 0).all()
    assert people.schema.name == "coco"
    assert pipe.detector is None
    assert list(pipe.stages) == ["pose"]


def test_the_result_is_that_of_the_model_and_its_processor(folder):
    stage = load_stage(folder, "pose")
    people = pipeline("pose-estimation", model=folder, device="cpu")(image())
    with torch.inference_mode():
        outputs = stage.model(**stage.image_processor(image(), return_tensors="pt"))
    (found,) = stage.image_processor.instances(outputs, [(48, 80)], 0.3)
    np.testing.assert_allclose(people.boxes, found.boxes, atol=1e-2)
    np.testing.assert_allclose(people.keypoints, found.keypoints, atol=0.5)


def test_images_of_different_sizes_in_one_batch_are_as_alone(folder):
    pipe = pipeline("pose-estimation", model=folder, device="cpu")
    images = [image(48, 80, 1), image(90, 40, 2), image(64, 64, 3)]
    together = list(pipe(images, batch_size=3))
    for one, people in zip(images, together, strict=True):
        alone = pipe(one)
        assert alone.num_instances == people.num_instances
        np.testing.assert_allclose(people.boxes, alone.boxes, atol=0.05)


def test_thresholds_apply(folder):
    pipe = pipeline("pose-estimation", model=folder, device="cpu")
    every, some = pipe(image(), box_threshold=0.0, nms_threshold=1.0), pipe(image(), nms_threshold=0.05)
    assert every.num_instances > some.num_instances > 0
    best = float(every.box_scores[0])
    assert pipe(image(), box_threshold=best).num_instances == 0


def test_boxes_are_refused_with_the_reason(folder):
    pipe = pipeline("pose-estimation", model=folder, device="cpu")
    with pytest.raises(InputError, match=r"finds people in whole images by itself, so it takes no boxes"):
        pipe(image(), boxes=[[0, 0, 10, 10]])
    with pytest.raises(InputError, match="flip_test"):
        pipe(image(), flip_test=True)
    with pytest.raises(InputError, match="heatmaps"):
        pipe(image(), return_heatmaps=True)


@pytest.mark.parametrize("options", [{"detector": "rtmdet-m"}, {"detector": "whole_image"}, {"detector_labels": [0]}])
def test_a_detector_is_refused_with_the_reason(rtmo, options):
    with pytest.raises(ConfigError, match="by itself, so it takes no detector"):
        pipeline("pose-estimation", model=rtmo, device="cpu", **options)


def test_a_bad_image_among_several_does_not_stop_the_others(rtmo, tmp_path):
    Image.fromarray(image()).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    pipe = pipeline("pose-estimation", model=rtmo, device="cpu")
    good, bad = pipe([str(tmp_path / "a.png"), str(tmp_path / "b.png")], batch_size=2)
    assert good.num_instances > 0
    assert bad.error is not None


def test_identities_and_drawing(rtmo):
    pipe = pipeline("pose-estimation", model=rtmo, device="cpu")
    first, second = pipe([image(), image()], track=True, return_visualization=True)
    assert first.track_ids.tolist() == second.track_ids.tolist()
    assert first.visualization.shape == (48, 80, 3)
    assert (first.visualization != image()).any()


def test_saved_pipelines_come_back(rtmo, tmp_path):
    pipe = pipeline("pose-estimation", model=rtmo, device="cpu")
    pipe.save_pretrained(tmp_path / "pipe")
    index = json.loads((tmp_path / "pipe" / PIPELINE_INDEX).read_text())
    assert "detector" not in index
    again = pipeline("pose-estimation", model=tmp_path / "pipe", device="cpu")
    np.testing.assert_array_equal(again(image()).boxes, pipe(image()).boxes)


def test_poses_are_lifted_to_3d(rtmo, tiny_lifter):
    pipe = pipeline("pose-estimation-3d", model=rtmo, lifter=tiny_lifter, device="cpu")
    people = pipe(image())
    assert people.keypoints.shape == (people.num_instances, 17, 3)
    assert people.keypoints_2d.shape == (people.num_instances, 17, 2)
    assert people.num_instances > 0


def test_onnxruntime_finds_the_same(folder):
    pipe = pipeline("pose-estimation", model=folder, device="cpu")
    other = pipeline("pose-estimation", model=folder, device="cpu", backend="onnxruntime")
    for batch in ([image()], [image(seed=1), image(60, 50, 2), image(seed=3)]):
        for found, expected in zip(other(batch, batch_size=3), pipe(batch, batch_size=3), strict=True):
            assert found.num_instances == expected.num_instances
            np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.05)


def test_mmpose_runs_it_as_bottom_up(rtmo):
    from hfpose.compat.mmpose import MMPoseInferencer, inference_bottomup, inference_topdown, init_model

    model = init_model(rtmo, device="cpu")
    (sample,) = inference_bottomup(model, image()[..., ::-1])
    instances = sample.pred_instances
    people = pipeline("pose-estimation", model=rtmo, device="cpu")(image(), box_threshold=None)
    np.testing.assert_allclose(instances.keypoints, people.keypoints, atol=0.5)
    assert instances.bbox_scores.shape == (people.num_instances,)
    with pytest.raises(ConfigError, match="inference_bottomup"):
        inference_topdown(model, image())

    inferencer = MMPoseInferencer(pose2d=str(rtmo), device="cpu")
    (result,) = inferencer(image()[..., ::-1], nms_thr=1)
    (predictions,) = result["predictions"]
    assert len(predictions) == people.num_instances


def test_average_precision_of_its_own_results_is_perfect(rtmo, tmp_path):
    pytest.importorskip("pycocotools")
    from hfpose.annotations import read_coco
    from hfpose.evaluation.evaluation_run import evaluate_pose_pipeline

    pipe = pipeline("pose-estimation", model=rtmo, device="cpu")
    Image.fromarray(image(160, 160)).save(tmp_path / "a.png")
    people = pipe(str(tmp_path / "a.png"), box_threshold=None)
    annotations = [
        {
            "id": index + 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 4000.0, "num_keypoints": 17,
            "bbox": [float(v) for v in (*box[:2], *(box[2:] - box[:2]))],
            "keypoints": np.concatenate((keypoints, np.full((17, 1), 2)), 1).ravel().tolist(),
        }
        for index, (box, keypoints) in enumerate(zip(people.boxes, people.keypoints, strict=True))
    ]  # fmt: skip
    names = list(hfpose.load_schema("coco").keypoint_names)
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 160, "width": 160}],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
        "annotations": annotations,
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    evaluation = evaluate_pose_pipeline(pipe, read_coco(tmp_path / "coco.json"))
    assert evaluation.num_instances == people.num_instances
    assert evaluation.metrics["AP"] == pytest.approx(1, abs=0.01)
    with pytest.raises(InputError, match="takes no boxes"):
        evaluate_pose_pipeline(pipe, read_coco(tmp_path / "coco.json"), "annotations")


def test_networks_that_take_inputs_of_many_sizes_get_one_size_at_a_time(rtmo, monkeypatch):
    stage = load_stage(rtmo, "pose")
    seen = []
    monkeypatch.setattr(type(stage.image_processor), "input_size", lambda self, height, width: (height, width))
    estimator = OneStageEstimator(stage)
    run = estimator._run
    monkeypatch.setattr(
        estimator, "_run", lambda images, flip: seen.append([one.shape[:2] for one in images]) or run(images, flip)
    )
    found = estimator([image(48, 80), image(90, 40), image(48, 80, 5)], CallOptions(box_threshold=None))
    assert seen == [[(48, 80), (48, 80)], [(90, 40)]]
    assert len(found) == 3
