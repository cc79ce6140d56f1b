"""SimCC responses as images of where the keypoints are."""

from __future__ import annotations

import torch

from hfpose.models.shared.simcc import decode_simcc, simcc_heatmaps


def test_heatmaps_are_products_of_both_responses():
    x, y = torch.tensor([[[0.25, 0.5, 0.0]]]), torch.tensor([[[1.0, 0.5]]])
    expected = torch.tensor([[[[0.25, 0.5, 0.0], [0.125, 0.25, 0.0]]]])
    torch.testing.assert_close(simcc_heatmaps(x, y), expected)


def test_responses_below_0_and_beyond_1_are_brought_between():
    x, y = torch.tensor([[[-3.0, 4.0, 1.0]]]), torch.tensor([[[-1.0, 0.5]]])
    expected = torch.tensor([[[[0.0, 0.0, 0.0], [0.0, 0.5, 0.125]]]])
    torch.testing.assert_close(simcc_heatmaps(x, y), expected)


def test_no_response_at_all_is_an_empty_map():
    heatmaps = simcc_heatmaps(torch.full((1, 2, 3), -1.0), torch.zeros(1, 2, 4))
    assert heatmaps.shape == (1, 2, 4, 3)
    assert not heatmaps.any()


def test_keypoints_are_float32_whatever_torch_makes_by_default():
    torch.set_default_dtype(torch.bfloat16)
    try:
        keypoints, _ = decode_simcc(torch.eye(768)[None, 765:766], torch.eye(768)[None, 513:514], 2.0)
    finally:
        torch.set_default_dtype(torch.float32)
    assert keypoints.dtype == torch.float32
    assert keypoints.tolist() == [[[382.5, 256.5]]]
