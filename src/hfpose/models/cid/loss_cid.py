"""CID's targets and losses.

Source: `mmpose.codecs.DecoupledHeatmap`, `mmpose.models.heads.CIDHead.loss`.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.models.shared.bottom_up_losses import TrueInstances, merged_gaussians
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.losses import heatmap_targets


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
