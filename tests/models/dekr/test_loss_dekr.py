"""DEKR learns heatmaps, and displacements around centers."""

from __future__ import annotations

import math

import torch

from hfpose.models.dekr.configuration_dekr import DEKRConfig
from hfpose.models.dekr.modeling_dekr import _displacement_targets, dekr_loss
from hfpose.models.shared.bottom_up_model import merged_gaussians, true_instances
from small_bottom_up import LABELS

NO_DEVICE = torch.device("cpu")


def test_displacements_are_those_of_the_smaller_instance_where_two_overlap() -> None:
    keypoints = torch.tensor([[[2.0, 8], [14, 8]], [[6, 8], [9, 9]]])
    true = true_instances([{"keypoints": keypoints}], 2, 1, NO_DEVICE)
    moves, weights = _displacement_targets(true, true.is_real, (16, 16), 2.0)
    assert true.centers[0].tolist() == [[8, 8], [7.5, 8.5]]
    assert moves[0, 0, :, 8, 7].tolist() == [-1, 0]  # of the smaller, around (7.5, 8.5)
    assert moves[0, 0, :, 6, 9].tolist() == [-7, 2]  # cells 6 to 9 around (8, 8) belong to the larger alone
    torch.testing.assert_close(weights[0, :, 8, 7], torch.full((2,), 1 / math.hypot(3, 1)))
    assert (weights[0, 0] > 0).sum() == 5 * 4  # x from 5 or 6, y from 6, each four cells


def test_dekr_loss_is_zero_for_perfect_maps_alone() -> None:
    true = true_instances(LABELS, 3, 4, NO_DEVICE)
    config = DEKRConfig(heatmap_sigma=(4, 2), min_diagonal=2, displacement_loss_weight=1.0)
    heatmaps = torch.cat(
        (
            merged_gaussians(true.keypoints, true.is_labeled, (16, 16), 2),
            merged_gaussians(true.centers[:, :, None], true.is_real[..., None], (16, 16), 4),
        ),
        dim=1,
    )
    moves, weights = _displacement_targets(true, true.is_real, (16, 16), 4)
    assert dekr_loss(config, heatmaps, moves.flatten(1, 2), true) == 0
    off = dekr_loss(config, heatmaps, moves.flatten(1, 2) + 1, true)
    expected = (weights[weights > 0] * (1 - 1 / 18)).mean()
    torch.testing.assert_close(off, expected)


def test_small_instances_have_no_center() -> None:
    true = true_instances(LABELS[:1], 3, 4, NO_DEVICE)
    maps = torch.zeros(1, 4, 16, 16), torch.zeros(1, 6, 16, 16)
    losses = [float(dekr_loss(DEKRConfig(min_diagonal=least), *maps, true)) for least in (2, 5, 100)]
    assert losses[0] != losses[1] != losses[2]
