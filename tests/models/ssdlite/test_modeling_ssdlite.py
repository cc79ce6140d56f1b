"""The parts of SSDLite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hfpose.models.ssdlite.configuration_ssdlite import SSDLiteConfig
from hfpose.models.ssdlite.modeling_ssdlite import (
    SSDLiteForObjectDetection,
    anchor_shapes,
    decode_boxes,
    make_anchors,
)

# Images of 64 pixels: levels of 4x4, 2x2 and 1x1 places with 4, 6 and 4 anchors.
PLACES = 16 * 4 + 4 * 6 + 4


def test_output_shapes(small_model):
    with torch.inference_mode():
        outputs = small_model(torch.rand(2, 3, 64, 64))
    assert outputs.logits.shape == (2, PLACES, 4)  # three classes and the background
    assert outputs.pred_boxes.shape == (2, PLACES, 4)


def test_images_of_any_size_have_an_anchor_for_every_output(small_model):
    with torch.inference_mode():
        outputs = small_model(torch.rand(1, 3, 50, 130))
    assert outputs.logits.shape[1] == outputs.pred_boxes.shape[1]


def test_every_place_has_two_squares_then_a_wide_and_a_high_anchor_for_each_ratio():
    shapes = anchor_shapes(48, 100, (2, 3))
    widths, heights = np.array(shapes).T
    assert (widths * heights) == pytest.approx([48**2, 48 * 100, 48**2, 48**2, 48**2, 48**2])
    assert (heights / widths) == pytest.approx([1, 1, 1 / 2, 2, 1 / 3, 3])


def test_anchors_lie_around_the_centers_of_their_places():
    config = SSDLiteConfig(strides=(16,), anchor_min_sizes=(10,), anchor_max_sizes=(40,), anchor_ratios=((),))
    anchors = make_anchors(config, [torch.zeros(1, 1, 2, 2)])
    centers = [[8, 8], [8, 8], [24, 8], [24, 8], [8, 24], [8, 24], [24, 24], [24, 24]]
    assert anchors[:, :2].tolist() == centers
    assert anchors[:, 2].tolist() == [10, 20] * 4


def test_boxes_are_decoded_relative_to_their_anchors():
    anchors = torch.tensor([[50.0, 60.0, 20.0, 40.0]])
    regressions = torch.tensor([[[5.0, 5.0, math.log(2) / 0.2, 0.0]]])
    boxes = decode_boxes(regressions, anchors, (0.1, 0.1, 0.2, 0.2))
    torch.testing.assert_close(boxes, torch.tensor([[[40.0, 60.0, 80.0, 100.0]]]))


def test_sizes_beyond_all_measure_are_bounded():
    anchors = torch.tensor([[0.0, 0.0, 16.0, 16.0]])
    boxes = decode_boxes(torch.tensor([[[0.0, 0.0, 1000.0, -1000.0]]]), anchors, (1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(boxes, torch.tensor([[[-500.0, -0.128, 500.0, 0.128]]]))


def test_backbone_returns_the_stages_that_are_asked_for():
    model = SSDLiteForObjectDetection(
        SSDLiteConfig(
            backbone_stages=(1, 2, 4, 7), extra_level_sizes=(), extra_level_strides=(), strides=(4, 8, 16, 32),
            anchor_min_sizes=(1,) * 4, anchor_max_sizes=(2,) * 4, anchor_ratios=((2,),) * 4,
        )
    ).eval()  # fmt: skip
    with torch.inference_mode():
        features = model.backbone(torch.rand(1, 3, 64, 64)).feature_maps
    assert [tuple(each.shape[1:]) for each in features] == [(24, 16, 16), (32, 8, 8), (96, 4, 4), (1280, 2, 2)]


def test_plain_tuples_and_hidden_states(small_model):
    pixel_values = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        logits, boxes = small_model(pixel_values, return_dict=False)
        states = small_model(pixel_values, output_hidden_states=True).hidden_states
    assert (logits.shape, boxes.shape) == ((1, PLACES, 4), (1, PLACES, 4))
    assert [tuple(state.shape[1:]) for state in states] == [(24, 4, 4), (1280, 2, 2), (32, 1, 1)]


def test_a_new_model_starts_out_indifferent(small_model):
    torch.manual_seed(0)
    model = SSDLiteForObjectDetection(small_model.config).eval()
    with torch.inference_mode():
        logits = model(torch.rand(1, 3, 64, 64)).logits
    torch.testing.assert_close(logits.softmax(-1), torch.full_like(logits, 0.25), rtol=0, atol=0.01)
