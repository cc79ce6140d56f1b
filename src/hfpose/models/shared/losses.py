"""Losses of the estimators of crops.

Targets are made here, from keypoints in pixels of `pixel_values`, for the whole batch at once.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.errors import InputError
from hfpose.models.shared.heatmaps import DARK, MEGVII, MEGVII_PEAK, QUARTER, UDP, blur_matrix

# A Gaussian that reaches less than this many standard deviations into the image is no target.
GAUSSIAN_REACH = 3

_DIVERGENCE_EPS = 1e-24  # keeps the logarithm of a share finite


def crop_labels(labels: Tensor, keypoint_weights: Tensor | None, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """True keypoints of crops and their weights, float32; one whose x or y is not finite weighs 0.

    Args:
        labels: of the shape (B, K, 2) or (B, K, 3), or without a value where B is 0.
        keypoint_weights: (B, K), 0 for a keypoint that is not labeled; None weighs all 1.
        shape: what the labels must have.

    Raises:
        InputError: for labels or weights of another shape.
    """
    for name, given, wanted in (("labels", labels, shape), ("keypoint_weights", keypoint_weights, shape[:2])):
        is_empty = shape[0] == 0 and isinstance(given, Tensor) and given.numel() == 0
        if given is not None and not is_empty and (not isinstance(given, Tensor) or given.shape != wanted):
            found = f"shape {tuple(given.shape)}" if isinstance(given, Tensor) else f"type {type(given).__name__}"
            raise InputError(
                f"{name} have {found}; expected a tensor {wanted}: a row for each crop, with every keypoint of the "
                "model."
            )
    labels = labels.float().reshape(shape)
    weights = labels.new_ones(shape[:2]) if keypoint_weights is None else keypoint_weights.float().reshape(shape[:2])
    return known_keypoints(labels, weights)


def known_keypoints(keypoints: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Keypoints (..., K, 2 or 3) and weights (..., K), both 0 where x or y is not finite."""
    is_known = keypoints[..., :2].isfinite().all(-1)
    return torch.where(is_known[..., None], keypoints, 0), is_known * weights


def visibility_loss(logits: Tensor, weights: Tensor) -> Tensor:
    """Mean cross entropy of keypoint logits (M, K) and whether each keypoint is labeled (M, K); 0 where M is."""
    return _mean(F.binary_cross_entropy_with_logits(logits, weights, reduction="none"))


def _mean(values: Tensor) -> Tensor:
    """The mean, 0 of no values, such as those of images without people."""
    return values.sum() / max(values.numel(), 1)


# SimCC


def simcc_targets(positions: Tensor, num_bins: int, sigma: float) -> tuple[Tensor, Tensor]:
    """Gaussians over the bins of one axis, 1 at their centers.

    Args:
        positions: (B, K) positions of the keypoints in bins; they are rounded to whole ones.
        sigma: standard deviation in bins.

    Returns:
        Targets (B, K, num_bins), and whether each Gaussian reaches into the axis (B, K).
    """
    centers = positions.round()
    bins = torch.arange(num_bins, device=positions.device)
    reach = GAUSSIAN_REACH * sigma
    is_inside = (centers - reach < num_bins) & (centers + reach + 1 >= 0)
    return torch.exp(-(bins - centers[..., None]).square() / (2 * sigma**2)), is_inside


def one_bin_targets(positions: Tensor, num_bins: int, smoothing: float) -> tuple[Tensor, Tensor]:
    """Distributions over the bins of an axis, 1 - `smoothing` in the bin of its keypoint, alike elsewhere.

    Args:
        positions: (B, K) as `simcc_targets` takes them.
        smoothing: what the other bins share.

    Returns:
        Targets (B, K, num_bins), and whether each keypoint's bin is on the axis (B, K).
    """
    centers = positions.round()
    is_center = torch.arange(num_bins, device=positions.device) == centers[..., None]
    return torch.where(is_center, 1 - smoothing, smoothing / (num_bins - 1)), (centers >= 0) & (centers < num_bins)


def simcc_loss(
    simcc_x: Tensor,
    simcc_y: Tensor,
    labels: Tensor,
    keypoint_weights: Tensor,
    *,
    split_ratio: float,
    sigma: Sequence[float],
    beta: float,
    label_softmax: bool,
    label_beta: float,
    label_normalize: bool = False,
    label_smoothing: float | None = None,
) -> Tensor:
    """Kullback-Leibler divergence of SimCC outputs from Gaussians around the true keypoints.

    For each keypoint and axis it is averaged over the bins; the sum over axes, keypoints and samples is divided by the
    number of keypoints. It grows with the batch, as in the reference, so that its learning rates, gradient limits and
    Adam epsilon mean the same here.

    Source: `mmpose.models.losses.KLDiscretLoss`, `mmpose.codecs.SimCCLabel`.

    Args:
        simcc_x, simcc_y: (B, K, bins) outputs.
        labels: (B, K, 2) true x and y in pixels of the crop.
        keypoint_weights: (B, K), 0 for a keypoint that is not labeled.
        split_ratio, sigma, beta, label_softmax, label_beta, label_normalize, label_smoothing: as the fields
            `simcc_...` of [`RTMPoseConfig`].
    """
    positions = (labels.float() * split_ratio).unbind(-1)
    settings = (beta, label_softmax, label_beta, label_normalize, label_smoothing)
    along_x, x_inside = simcc_divergence(simcc_x, positions[0], sigma[0], *settings)
    along_y, y_inside = simcc_divergence(simcc_y, positions[1], sigma[1], *settings)
    weights = (x_inside & y_inside) * keypoint_weights
    return ((along_x + along_y) * weights).sum() / simcc_x.shape[1]


def simcc_divergence(
    output: Tensor,
    positions: Tensor,
    sigma: float,
    beta: float,
    label_softmax: bool,
    label_beta: float,
    label_normalize: bool = False,
    label_smoothing: float | None = None,
) -> tuple[Tensor, Tensor]:
    """The part of `simcc_loss` of one axis.

    Args:
        output: (B, K, bins).
        positions: (B, K) true positions of the keypoints in bins.
        sigma, beta, label_softmax, label_beta, label_normalize, label_smoothing: see `simcc_loss`.

    Returns:
        Divergence (B, K), averaged over the bins, and whether each keypoint's target reaches into the axis (B, K).
    """
    if label_smoothing is not None:
        target, is_inside = one_bin_targets(positions, output.shape[-1], label_smoothing)
    else:
        target, is_inside = simcc_targets(positions, output.shape[-1], sigma)
        if label_normalize:
            target = target / (sigma * math.sqrt(2 * math.pi))
    if label_softmax:
        target = (target * label_beta).softmax(-1)
    divergence = F.kl_div((output.float() * beta).log_softmax(-1), target, reduction="none").mean(-1)
    return divergence, is_inside


# Heatmaps


def heatmap_targets(
    labels: Tensor,
    heatmap_size: tuple[int, int],
    image_size: Sequence[int],
    sigma: float | Tensor,
    encoding: str,
    kernel_size: int = 11,
) -> tuple[Tensor, Tensor]:
    """Gaussians around keypoints, 1 at their centers, 255 with `"megvii"`.

    Source: `mmpose.codecs.MSRAHeatmap`, `UDPHeatmap` and `MegviiHeatmap`.

    Args:
        labels: (B, K, 2) x and y in pixels of the crop.
        heatmap_size: height and width of the heatmaps in cells.
        image_size: height and width of the crop in pixels.
        sigma: standard deviation in cells, or (B, 1) one for each crop.
        encoding: the way that decodes them, see `decode_heatmaps`. `"quarter"` rounds the centers to cells,
            `"quarter"` and `"udp"` cut the Gaussians off, `"megvii"` draws them with a kernel.
        kernel_size: of that kernel, in cells.

    Returns:
        Targets (B, K, h, w), and whether each Gaussian reaches into its heatmap (B, K).
    """
    border = 1 if encoding == UDP else 0
    axes, is_inside = [], torch.ones(labels.shape[:2], dtype=torch.bool, device=labels.device)
    for axis, num_cells, num_pixels in zip((0, 1), reversed(heatmap_size), reversed(image_size), strict=True):
        positions = labels[..., axis].float() * ((num_cells - border) / (num_pixels - border))
        if encoding == MEGVII:
            values, reaches = _axis_kernels(positions, num_cells, kernel_size)
        else:
            values, reaches = _axis_gaussians(positions, num_cells, sigma, encoding)
        axes.append(values)
        is_inside &= reaches
    peak = MEGVII_PEAK if encoding == MEGVII else 1.0
    return axes[1][..., :, None] * axes[0][..., None, :] * peak, is_inside


def _axis_kernels(positions: Tensor, num_cells: int, kernel_size: int) -> tuple[Tensor, Tensor]:
    """Smoothed cells (B, K, num_cells), 1 at positions (B, K) along one axis, and whether each lies inside (B, K)."""
    cells = positions.trunc().long()
    columns = blur_matrix(num_cells, kernel_size, reflects=True).T.to(positions.device)
    columns = columns / columns.diagonal()[:, None]
    return columns[cells.clamp(0, num_cells - 1)], (cells >= 0) & (cells < num_cells)


def _axis_gaussians(positions: Tensor, num_cells: int, sigma: float | Tensor, encoding: str) -> tuple[Tensor, Tensor]:
    """Gaussians (B, K, num_cells) around positions (B, K) along one axis, and whether each reaches into it (B, K)."""
    spread = torch.as_tensor(sigma, dtype=positions.dtype, device=positions.device)
    reach, cells = GAUSSIAN_REACH * spread, torch.arange(num_cells, device=positions.device)
    nearest = positions if encoding == DARK else (positions + 0.5).trunc()
    first, end = nearest - reach, nearest + reach + 1
    centers = nearest if encoding == QUARTER else positions
    if encoding != DARK:
        # The reference draws whole cells. For some fractions of a cell the center comes out one cell too low.
        first, end = first.trunc(), end.trunc()
        centers = centers + (first + (reach + 0.5).floor() - nearest)
    values = torch.exp(-(cells - centers[..., None]).square() / (2 * spread[..., None] ** 2))
    if encoding != DARK:
        values = values * ((cells >= first[..., None]) & (cells < end[..., None]))
    return values, (first < num_cells) & (end >= 0)


def heatmap_loss(
    heatmaps: Tensor,
    labels: Tensor,
    keypoint_weights: Tensor,
    *,
    image_size: Sequence[int],
    sigma: float,
    encoding: str,
    kernel_size: int = 11,
    hard_keypoints: int = 0,
) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians around the true keypoints, weighted by keypoint.

    Source: `mmpose.models.losses.KeypointMSELoss` and `KeypointOHKMMSELoss` with `use_target_weight`.

    Args:
        heatmaps: (B, K, h, w) outputs.
        keypoint_weights: (B, K), 0 for a keypoint that is not labeled.
        labels, image_size, sigma, encoding, kernel_size: see `heatmap_targets`.
        hard_keypoints: how many keypoints of each crop count, those with the largest loss (online hard keypoint
            mining); 0 for all.
    """
    size = (heatmaps.shape[2], heatmaps.shape[3])
    targets, is_inside = heatmap_targets(labels, size, image_size, sigma, encoding, kernel_size)
    losses = (heatmaps.float() - targets).square().mean((2, 3)) * (is_inside * keypoint_weights)
    return _mean(losses.topk(min(hard_keypoints or losses.shape[1], losses.shape[1])).values)


def combined_heatmap_loss(
    heatmaps: Tensor,
    labels: Tensor,
    keypoint_weights: Tensor,
    *,
    image_size: Sequence[int],
    radius_factor: float,
) -> Tensor:
    """Mean squared difference of responses from disks around the true keypoints, and of the offsets inside of them.

    Source: `mmpose.models.losses.CombinedTargetMSELoss` with `use_target_weight`, `mmpose.codecs.UDPHeatmap` with
    `heatmap_type="combined"`.

    Args:
        heatmaps: (B, 3 * K, h, w) outputs, see `decode_heatmaps`.
        labels, keypoint_weights, image_size: see `heatmap_loss`.
        radius_factor: radius of the disks relative to the longer side of the heatmaps.
    """
    responses, *offsets = heatmaps.float().unflatten(1, (-1, 3)).unbind(2)
    height, width = responses.shape[2:]
    radius = radius_factor * max(height, width)
    scales = ((width - 1) / (image_size[1] - 1), (height - 1) / (image_size[0] - 1))
    x, y = ((labels[..., axis].float() * scale)[..., None, None] for axis, scale in enumerate(scales))
    columns, rows = (torch.arange(size, device=labels.device) for size in (width, height))
    true_offsets = [(x - columns) / radius, (y - rows[:, None]) / radius]
    disks = (true_offsets[0].square() + true_offsets[1].square() <= 1).float()
    weights = keypoint_weights[..., None, None]
    total = _mean(((responses - disks) * weights).square())
    for given, true in zip(offsets, true_offsets, strict=True):
        total = total + _mean(((given - true) * disks * weights).square())
    return 0.5 * total


# Coordinates


def visible_coordinates(labels: Tensor, keypoint_weights: Tensor, image_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """True coordinates as shares of the crop, and weights of the keypoints, 0 for those outside of it.

    Source: `mmpose.codecs.RegressionLabel`.

    Args:
        labels, keypoint_weights, image_size: see `heatmap_loss`.

    Returns:
        Coordinates (B, K, 2) and weights (B, K).
    """
    labels = labels.float()
    size = labels.new_tensor(list(reversed(image_size)))
    is_inside = ((labels >= 0) & (labels <= size - 1)).all(-1)
    return labels / size, is_inside * keypoint_weights


def coordinate_loss(coordinates: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean smooth L1 distance of coordinates (B, K, 2) from true ones, both multiplied by the keypoints' weights
    (B, K).

    Source: `mmpose.models.losses.SmoothL1Loss` with `use_target_weight`.
    """
    return _mean(F.smooth_l1_loss(coordinates * weights[..., None], targets * weights[..., None], reduction="none"))


def distribution_loss(
    heatmaps: Tensor,
    labels: Tensor,
    weights: Tensor,
    *,
    image_size: Sequence[int],
    sigma: float,
    loss_type: Literal["divergence", "mse"] = "divergence",
) -> Tensor:
    """Jensen-Shannon divergence of heatmaps from Gaussians around the true keypoints, averaged over samples, or the
    mean squared difference.

    Source: `mmpose.models.losses.JSDiscretLoss` and `KeypointMSELoss` with `use_target_weight`,
    `mmpose.codecs.IntegralRegressionLabel`.

    Args:
        heatmaps: (B, K, h, w), each with the sum 1.
        labels, image_size, sigma: see `heatmap_targets`.
        weights: (B, K) of the keypoints.
    """
    size = (heatmaps.shape[2], heatmaps.shape[3])
    targets, _ = heatmap_targets(labels, size, image_size, sigma, QUARTER)
    targets = targets / (targets.sum((2, 3), keepdim=True) + _DIVERGENCE_EPS)
    if loss_type == "mse":
        return _mean((heatmaps.float() - targets).square().mean((2, 3)) * weights)
    given, expected = (each.float().clamp(min=_DIVERGENCE_EPS) for each in (heatmaps, targets))
    middle = (0.5 * (given + expected)).log()
    divergence = F.kl_div(middle, given, reduction="none") + F.kl_div(middle, expected, reduction="none")
    return 0.5 * (divergence.sum((2, 3)) * weights).sum() / max(len(heatmaps), 1)
