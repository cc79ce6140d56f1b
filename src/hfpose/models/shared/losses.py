"""Losses that the models compute when they are given `labels`.

Targets are made here, from keypoints and boxes in pixels of `pixel_values`, for the whole batch at once.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.errors import InputError
from hfpose.models.shared.heatmaps import DARK, MEGVII, MEGVII_PEAK, QUARTER, UDP, blur_matrix

# A Gaussian that reaches less than this many standard deviations into the image is no target.
GAUSSIAN_REACH = 3

# Settings of RTMDet's assignment and losses, the same for all its sizes.
ASSIGNMENT_CANDIDATES = 13
SOFT_CENTER_RADIUS = 3.0
IOU_COST_WEIGHT = 3.0
QUALITY_FOCAL_BETA = 2.0
BOX_LOSS_WEIGHT = 2.0

_IOU_EPS = 1e-7  # keeps the logarithm of an IoU finite
_DIVERGENCE_EPS = 1e-24  # keeps the logarithm of a share finite
_AREA_EPS = 1e-6  # keeps a quotient of areas finite


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
    is_known = labels[..., :2].isfinite().all(-1)
    weights = is_known.float() if keypoint_weights is None else is_known * keypoint_weights.float().reshape(shape[:2])
    return torch.where(is_known[..., None], labels, 0), weights


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
    keypoint_weights: Tensor | None,
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
        keypoint_weights: (B, K), 0 for a keypoint that is not labeled; None weighs all 1.
        split_ratio, sigma, beta, label_softmax, label_beta, label_normalize, label_smoothing: as the fields
            `simcc_...` of [`RTMPoseConfig`].
    """
    positions = (labels.float() * split_ratio).unbind(-1)
    settings = (beta, label_softmax, label_beta, label_normalize, label_smoothing)
    along_x, x_inside = simcc_divergence(simcc_x, positions[0], sigma[0], *settings)
    along_y, y_inside = simcc_divergence(simcc_y, positions[1], sigma[1], *settings)
    weights = (x_inside & y_inside).float() if keypoint_weights is None else (x_inside & y_inside) * keypoint_weights
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
    keypoint_weights: Tensor | None,
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
        keypoint_weights: (B, K), 0 for a keypoint that is not labeled; None weighs all 1.
        labels, image_size, sigma, encoding, kernel_size: see `heatmap_targets`.
        hard_keypoints: how many keypoints of each crop count, those with the largest loss (online hard keypoint
            mining); 0 for all.
    """
    size = (heatmaps.shape[2], heatmaps.shape[3])
    targets, is_inside = heatmap_targets(labels, size, image_size, sigma, encoding, kernel_size)
    weights = is_inside.float() if keypoint_weights is None else is_inside * keypoint_weights
    losses = (heatmaps.float() - targets).square().mean((2, 3)) * weights
    return _mean(losses.topk(min(hard_keypoints or losses.shape[1], losses.shape[1])).values)


def combined_heatmap_loss(
    heatmaps: Tensor,
    labels: Tensor,
    keypoint_weights: Tensor | None,
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
    weights = torch.ones_like(x) if keypoint_weights is None else keypoint_weights[..., None, None]
    total = _mean(((responses - disks) * weights).square())
    for given, true in zip(offsets, true_offsets, strict=True):
        total = total + _mean(((given - true) * disks * weights).square())
    return 0.5 * total


# Coordinates


def visible_coordinates(
    labels: Tensor, keypoint_weights: Tensor | None, image_size: Sequence[int]
) -> tuple[Tensor, Tensor]:
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
    weights = is_inside.float() if keypoint_weights is None else is_inside * keypoint_weights
    return labels / size, weights


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


# Detection


def detection_loss(
    logits: Tensor, pred_boxes: Tensor, points: Tensor, strides: Tensor, labels: Sequence[Mapping[str, Tensor]]
) -> Tensor:
    """RTMDet's loss: quality focal loss of the classes, generalized IoU of the assigned boxes.

    Both are sums over the batch, divided by the sum of the assigned boxes' IoUs (at least 1).

    Source: `mmdet.models.dense_heads.RTMDetHead`; the quality focal loss is Li et al., 2020,
    https://arxiv.org/abs/2006.04388, the generalized IoU Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630.

    Args:
        logits: (B, P, C) of all anchor points.
        pred_boxes: (B, P, 4) x1, y1, x2, y2 in pixels of `pixel_values`.
        points: (P, 2) x and y of each anchor point in these pixels.
        strides: (P,) stride of each anchor point's level.
        labels: for each image `class_labels` (n,) and `boxes` (n, 4), x1, y1, x2, y2 in pixels of `pixel_values`.
    """
    logits, pred_boxes = logits.float(), pred_boxes.float()
    boxes, class_labels, is_real = pad_labels(labels, logits.device)
    with torch.no_grad():
        owners, ious = assign_boxes(logits, pred_boxes, points, strides, boxes, class_labels, is_real)
        is_assigned = owners >= 0
        owners = owners.clamp(min=0)
        quality = torch.zeros_like(logits)
        quality.scatter_(2, class_labels.gather(1, owners)[..., None], (ious * is_assigned)[..., None])
        target_boxes = boxes.gather(1, owners[..., None].expand(-1, -1, 4))[is_assigned]
        weights = ious[is_assigned]
    class_loss = quality_focal_loss(logits, quality).sum()
    box_loss = ((1 - generalized_iou(pred_boxes[is_assigned], target_boxes)) * weights).sum()
    return (class_loss + BOX_LOSS_WEIGHT * box_loss) / weights.sum().clamp(min=1)


def pad_labels(labels: Sequence[Mapping[str, Tensor]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Labels of all images as boxes (B, G, 4), classes (B, G) and which of them are real (B, G); G is at least 1."""
    counts = [len(label["boxes"]) for label in labels]
    boxes = torch.zeros(len(labels), max([1, *counts]), 4, device=device)
    class_labels = torch.zeros(boxes.shape[:2], dtype=torch.long, device=device)
    for index, (label, count) in enumerate(zip(labels, counts, strict=True)):
        boxes[index, :count] = label["boxes"].to(boxes).reshape(count, 4)
        class_labels[index, :count] = label["class_labels"].to(class_labels)
    is_real = torch.arange(boxes.shape[1], device=device) < torch.tensor(counts, device=device)[:, None]
    return boxes, class_labels, is_real


def assign_boxes(
    logits: Tensor,
    pred_boxes: Tensor,
    points: Tensor,
    strides: Tensor,
    boxes: Tensor,
    class_labels: Tensor,
    is_real: Tensor,
) -> tuple[Tensor, Tensor]:
    """Which true box each anchor point shall predict: those whose prediction is near already, in class, box and
    center.

    Only anchor points inside of some true box take part; see `cheapest_owners`.

    Source: `mmdet.models.task_modules.DynamicSoftLabelAssigner`.

    Args:
        logits, pred_boxes, points, strides: see `detection_loss`.
        boxes: (B, G, 4) true boxes.
        class_labels: (B, G) their classes.
        is_real: (B, G) False for padding.

    Returns:
        (B, P) index of each anchor point's true box, -1 for none; and (B, P) IoU of prediction and true box, any value
        where there is none.
    """
    sides = torch.cat((points[:, None] - boxes[:, None, :, :2], boxes[:, None, :, 2:] - points[:, None]), -1)
    takes_part = ((sides.amin(-1) > 0) & is_real[:, None]).any(-1)  # (B, P)
    is_pair = takes_part[..., None] & is_real[:, None]  # (B, P, G)
    ious = pairwise_iou(pred_boxes, boxes).masked_fill(~is_pair, 0)

    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    distances = (points[:, None] - centers[:, None]).norm(dim=-1) / strides[:, None]
    cost = _class_cost(logits, class_labels, ious)
    cost = cost - IOU_COST_WEIGHT * (ious + _IOU_EPS).log() + 10 ** (distances - SOFT_CENTER_RADIUS)
    cost = cost.masked_fill(~is_pair, math.inf)

    owners = cheapest_owners(cost, ious, ASSIGNMENT_CANDIDATES)
    return owners, ious.gather(2, owners.clamp(min=0)[..., None]).squeeze(2)


def cheapest_owners(cost: Tensor, similarities: Tensor, num_candidates: int) -> Tensor:
    """Index (..., P) of the instance that each anchor point learns, -1 for none.

    Each instance takes its cheapest anchor points, as many as the sum of its best similarities; the cheapest instance
    gets an anchor point that several want.

    Args:
        cost: (..., P, n) of an anchor point for an instance; infinite where it is none for it.
        similarities: (..., P, n), 0 to 1.
        num_candidates: how many of them are summed up, and the most that an instance takes.
    """
    count = min(num_candidates, cost.shape[-2])
    wanted = similarities.topk(count, dim=-2).values.sum(-2, keepdim=True).int().clamp(min=1)
    cheapest = cost.topk(count, dim=-2, largest=False).indices  # (..., count, n)
    ranks = torch.arange(count, device=cost.device)[:, None]
    chosen = torch.zeros_like(cost, dtype=torch.bool).scatter(-2, cheapest, ranks < wanted) & cost.isfinite()
    owners = torch.where(chosen.sum(-1) > 1, cost.argmin(-1), chosen.int().argmax(-1))
    return torch.where(chosen.any(-1), owners, -1)


def _class_cost(logits: Tensor, class_labels: Tensor, ious: Tensor) -> Tensor:
    """Quality focal loss (B, P, G) of each anchor point if it had the class of each true box, at their IoU."""
    as_background = quality_focal_loss(logits, torch.zeros_like(logits))
    index = class_labels[:, None].expand(-1, logits.shape[1], -1)
    as_owner = quality_focal_loss(logits.gather(2, index), ious)
    return as_background.sum(-1, keepdim=True) - as_background.gather(2, index) + as_owner


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Cross entropy of logits and a quality from 0 to 1, weighted by the square of their difference; any shape."""
    difference = quality - logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return entropy * difference.abs() ** QUALITY_FOCAL_BETA


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (B, P, G) of boxes (B, P, 4) and others (B, G, 4)."""
    return _iou_and_union(boxes[:, :, None], others[:, None])[0]


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalized IoU (N,) of boxes (N, 4) with as many others: the IoU less the share of the hull that is empty."""
    iou, union = _iou_and_union(boxes, others)
    hull = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    area = hull.clamp(min=0).prod(-1).clamp(min=_AREA_EPS)
    return iou - (area - union) / area


def _iou_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and union, of boxes (..., 4) and others (..., 4)."""
    inner = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    intersection = inner.clamp(min=0).prod(-1)
    areas = [(given[..., 2:] - given[..., :2]).prod(-1) for given in (boxes, others)]
    union = (areas[0] + areas[1] - intersection).clamp(min=_AREA_EPS)
    return intersection / union, union
