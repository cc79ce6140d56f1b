"""Losses against numbers worked out by hand and against slow versions of their definitions."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch

from hfpose.models.regression.modeling_regression import ErrorFlow, rle_loss
from hfpose.models.shared.heatmaps import decode_heatmaps
from hfpose.models.shared.losses import (
    combined_heatmap_loss,
    crop_labels,
    distribution_loss,
    heatmap_loss,
    heatmap_targets,
    one_bin_targets,
    simcc_loss,
    simcc_targets,
    visibility_loss,
)

SIMCC = {"split_ratio": 2.0, "sigma": (4.9, 5.66), "beta": 10.0, "label_softmax": True, "label_beta": 10.0}


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


def slow_simcc_loss(
    outputs, keypoints, weights, *, split_ratio, sigma, beta, label_softmax, label_beta, label_normalize=False
) -> float:
    """Keypoint by keypoint, bin by bin, from the definitions."""
    samples, count, _ = keypoints.shape
    total = 0.0
    for sample in range(samples):
        for k in range(count):
            weight, divergence = float(weights[sample, k]), 0.0
            for axis, output in enumerate(outputs):
                num_bins = output.shape[-1]
                center = np.around(keypoints[sample, k, axis] * split_ratio)
                if center - 3 * sigma[axis] >= num_bins or center + 3 * sigma[axis] + 1 < 0:
                    weight = 0.0
                target = np.array([math.exp(-((i - center) ** 2) / (2 * sigma[axis] ** 2)) for i in range(num_bins)])
                if label_normalize:
                    target = target / (sigma[axis] * math.sqrt(2 * math.pi))
                if label_softmax:
                    target = softmax(target * label_beta)
                predicted = softmax(output[sample, k].astype(np.float64) * beta)
                terms = [t * (math.log(t) - math.log(p)) for t, p in zip(target, predicted, strict=True) if t > 0]
                divergence += sum(terms) / num_bins
            total += weight * divergence
    return total / count


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"beta": 1.0, "label_softmax": False},
        {"label_softmax": False, "label_normalize": True},
        {"label_beta": 3.0},
    ],
)
def test_simcc_loss_equals_its_definition(options):
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(2, 3, 48)), rng.normal(size=(2, 3, 64))
    keypoints = rng.uniform(0, 24, size=(2, 3, 2))
    keypoints[0, 0] = (-40, 5)  # its Gaussian does not reach into the crop
    weights = rng.uniform(0, 1, size=(2, 3))
    weights[1, 2] = 0
    settings = SIMCC | options
    given = simcc_loss(*map(torch.tensor, (*outputs, keypoints, weights)), **settings)
    assert float(given) == pytest.approx(slow_simcc_loss(outputs, keypoints, weights, **settings), rel=1e-5)


def test_simcc_loss_is_zero_for_the_targets_themselves():
    keypoints = torch.tensor([[[10.0, 20.0], [3.2, 30.9]]])
    simcc_x = simcc_targets(keypoints[..., 0] * 2, 48, 4.9)[0]
    simcc_y = simcc_targets(keypoints[..., 1] * 2, 64, 5.66)[0]
    assert float(simcc_loss(simcc_x, simcc_y, keypoints, torch.ones(keypoints.shape[:2]), **SIMCC)) == pytest.approx(
        0, abs=1e-7
    )


def test_simcc_loss_by_hand():
    # One keypoint, two bins each way, outputs equal: the prediction is (1/2, 1/2). The Gaussian at bin 0 with sigma 1
    # is (1, e^-0.5); its softmax is (s, 1 - s) with s = 1 / (1 + e^(e^-0.5 - 1)). The divergence is averaged over two
    # bins.
    settings = {"split_ratio": 1.0, "sigma": (1.0, 1.0), "beta": 1.0, "label_softmax": True, "label_beta": 1.0}
    share = 1 / (1 + math.exp(math.exp(-0.5) - 1))
    divergence = share * math.log(share / 0.5) + (1 - share) * math.log((1 - share) / 0.5)
    loss = simcc_loss(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.zeros(1, 1, 2), torch.ones(1, 1), **settings)
    assert float(loss) == pytest.approx(2 * divergence / 2, rel=1e-5)


def test_simcc_targets_round_to_the_nearest_bin_and_are_one_there():
    targets, is_inside = simcc_targets(torch.tensor([[3.4, 3.6, -20.0, 30.0]]), 10, 2.0)
    assert targets.argmax(-1).tolist()[0][:2] == [3, 4]
    assert targets[0, 0, 3] == 1
    assert is_inside.tolist() == [[True, True, False, False]]


def test_targets_of_one_bin_share_what_is_smoothed_among_the_others():
    targets, is_inside = one_bin_targets(torch.tensor([[1.4, 4.6, -0.4, -0.6]]), 5, 0.2)
    torch.testing.assert_close(targets[0, 0], torch.tensor([0.05, 0.8, 0.05, 0.05, 0.05]))
    assert is_inside.tolist() == [[True, False, True, False]]


def slow_heatmap(x: float, y: float, width: int, height: int, sigma: float, encoding: str) -> np.ndarray | None:
    """One target, cell by cell; x and y in cells. None for a Gaussian that is not in it."""
    if encoding == "dark":
        corner = (x, y)
        center = (x, y)
    else:
        corner = (int(x + 0.5), int(y + 0.5))
        center = corner if encoding == "quarter" else (x, y)
    reach = 3 * sigma
    if corner[0] - reach >= width or corner[1] - reach >= height:
        return None
    if corner[0] + reach + 1 < 0 or corner[1] + reach + 1 < 0:
        return None
    heatmap = np.zeros((height, width))
    for row in range(height):
        for column in range(width):
            if encoding != "dark" and max(abs(column - corner[0]), abs(row - corner[1])) > reach:
                continue
            distance = (column - center[0]) ** 2 + (row - center[1]) ** 2
            heatmap[row, column] = math.exp(-distance / (2 * sigma**2))
    return heatmap


@pytest.mark.parametrize("encoding", ["quarter", "dark", "udp"])
def test_heatmap_loss_equals_its_definition(encoding):
    rng = np.random.default_rng(1)
    outputs, weights = rng.normal(size=(2, 4, 16, 12)), rng.uniform(0, 1, size=(2, 4))
    keypoints = rng.uniform(0, (48, 64), size=(2, 4, 2))
    keypoints[0, 1] = (-60, 30)
    keypoints[1, 2] = (-9, 70)  # outside, but its Gaussian reaches in
    total = 0.0
    for sample in range(2):
        for k in range(4):
            x, y = keypoints[sample, k]
            x, y = (x * 11 / 47, y * 15 / 63) if encoding == "udp" else (x / 4, y / 4)
            heatmap = slow_heatmap(x, y, 12, 16, 2, encoding)
            if heatmap is not None:
                total += weights[sample, k] * ((outputs[sample, k] - heatmap) ** 2).mean()
    arguments = {"image_size": (64, 48), "sigma": 2.0, "encoding": encoding}
    given = heatmap_loss(*map(torch.tensor, (outputs, keypoints, weights)), **arguments)
    assert float(given) == pytest.approx(total / 8, rel=1e-5)


@pytest.mark.parametrize(
    ("position", "sigma", "first", "peak", "last"),
    [(10, 2.0, 4, 10, 16), (10, 1.5, 5, 10, 14), (10, 1.4, 5, 9, 14), (2, 1.4, 0, 2, 6), (2, 1.5, 0, 3, 6)],
)
def test_gaussians_lie_in_whole_cells_as_in_the_reference(position, sigma, first, peak, last):
    """Numbers of `mmpose.codecs.utils.generate_gaussian_heatmaps`, which is uneven where three sigmas end in a cell."""
    targets, _ = heatmap_targets(torch.full((1, 1, 2), float(position)), (32, 32), (32, 32), sigma, "quarter")
    column = targets[0, 0].amax(0)
    drawn = column.nonzero().flatten()
    assert (int(drawn[0]), int(column.argmax()), int(drawn[-1])) == (first, peak, last)


@pytest.mark.parametrize(("encoding", "pixels"), [("quarter", 2.01), ("dark", 0.05), ("udp", 0.3)])
def test_decoding_heatmap_targets_gives_the_keypoints(encoding, pixels):
    keypoints = torch.tensor([[[80.3, 133.1], [91.7, 72.9], [61.0, 150.5]]])
    targets, is_inside = heatmap_targets(keypoints, (64, 48), (256, 192), 2.0, encoding)
    cells, scores = decode_heatmaps(targets, encoding)
    border = 1 if encoding == "udp" else 0
    found = cells * torch.tensor([(192 - border) / (48 - border), (256 - border) / (64 - border)])
    assert is_inside.all() and scores.min() > 0.85
    assert (found - keypoints).abs().max() < pixels


def test_megvii_targets_are_those_of_opencv():
    keypoints = torch.tensor([[[80.3, 133.1], [3.0, 1.0], [191.0, 255.9], [-3.0, 9.0], [-5.0, 9.0], [9.0, 256.0]]])
    targets, is_inside = heatmap_targets(keypoints, (64, 48), (256, 192), 2.0, "megvii", kernel_size=11)
    assert is_inside[0].tolist() == [True, True, True, True, False, False]
    for target, (x, y) in zip(targets[0, :3].numpy(), ((20, 33), (0, 0), (47, 63)), strict=True):
        spot = np.zeros((64, 48), np.float32)
        spot[y, x] = 1
        blurred = cv2.GaussianBlur(spot, (11, 11), 0)
        np.testing.assert_allclose(target, blurred / blurred[y, x] * 255, atol=1e-3)


def test_combined_heatmap_loss_equals_its_definition():
    rng = np.random.default_rng(1)
    outputs, weights = rng.normal(size=(2, 12, 16, 12)), rng.uniform(0, 1, size=(2, 4))
    keypoints = rng.uniform(0, (48, 64), size=(2, 4, 2))
    radius, total = 0.2 * 16, 0.0
    y, x = np.mgrid[:16, :12]
    for sample in range(2):
        for k in range(4):
            true_x = (keypoints[sample, k, 0] * 11 / 47 - x) / radius
            true_y = (keypoints[sample, k, 1] * 15 / 63 - y) / radius
            disk = weights[sample, k] * (true_x**2 + true_y**2 <= 1)
            response, offset_x, offset_y = outputs[sample, 3 * k : 3 * k + 3]
            total += 0.5 * ((weights[sample, k] * response - disk) ** 2).mean()
            total += 0.5 * ((disk * (offset_x - true_x)) ** 2).mean()
            total += 0.5 * ((disk * (offset_y - true_y)) ** 2).mean()
    given = combined_heatmap_loss(
        *map(torch.tensor, (outputs, keypoints, weights)), image_size=(64, 48), radius_factor=0.2
    )
    assert float(given) == pytest.approx(total / 8, rel=1e-5)


def test_a_keypoint_that_is_not_finite_weighs_nothing():
    labels = torch.tensor([[[1, 2], [3, torch.nan]]])
    found, weights = crop_labels(labels, None, (1, 2, 2))
    assert found.isfinite().all()
    assert weights.tolist() == [[1, 0]]


def test_keypoints_that_weigh_nothing_have_no_gradients_either():
    heatmaps = torch.rand(1, 2, 4, 4, requires_grad=True)
    distribution_loss(heatmaps, torch.zeros(1, 2, 2), torch.zeros(1, 2), image_size=(16, 16), sigma=2.0).backward()
    assert not heatmaps.grad.any()


def test_the_density_of_errors_is_learned_in_half_precision():
    flow = ErrorFlow().bfloat16()
    rle_loss(flow, torch.rand(1, 2, 2), torch.rand(1, 2, 2), torch.rand(1, 2, 2), torch.ones(1, 2)).backward()


def test_visibility_loss_is_a_mean_cross_entropy():
    loss = visibility_loss(torch.tensor([[0.0, math.log(3)]]), torch.tensor([[1.0, 0.0]]))
    assert loss.item() == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_visibility_loss_of_no_crops_is_zero():
    assert visibility_loss(torch.zeros(0, 5), torch.zeros(0, 5)) == 0
