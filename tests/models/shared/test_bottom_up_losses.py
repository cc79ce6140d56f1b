"""Bottom-up estimators learn: instances in, loss out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hfpose.errors import InputError
from hfpose.models.shared.bottom_up_model import merged_gaussians, true_instances
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.losses import heatmap_targets
from networks import losses_of_steps
from small_bottom_up import FAMILIES, LABELS, small_model

NO_DEVICE = torch.device("cpu")


def test_instances_are_padded_and_measured_in_cells() -> None:
    true = true_instances(LABELS, 3, 4, NO_DEVICE)
    assert true.is_real.tolist() == [[True, True], [False, False]]
    assert true.is_labeled[0].tolist() == [[True] * 3, [True, True, False]]
    torch.testing.assert_close(true.centers[0], torch.tensor([[10 / 3, 14 / 3], [13.5, 12]]))
    assert true.boxes[0].tolist() == [[2, 2, 6, 10], [12, 12, 15, 12]]
    torch.testing.assert_close(true.diagonals[0], torch.tensor([math.hypot(4, 8), 3]))
    assert true.boxes[1].tolist() == [[0] * 4] * 2


@pytest.mark.parametrize("label", [{}, {"keypoints": torch.zeros(1, 4, 2)}, {"keypoints": torch.zeros(3, 2)}])
def test_labels_of_another_shape_are_named(label: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"labels of image 1 .* expected \(n, 3, 2\)"):
        true_instances([LABELS[0], label], 3, 4, NO_DEVICE)


def test_boxes_of_the_labels_are_taken() -> None:
    true = true_instances([LABELS[0] | {"boxes": torch.tensor([[0.0, 0, 40, 40], [40, 40, 64, 64]])}], 3, 4, NO_DEVICE)
    assert true.boxes[0].tolist() == [[0, 0, 10, 10], [10, 10, 16, 16]]
    assert true.diagonals[0, 1] == 3


@pytest.mark.parametrize("family", FAMILIES)
def test_a_keypoint_that_is_not_finite_is_not_labeled(family: str) -> None:
    model, _ = small_model(family)
    keypoints, losses = LABELS[0]["keypoints"].clone(), []
    for unknown in (torch.nan, 0.0):
        keypoints[1, 2] = unknown  # which its weight leaves out
        torch.manual_seed(0)
        losses.append(model(torch.ones(1, 3, 64, 64), labels=[LABELS[0] | {"keypoints": keypoints}]).loss)
    assert losses[0].isfinite() and losses[0] == losses[1]


def test_the_greatest_gaussian_counts() -> None:
    points = torch.tensor([[[[3.0, 3]], [[6, 3]], [[9, 9]]]])
    maps = merged_gaussians(points, torch.tensor([[[True], [True], [False]]]), (12, 12), torch.tensor([[1.0, 2, 1]]))
    one, two = (
        heatmap_targets(points[:, i], (12, 12), (12, 12), sigma, QUARTER)[0] for i, sigma in ((0, 1.0), (1, 2.0))
    )
    torch.testing.assert_close(maps, torch.maximum(one, two))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_steps_lower_the_loss(family: str) -> None:
    model, _ = small_model(family)
    losses = losses_of_steps(model, 8, 1e-3, pixel_values=torch.randn(2, 3, 64, 64), labels=LABELS)
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_images_without_instances_have_a_loss(family: str) -> None:
    model, _ = small_model(family)
    loss = model(torch.randn(1, 3, 64, 64), labels=LABELS[1:]).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
