"""Images for YOLOX, and boxes from its outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfpose.models.yolox.image_processing_yolox import YOLOXImageProcessor
from hfpose.models.yolox.modeling_yolox import YOLOXObjectDetectionOutput


def outputs_for(boxes: list[list[float]], classes: list[list[float]], objectness: list[float]):
    """Outputs for one image, given boxes, class probabilities and probabilities of an object by place."""
    return YOLOXObjectDetectionOutput(
        logits=torch.tensor([classes]).logit(),
        objectness=torch.tensor([objectness]).logit(),
        pred_boxes=torch.tensor([boxes]),
    )


def test_the_network_is_fed_bgr_pixels_as_they_are_padded_with_gray():
    image = np.zeros((32, 64, 3), dtype=np.uint8)
    image[...] = (10, 20, 30)
    pixel_values = YOLOXImageProcessor(size={"height": 64, "width": 64})(image, return_tensors="pt").pixel_values
    assert pixel_values.shape == (1, 3, 64, 64)
    assert pixel_values[0, :, 31, 63].tolist() == [30, 20, 10]
    assert pixel_values[0, :, 32, 0].tolist() == [114, 114, 114]


def test_a_score_is_that_of_the_class_times_that_of_an_object():
    outputs = outputs_for([[0.0, 0.0, 10.0, 10.0]], [[0.8, 0.3]], [0.5])
    found = YOLOXImageProcessor().post_process_object_detection(outputs)[0]
    assert found["scores"].tolist() == pytest.approx([0.4])
    assert found["labels"].tolist() == [0]


def test_a_place_gives_one_box_of_its_best_class():
    outputs = outputs_for([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]], [[0.6, 0.7], [0.9, 0.8]], [0.9, 0.9])
    found = YOLOXImageProcessor().post_process_object_detection(outputs)[0]
    assert found["labels"].tolist() == [0, 1]
    assert found["boxes"].tolist() == [[20, 20, 30, 30], [0, 0, 10, 10]]


def test_the_threshold_is_never_below_the_processors_own():
    outputs = outputs_for([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]], [[0.5], [0.5]], [0.015, 0.5])
    processor = YOLOXImageProcessor()
    assert len(processor.post_process_object_detection(outputs, threshold=0.0)[0]["scores"]) == 1
    assert len(processor.post_process_object_detection(outputs, threshold=0.3)[0]["scores"]) == 0


def test_of_two_boxes_of_one_class_that_overlap_the_better_stays():
    boxes = [[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 9.0]]
    outputs = outputs_for(boxes, [[0.9, 0.1], [0.8, 0.1], [0.1, 0.7]], [0.9, 0.9, 0.9])
    found = YOLOXImageProcessor().post_process_object_detection(outputs)[0]
    assert found["labels"].tolist() == [0, 1]
    assert found["scores"].tolist() == pytest.approx([0.81, 0.63])


def test_boxes_come_in_pixels_of_the_original_and_may_reach_beyond_it():
    outputs = outputs_for([[-6.0, -3.0, 70.0, 40.0]], [[0.9]], [0.9])
    processor = YOLOXImageProcessor(size={"height": 64, "width": 64})
    found = processor.post_process_object_detection(outputs, target_sizes=[(64, 128)])[0]
    assert found["boxes"].tolist() == [[-12, -6, 140, 80]]


def test_a_batch_gives_a_result_for_each_image():
    first = outputs_for([[0.0, 0.0, 10.0, 10.0]], [[0.9]], [0.9])
    second = outputs_for([[0.0, 0.0, 10.0, 10.0]], [[0.9]], [0.001])
    both = YOLOXObjectDetectionOutput(**{key: torch.cat((first[key], second[key])) for key in first})
    found = YOLOXImageProcessor().post_process_object_detection(both, target_sizes=[(640, 640), (320, 320)])
    assert [len(each["scores"]) for each in found] == [1, 0]
    assert found[1]["boxes"].shape == (0, 4)


def test_saving_and_loading_keep_every_setting(tmp_path):
    processor = YOLOXImageProcessor(size={"height": 416, "width": 416}, score_threshold=0.2, max_detections=5)
    processor.save_pretrained(tmp_path)
    assert YOLOXImageProcessor.from_pretrained(tmp_path).to_dict() == processor.to_dict()
