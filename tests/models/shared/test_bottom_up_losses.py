"""Bottom-up estimators learn: instances in, loss out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.errors import InputError
from hfpose.models.shared.bottom_up_losses import (
    _displacement_targets,
    associative_embedding_loss,
    box_sigmas,
    cid_targets,
    contrastive_loss,
    dekr_loss,
    focal_heatmap_loss,
    merged_gaussians,
    true_instances,
)
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.losses import heatmap_targets
from small_bottom_up import FAMILIES, small_model

LABELS: list[dict[str, Any]] = [
    {
        "keypoints": torch.tensor([[[8.0, 8], [24, 8], [8, 40]], [[48, 48], [60, 48], [0, 0]]]),
        "keypoint_weights": torch.tensor([[1, 1, 1], [1, 2, 0]]),
    },
    {"keypoints": torch.zeros(0, 3, 2)},
]
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


def test_the_greatest_gaussian_counts() -> None:
    points = torch.tensor([[[[3.0, 3]], [[6, 3]], [[9, 9]]]])
    maps = merged_gaussians(points, torch.tensor([[[True], [True], [False]]]), (12, 12), torch.tensor([[1.0, 2, 1]]))
    one, two = (
        heatmap_targets(points[:, i], (12, 12), (12, 12), sigma, QUARTER)[0] for i, sigma in ((0, 1.0), (1, 2.0))
    )
    torch.testing.assert_close(maps, torch.maximum(one, two))


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
    settings: Any = {"sigmas": (4, 2), "background_weight": 0.1, "min_diagonal": 2, "beta": 1 / 9}
    heatmaps = torch.cat(
        (
            merged_gaussians(true.keypoints, true.is_labeled, (16, 16), 2),
            merged_gaussians(true.centers[:, :, None], true.is_real[..., None], (16, 16), 4),
        ),
        dim=1,
    )
    moves, weights = _displacement_targets(true, true.is_real, (16, 16), 4)
    assert dekr_loss(heatmaps, moves.flatten(1, 2), true, displacement_weight=1, **settings) == 0
    off = dekr_loss(heatmaps, moves.flatten(1, 2) + 1, true, displacement_weight=1, **settings)
    expected = (weights[weights > 0] * (1 - 1 / 18)).mean()
    torch.testing.assert_close(off, expected)


def test_small_instances_have_no_center() -> None:
    true = true_instances(LABELS[:1], 3, 4, NO_DEVICE)
    settings: Any = {"sigmas": (4, 2), "background_weight": 0.1, "beta": 1, "displacement_weight": 1}
    maps = torch.zeros(1, 4, 16, 16), torch.zeros(1, 6, 16, 16)
    losses = [float(dekr_loss(*maps, true, min_diagonal=least, **settings)) for least in (2, 5, 100)]
    assert losses[0] != losses[1] != losses[2]


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


def naive_tag_loss(tags: Tensor, keypoints: Tensor, push_factor: float) -> float:
    """Instance by instance, for maps (K, h, w) and keypoints (n, K, 2) in whole cells."""
    found = torch.stack([torch.stack([tags[k, y, x] for k, (x, y) in enumerate(some)]) for some in keypoints.long()])
    means = found.mean(1)
    pull = sum(F.mse_loss(some, mean.expand_as(some)) for some, mean in zip(found, means, strict=True)) / len(found)
    push = torch.exp(-((means[:, None] - means[None]) ** 2)).sum() / (len(found) * (len(found) - 1))
    return float(pull + push_factor * push)


def test_tags_of_one_instance_are_pulled_together_and_of_two_pushed_apart() -> None:
    keypoints, tags = torch.randint(0, 8, (3, 2, 2)), torch.randn(1, 2, 8, 8)
    true = true_instances([{"keypoints": keypoints}], 2, 1, NO_DEVICE)
    heatmaps = merged_gaussians(true.keypoints, true.is_labeled, (8, 8), 2.0)
    loss = associative_embedding_loss(heatmaps, tags, true, sigma=2.0, tag_weight=2.0, push_factor=0.5)
    assert float(loss) == pytest.approx(2 * naive_tag_loss(tags[0], keypoints, 0.5), rel=1e-4)
    lonely = true_instances([{"keypoints": keypoints[:1]}], 2, 1, NO_DEVICE)
    heatmaps = merged_gaussians(lonely.keypoints, lonely.is_labeled, (8, 8), 2.0)
    same = torch.ones(1, 2, 8, 8)
    assert associative_embedding_loss(heatmaps, same, lonely, sigma=2.0, tag_weight=1.0, push_factor=0.5) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_steps_lower_the_loss(family: str) -> None:
    model, _ = small_model(family)
    images = torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(8):
        loss = model(images, labels=LABELS).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_images_without_instances_have_a_loss(family: str) -> None:
    model, _ = small_model(family)
    loss = model(torch.randn(1, 3, 64, 64), labels=LABELS[1:]).loss
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
