"""CID learns heatmaps of all instances and of single ones, and to tell instances apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from hfpose.models.cid.modeling_cid import box_sigmas, cid_targets, contrastive_loss, focal_heatmap_loss
from hfpose.models.shared.bottom_up_model import true_instances
from small_bottom_up import LABELS

NO_DEVICE = torch.device("cpu")


def test_sigmas_grow_with_boxes() -> None:
    sigmas = box_sigmas(torch.tensor([[10.0, 10], [20, 20], [0, 0]]), 0.7)
    torch.testing.assert_close(sigmas[1], 2 * sigmas[0])
    assert sigmas[2] > 0
    # From 2.8 r^2 - 28 r - 30 = 0; the reference leaves out the division by 2.8.
    root = (-28 + math.sqrt(28**2 + 4 * 2.8 * 30)) / 2
    torch.testing.assert_close(sigmas[0], torch.tensor(root / 3))


def test_cid_chooses_cells_near_the_centers() -> None:
    torch.manual_seed(0)
    true = true_instances(LABELS, 3, 4, NO_DEVICE)
    targets = cid_targets(true, (16, 16), 0.7, 30)
    assert targets.is_chosen.tolist() == [[True, True], [False, False]]
    assert (targets.centers[0] - true.centers[0]).abs().max() < 2
    assert targets.heatmaps.shape == (2, 4, 16, 16)
    assert targets.instance_heatmaps.shape == (2, 3, 16, 16)
    assert targets.instance_weights.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert targets.instance_heatmaps[1, 2].max() == 0
    assert cid_targets(true, (16, 16), 0.7, 1).is_chosen.sum() == 1


def test_focal_loss_of_one_peak() -> None:
    probabilities, targets = torch.full((1, 1, 1, 3), 0.3), torch.tensor([[[[0.0, 0.5, 1]]]])
    expected = -(0.7**2 * math.log(0.3) + 0.3**2 * math.log(0.7) * (1 + 0.5**4))
    assert float(focal_heatmap_loss(probabilities, targets)) == pytest.approx(expected, rel=1e-5)
    assert focal_heatmap_loss(probabilities, targets, torch.zeros(1, 1)) == 0


def test_contrastive_loss_is_the_cross_entropy_of_cosines() -> None:
    features = torch.randn(1, 3, 5)
    unit = F.normalize(features[0, :2], dim=-1)
    expected = F.cross_entropy(unit @ unit.T / 0.05, torch.arange(2))
    found = contrastive_loss(features, torch.tensor([[True, True, False]]), 0.05)
    torch.testing.assert_close(found, expected)
