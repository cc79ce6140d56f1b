"""Losses of the bottom-up estimators. Targets are made here, from the instances of each image, for the whole batch.

Source: `mmpose.codecs.SPR`, `DecoupledHeatmap` and `AssociativeEmbedding`; `mmpose.models.losses`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.errors import InputError
from hfpose.models.shared.bottom_up import cell_grid
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.losses import heatmap_targets

# The true instances of one image, coordinates in pixels of `pixel_values`: `keypoints` (n, K, 2) x and y, and where
# known `keypoint_weights` (n, K), 0 where a keypoint is not labeled, else all are, and `boxes` (n, 4) x1, y1, x2, y2,
# else those are the extents of the labeled keypoints.
InstanceLabels = Mapping[str, Tensor]


class TrueInstances(NamedTuple):
    """The true instances of a batch of images, padded to the same number G, in cells of the feature maps.

    Args:
        keypoints: (B, G, K, 2) x and y.
        is_labeled: (B, G, K); False for padding.
        centers: (B, G, 2) means of the labeled keypoints.
        diagonals: (B, G) diagonals of their extents.
        boxes: (B, G, 4) x1, y1, x2, y2.
        is_real: (B, G) whether an instance has a labeled keypoint at all.
    """

    keypoints: Tensor
    is_labeled: Tensor
    centers: Tensor
    diagonals: Tensor
    boxes: Tensor
    is_real: Tensor


def true_instances(
    labels: Sequence[InstanceLabels], num_keypoints: int, stride: float, device: torch.device
) -> TrueInstances:
    """The instances of the images' labels.

    Args:
        labels: for each image, see `InstanceLabels`.
        num_keypoints: K.
        stride: pixels of a cell.
        device: where to put them.

    Raises:
        InputError: for labels without `keypoints`, or of another number of them.
    """
    for index, label in enumerate(labels):
        if "keypoints" not in label or label["keypoints"].shape[1:] != (num_keypoints, 2):
            shape = tuple(label["keypoints"].shape) if "keypoints" in label else None
            raise InputError(
                f"The labels of image {index} have keypoints of shape {shape}; expected (n, {num_keypoints}, 2), with "
                "n = 0 where there is no instance."
            )
    count = max([1, *(len(label["keypoints"]) for label in labels)])
    keypoints = torch.zeros(len(labels), count, num_keypoints, 2, device=device)
    is_labeled = torch.zeros(keypoints.shape[:3], dtype=torch.bool, device=device)
    boxes = torch.full((len(labels), count, 4), torch.nan, device=device)
    for index, label in enumerate(labels):
        given = label["keypoints"].to(keypoints)
        keypoints[index, : len(given)] = given / stride
        weights = label.get("keypoint_weights")
        is_labeled[index, : len(given)] = True if weights is None else weights.to(device) > 0
        if "boxes" in label:
            boxes[index, : len(given)] = label["boxes"].to(boxes).reshape(-1, 4) / stride
    counts = is_labeled[..., None].float()
    centers = (keypoints * counts).sum(2) / counts.sum(2).clamp(min=1)
    is_real = is_labeled.any(2)
    lows = keypoints.masked_fill(~is_labeled[..., None], torch.inf).amin(2).where(is_real[..., None], 0)
    highs = keypoints.masked_fill(~is_labeled[..., None], -torch.inf).amax(2).where(is_real[..., None], 0)
    boxes = torch.where(boxes.isnan(), torch.cat((lows, highs), -1), boxes)
    return TrueInstances(keypoints, is_labeled, centers, (highs - lows).norm(dim=-1), boxes, is_real)


def merged_gaussians(points: Tensor, is_labeled: Tensor, size: tuple[int, int], sigma: float | Tensor) -> Tensor:
    """For each image and keypoint the greatest of the Gaussians of its instances.

    Args:
        points: (B, G, K, 2) centers in cells.
        is_labeled: (B, G, K) which of them count.
        size: height and width of the maps in cells.
        sigma: standard deviation in cells, or (B, G) one for each instance.

    Returns:
        (B, K, h, w)
    """
    merged = points.new_zeros(len(points), points.shape[2], *size)
    for instance in range(points.shape[1]):  # maps of all instances at once would take gigabytes
        spread = sigma[:, instance, None] if isinstance(sigma, Tensor) else sigma
        gaussians, _ = heatmap_targets(points[:, instance], size, size, spread, QUARTER)
        merged = torch.maximum(merged, gaussians * is_labeled[:, instance, :, None, None])
    return merged


# DEKR


def dekr_loss(
    heatmaps: Tensor,
    displacements: Tensor,
    true: TrueInstances,
    *,
    sigmas: Sequence[float],
    background_weight: float,
    min_diagonal: float,
    beta: float,
    displacement_weight: float,
) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians, and smooth L1 loss of the displacements around centers.

    Source: `mmpose.models.losses.KeypointMSELoss` and `SoftWeightSmoothL1Loss`.

    Args:
        heatmaps: (B, K + 1, h, w) of keypoints and centers.
        displacements: (B, 2K, h, w).
        true: the instances.
        sigmas: standard deviations in cells of the Gaussians of centers and of keypoints.
        background_weight: weight of cells without a target.
        min_diagonal: smaller instances have no center; in cells.
        beta: error in cells from which the loss of displacements is linear.
        displacement_weight: its weight.
    """
    heatmaps, displacements = heatmaps.float(), displacements.float()
    size = (heatmaps.shape[2], heatmaps.shape[3])
    has_center = true.is_real & (true.diagonals >= min_diagonal)
    targets = torch.cat(
        (
            merged_gaussians(true.keypoints, true.is_labeled, size, sigmas[1]),
            merged_gaussians(true.centers[:, :, None], has_center[..., None], size, sigmas[0]),
        ),
        dim=1,
    )
    weights = torch.where(targets > 0, 1.0, background_weight)
    heatmap_loss = ((heatmaps - targets).square() * weights).mean()
    moves, weights = _displacement_targets(true, has_center, size, sigmas[0])
    errors = F.smooth_l1_loss(displacements.unflatten(1, (-1, 2)), moves, beta=beta, reduction="none")
    displacement_loss = (errors * weights[:, :, None]).sum() / (2 * (weights > 0).sum()).clamp(min=1)
    return heatmap_loss + displacement_weight * displacement_loss


def _displacement_targets(
    true: TrueInstances, has_center: Tensor, size: tuple[int, int], radius: float
) -> tuple[Tensor, Tensor]:
    """Displacements (B, K, 2, h, w) from the cells around each center to its keypoints, and weights (B, K, h, w).

    Where regions overlap the smaller instance counts. The weight is one over the instance's diagonal.
    """
    height, width = size
    limits = torch.tensor([width, height], device=true.keypoints.device)
    grid = cell_grid(height, width, limits.device)
    inside = ((true.keypoints >= 0) & (true.keypoints < limits)).all(-1) & true.is_labeled
    has_center = has_center & ((true.centers >= 0) & (true.centers < limits)).all(-1)
    weights = grid.new_zeros(len(true.keypoints), true.keypoints.shape[2], height, width)
    moves = torch.stack((weights, weights), dim=2)
    batch = torch.arange(len(moves), device=limits.device)
    for instance in true.diagonals.argsort(dim=1, descending=True).unbind(1):  # (B,), larger instances first
        center, keypoints = true.centers[batch, instance], true.keypoints[batch, instance]
        first, end = (center - radius).trunc().clamp(min=0), (center + radius).trunc()
        is_near = ((grid >= first[:, None, None]) & (grid < end[:, None, None])).all(-1)  # (B, h, w)
        is_near = is_near[:, None] & (inside & has_center[..., None])[batch, instance][:, :, None, None]
        to_keypoints = (keypoints[:, :, None, None] - grid).movedim(-1, 2)
        moves = torch.where(is_near[:, :, None], to_keypoints, moves)
        weight = 1 / true.diagonals[batch, instance].clamp(min=1e-6)
        weights = torch.where(is_near, weight[:, None, None, None], weights)
    return moves, weights


# CID


class CIDTargets(NamedTuple):
    """What CID shall answer. M counts the chosen instances of all images.

    Args:
        heatmaps: (B, K + 1, h, w) Gaussians of the keypoints and, last, of the centers of all instances.
        centers: (B, G, 2) x and y of the cells whose features stand for the instances.
        is_chosen: (B, G) the instances whose own heatmaps are asked for.
        instance_heatmaps: (M, K, h, w) Gaussians of their keypoints.
        instance_weights: (M, K) 1 for a labeled keypoint.
    """

    heatmaps: Tensor
    centers: Tensor
    is_chosen: Tensor
    instance_heatmaps: Tensor
    instance_weights: Tensor


def cid_targets(true: TrueInstances, size: tuple[int, int], min_overlap: float, max_instances: int) -> CIDTargets:
    """Targets with Gaussians as wide as the instances are large.

    The cell of an instance is its center, moved by up to one cell at random. Where two have the same, the smaller
    instance is chosen; of more than `max_instances` in an image some are chosen at random.

    Source: `mmpose.codecs.DecoupledHeatmap`.
    """
    height, width = size
    limits = torch.tensor([width, height], device=true.keypoints.device)
    sigmas = box_sigmas(true.boxes[..., 2:] - true.boxes[..., :2], min_overlap)
    points = torch.cat((true.keypoints, true.centers[:, :, None]), dim=2)
    is_labeled = torch.cat((true.is_labeled, true.is_real[..., None]), dim=2)
    jitter = torch.randint(-1, 2, true.centers.shape, device=limits.device)
    centers = (true.centers + jitter).clamp(min=0).minimum(limits - 1).long()
    is_chosen = true.is_real & ((true.centers > -1) & (true.centers < limits)).all(-1)
    ranks = true.diagonals.argsort(dim=1, stable=True).argsort(dim=1)
    is_same = (centers[:, :, None] == centers[:, None]).all(-1) & is_chosen[:, None]
    is_chosen = is_chosen & ~(is_same & (ranks[:, None] < ranks[:, :, None])).any(2)
    draw = torch.rand(is_chosen.shape, device=limits.device).masked_fill(~is_chosen, 2)
    is_chosen = is_chosen & (draw.argsort(dim=1).argsort(dim=1) < max_instances)
    weights = true.is_labeled[is_chosen].float()
    gaussians, _ = heatmap_targets(true.keypoints[is_chosen], size, size, sigmas[is_chosen][:, None], QUARTER)
    return CIDTargets(
        heatmaps=merged_gaussians(points, is_labeled, size, sigmas),
        centers=centers,
        is_chosen=is_chosen,
        instance_heatmaps=gaussians * weights[..., None, None],
        instance_weights=weights,
    )


def box_sigmas(sides: Tensor, min_overlap: float) -> Tensor:
    """Standard deviations (...) for boxes with sides (..., 2), a third of CornerNet's radius.

    Source: Law and Deng, 2018, https://arxiv.org/abs/1808.01244, with the roots of the equations as the reference's
    `DecoupledHeatmap` takes them.
    """
    total, area = sides.sum(-1), sides.prod(-1)
    quadratics = (
        (1.0, total, area * (1 - min_overlap) / (1 + min_overlap)),
        (4.0, 2 * total, area * (1 - min_overlap)),
        (4 * min_overlap, -2 * min_overlap * total, area * (min_overlap - 1)),
    )
    radii = [(b + (b.square() - 4 * a * c).clamp(min=0).sqrt()) / 2 for a, b, c in quadratics]
    return torch.stack(radii).amin(0).clamp(min=1e-2) / 3


def focal_heatmap_loss(probabilities: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
    """CornerNet's focal loss of heatmaps (M, K, h, w), divided by the number of cells that are 1 in the targets.

    Source: `mmpose.models.losses.FocalHeatmapLoss`.

    Args:
        probabilities: greater than 0 and less than 1.
        targets: 0 to 1.
        weights: (M, K) of the single heatmaps.
    """
    probabilities = probabilities.float()
    factor = torch.ones_like(targets) if weights is None else weights[..., None, None]
    is_peak = (targets == 1) * factor
    at_peaks = (1 - probabilities).square() * probabilities.log() * is_peak
    elsewhere = (1 - targets) ** 4 * probabilities.square() * (1 - probabilities).log() * (targets < 1) * factor
    return -(at_peaks.sum() + elsewhere.sum()) / is_peak.sum().clamp(min=1)


def contrastive_loss(features: Tensor, is_real: Tensor, temperature: float) -> Tensor:
    """Cross entropy of telling each instance of an image from the others by the cosines of their features.

    Source: `mmpose.models.losses.InfoNCELoss`, averaged over all instances as `CIDHead` does.

    Args:
        features: (B, G, C).
        is_real: (B, G) False for padding.
        temperature: the cosines are divided by it.
    """
    features = F.normalize(features, dim=-1)
    logits = (features @ features.transpose(1, 2) / temperature).masked_fill(~is_real[:, None], -torch.inf)
    own = torch.diagonal(logits, dim1=1, dim2=2)[is_real]
    return (logits.logsumexp(-1)[is_real] - own).mean()


# Associative embedding


def associative_embedding_loss(
    heatmaps: Tensor, tags: Tensor, true: TrueInstances, *, sigma: float, tag_weight: float, push_factor: float
) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians, and the loss of the tags.

    Tags of one instance are pulled to their mean, means of different instances pushed apart; summed over the images.

    Source: `mmpose.models.losses.AssociativeEmbeddingLoss`.

    Args:
        heatmaps: (B, K, h, w).
        tags: (B, L * K, h, w).
        true: the instances.
        sigma: standard deviation in cells of the Gaussians.
        tag_weight: weight of the tags' loss.
        push_factor: weight in it of the distance of different instances.
    """
    heatmaps, tags = heatmaps.float(), tags.float()
    height, width = heatmaps.shape[-2:]
    targets = merged_gaussians(true.keypoints, true.is_labeled, (height, width), sigma)
    x, y = (true.keypoints + 0.5).trunc().long().unbind(-1)
    is_inside = true.is_labeled & (x >= 0) & (x < width) & (y >= 0) & (y < height)  # (B, G, K)
    index = (x + y * width).where(is_inside, 0)
    maps = tags.unflatten(1, (-1, heatmaps.shape[1])).flatten(3)  # (B, L, K, h * w)
    index = index.transpose(1, 2)[:, None].expand(-1, maps.shape[1], -1, -1)  # (B, L, K, G)
    found = maps.gather(3, index).permute(0, 3, 2, 1) * is_inside[..., None]  # (B, G, K, L)
    counts = is_inside.sum(2)
    means = found.sum(2) / counts.clamp(min=1)[..., None]
    deviations = ((found - means[:, :, None]) * is_inside[..., None]).square().mean(3).sum(2)
    is_real = counts > 0
    num_real = is_real.sum(1)
    pull = (deviations / counts.clamp(min=1)).sum(1) / num_real.clamp(min=1)
    closeness = torch.exp(-(means[:, :, None] - means[:, None]).square()).sum(-1)
    is_pair = is_real[:, :, None] & is_real[:, None] & (num_real > 1)[:, None, None]
    push = (closeness * is_pair).sum((1, 2)) / (num_real * (num_real - 1)).clamp(min=1)
    return (heatmaps - targets).square().mean() + tag_weight * (pull + push_factor * push).sum()
