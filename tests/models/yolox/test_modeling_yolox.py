"""The parts of YOLOX."""

from __future__ import annotations

import math

import pytest
import torch

from hfpose.models.shared.dense_prediction import anchor_points, decode_center_boxes, flatten_levels
from hfpose.models.yolox.configuration_yolox import YOLOXConfig
from hfpose.models.yolox.modeling_yolox import YOLOXForObjectDetection


def test_output_shapes(small_model):
    with torch.inference_mode():
        outputs = small_model(torch.rand(2, 3, 64, 96) * 255)
    places = 8 * 12 + 4 * 6 + 2 * 3
    assert outputs.logits.shape == (2, places, 3)
    assert outputs.objectness.shape == (2, places)
    assert outputs.pred_boxes.shape == (2, places, 4)


def decode_boxes(levels: list[torch.Tensor], strides: list[int]) -> torch.Tensor:
    return decode_center_boxes(flatten_levels(levels), *anchor_points(levels, strides))


def test_boxes_are_decoded_from_the_upper_left_corner_of_a_place():
    regressions = torch.zeros(1, 4, 2, 2)
    regressions[0, :, 1, 0] = torch.tensor([0.5, 0.25, math.log(2), math.log(4)])
    boxes = decode_boxes([regressions], [8])
    assert boxes.shape == (1, 4, 4)
    assert boxes[0, 1].tolist() == [4, -4, 12, 4]  # nothing predicted: one stride wide and high, around the corner
    torch.testing.assert_close(boxes[0, 2], torch.tensor([4.0 - 8, 10.0 - 16, 4 + 8, 10 + 16]))


def test_decoding_covers_all_levels_in_order():
    boxes = decode_boxes([torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 1, 1)], [8, 16])
    assert (boxes[0, :, 2] - boxes[0, :, 0]).tolist() == [8, 8, 8, 8, 16]


def test_plain_tuples_and_hidden_states(small_model):
    pixel_values = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        logits, objectness, boxes = small_model(pixel_values, return_dict=False)
        states = small_model(pixel_values, output_hidden_states=True).hidden_states
    assert (logits.shape, objectness.shape, boxes.shape) == ((1, 84, 3), (1, 84), (1, 84, 4))
    assert [tuple(state.shape[1:]) for state in states] == [(32, 8, 8), (32, 4, 4), (32, 2, 2)]


def test_a_new_model_starts_out_sure_of_nothing():
    model = YOLOXForObjectDetection(YOLOXConfig(width_multiplier=0.125, neck_size=32)).eval()
    with torch.inference_mode():
        outputs = model(torch.rand(1, 3, 64, 64))
    assert outputs.objectness.sigmoid().mean() == pytest.approx(0.01, rel=0.1)
    assert outputs.logits.sigmoid().mean() == pytest.approx(0.01, rel=0.1)
