"""Detectors by themselves, as MMPose's demos use them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hfpose
from hfpose.compat.mmdet import DetInferencer, inference_detector, init_detector
from hfpose.compat.mmpose import adapt_mmdet_pipeline, imread, nms
from hfpose.errors import ConfigError, InputError


@pytest.fixture(scope="module")
def detector(person_detector):
    return init_detector(person_detector, device="cpu")


def test_the_steps_of_the_demo_find_the_boxes_of_the_pipeline(detector, person_detector, tiny_pose, photo):
    detector.cfg = adapt_mmdet_pipeline(detector.cfg)
    found = inference_detector(detector, str(photo)).pred_instances.cpu().numpy()
    boxes = np.concatenate((found.bboxes, found.scores[:, None]), axis=1)
    boxes = boxes[np.logical_and(found.labels == 0, found.scores > 0.3)]
    boxes = boxes[nms(boxes, 0.3), :4]
    pipe = hfpose.PoseEstimationPipeline(
        hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose), detector=detector.network
    )
    np.testing.assert_array_equal(boxes, pipe(photo).boxes)


def test_paths_arrays_and_lists(detector, photo):
    one = inference_detector(detector, photo)
    array, path = inference_detector(detector, [imread(photo), str(photo)])
    for other in (array, path):
        torch.testing.assert_close(other.pred_instances.bboxes, one.pred_instances.bboxes)
    assert one.ori_shape == imread(photo).shape[:2]
    assert one.pred_instances.labels.dtype == torch.int64
    assert len(detector.dataset_meta["classes"]) > one.pred_instances.labels.max()


def test_the_inferencer_gives_lists(detector, photo):
    inferencer = DetInferencer(detector)
    (found,) = inferencer(str(photo))["predictions"]
    sample = inferencer(str(photo), return_datasamples=True)["predictions"][0]
    assert found["bboxes"] == sample.pred_instances.bboxes.tolist()
    assert len(found["scores"]) == len(found["labels"]) == len(found["bboxes"]) > 0
    assert len(inferencer([str(photo), imread(photo)])["predictions"]) == 2
    with pytest.raises(InputError, match="no-such"):
        inferencer("no-such.jpg")


def test_what_cannot_be_given(detector, tiny_pose, person_detector, photo):
    with pytest.raises(ConfigError, match="init_detector"):
        inference_detector(torch.nn.Identity(), photo)
    with pytest.raises(ConfigError, match="text_prompt"):
        inference_detector(detector, photo, text_prompt="a cat")
    with pytest.raises(ConfigError, match=r"model\.x of a detector"):
        init_detector(person_detector, cfg_options={"model.x": 1})
    with pytest.raises(ConfigError, match="object detector"):
        init_detector(tiny_pose)
    with pytest.raises(ConfigError, match="mmyolo"):
        DetInferencer(detector, scope="mmyolo")


def test_nms_of_the_evaluation():
    boxes = np.array([[0, 0, 9, 9, 0.5], [0, 0, 9, 8, 0.9], [50, 50, 60, 60, 0.7]])
    assert nms(boxes, 0.5) == [1, 2]
    assert nms(boxes, 0.95) == [1, 2, 0]
    assert nms(np.zeros((0, 5)), 0.5) == []


def test_of_equal_boxes_the_last_stays():
    """As of `mmpose.evaluation.functional.nms.nms`."""
    boxes = np.array([[0, 0, 10, 10, 0.5], [0, 0, 10, 10, 0.5], [50, 0, 60, 10, 0.5], [51, 0, 61, 10, 0.5]])
    assert nms(boxes, 0.3) == [3, 1]
