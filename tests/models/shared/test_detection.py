"""What detectors share: images in, boxes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from hfpose.errors import InputError
from hfpose.models.shared.dense_prediction import anchor_points, flatten_levels
from hfpose.models.shared.detection import DetectionImageProcessor


@dataclass
class Outputs:
    """Of a model with boxes at four places."""

    logits: Tensor
    pred_boxes: Tensor


def processor(**settings) -> DetectionImageProcessor:
    return DetectionImageProcessor(**{"size": {"height": 16, "width": 16}, "strides": (8,), **settings})


@pytest.fixture
def outputs() -> Outputs:
    """Four boxes beside each other, the last one half outside."""
    boxes = torch.tensor([[[0.0, 0, 4, 4], [4, 0, 8, 4], [8, 0, 12, 4], [12, 0, 20, 4]]])
    scores = torch.tensor([[[0.6], [0.7], [0.8], [0.9]]])
    return Outputs(scores.logit(), boxes)


def test_padding_has_the_given_value():
    image = np.full((8, 16, 3), 50, dtype=np.uint8)
    settings = {"do_rescale": False, "do_normalize": False}
    pixel_values = processor(pad_value=7, **settings)(image, return_tensors="pt").pixel_values
    assert pixel_values[0, 0, :, 0].tolist() == [50] * 8 + [7] * 8


def test_boxes_end_at_the_network_input_unless_told_otherwise(outputs):
    assert processor().post_process_object_detection(outputs)[0]["boxes"].max() == 16
    assert processor(clip_boxes=False).post_process_object_detection(outputs)[0]["boxes"].max() == 20


def test_candidates_are_limited_for_each_level(outputs):
    """Levels of 2x2 places and of one place: the last box is the best of its own level."""
    outputs.logits = torch.cat((outputs.logits, torch.tensor([[[0.5]]]).logit()), dim=1)
    outputs.pred_boxes = torch.cat((outputs.pred_boxes, torch.tensor([[[0.0, 8, 4, 12]]])), dim=1)
    found = processor(strides=(8, 16), max_candidates=1).post_process_object_detection(outputs)[0]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.5])


def test_outputs_for_images_of_another_size_are_refused(outputs):
    with pytest.raises(InputError, match="4 boxes, but for images of 16x16 pixels there are 1"):
        processor(strides=(16,), max_candidates=1).post_process_object_detection(outputs)


@pytest.mark.parametrize("sizes", [[], [(16, 16)] * 2])
def test_another_number_of_target_sizes_is_refused(outputs, sizes):
    with pytest.raises(InputError, match=f"outputs for 1 images but {len(sizes)} target_sizes"):
        processor().post_process_object_detection(outputs, target_sizes=sizes)


def test_detections_are_limited_to_the_best(outputs):
    found = processor(max_detections=2).post_process_object_detection(outputs)[0]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.8])


def test_without_suppression_every_box_stays_best_first(outputs):
    outputs.pred_boxes = outputs.pred_boxes[:, :1].expand(1, 4, 4)
    assert len(processor().post_process_object_detection(outputs)[0]["scores"]) == 1
    found = processor(nms_threshold=None).post_process_object_detection(outputs)[0]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])


def test_a_box_suppresses_those_of_its_own_class_alone_unless_told_otherwise():
    boxes = torch.tensor([[[0.0, 0, 8, 8]] * 3])
    logits = torch.tensor([[[0.9, 0.1], [0.1, 0.8], [0.1, 0.7]]]).logit()
    found = processor().post_process_object_detection(Outputs(logits, boxes), threshold=0.5)[0]
    assert found["labels"].tolist() == [0, 1]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.8])
    across = processor(nms_across_classes=True).post_process_object_detection(Outputs(logits, boxes), threshold=0.5)[0]
    assert across["labels"].tolist() == [0]


def test_boxes_that_are_too_small_in_the_image_are_left_out(outputs):
    found = processor(min_box_size=6).post_process_object_detection(outputs, target_sizes=[(32, 32)])[0]
    assert len(found["boxes"]) == 4  # 8 pixels where the network input has 4
    assert len(processor(min_box_size=6).post_process_object_detection(outputs)[0]["boxes"]) == 0


def test_limits_that_are_off_stay_off_when_saved(tmp_path):
    settings = {"nms_threshold": None, "max_candidates": None, "max_detections": None}
    processor(**settings).save_pretrained(tmp_path)
    loaded = DetectionImageProcessor.from_pretrained(tmp_path)
    assert {name: getattr(loaded, name) for name in settings} == settings


def test_levels_are_flattened_row_by_row():
    fine = torch.arange(4.0).reshape(1, 1, 2, 2)
    coarse = torch.tensor(9.0).reshape(1, 1, 1, 1)
    assert flatten_levels([fine, coarse]).flatten().tolist() == [0, 1, 2, 3, 9]


def test_boxes_of_one_place_stay_together():
    """Two boxes a place of two values each: channels hold one box after the other."""
    level = torch.arange(8.0).reshape(1, 4, 1, 2)
    assert flatten_levels([level], 2).tolist() == [[[0, 2], [4, 6], [1, 3], [5, 7]]]


def test_points_are_the_upper_left_corners_of_cells():
    points, strides = anchor_points([torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)], (8, 16))
    assert points.tolist() == [[0, 0], [8, 0], [0, 0]]
    assert strides.tolist() == [8, 8, 16]
