"""CID: a heatmap of people's centers, and for each center heatmaps of the keypoints of its person alone.

Source: Wang et al., "Contextual Instance Decoupling for Robust Multi-Person Pose Estimation", CVPR 2022;
`mmpose.models.heads.CIDHead`, `mmpose.codecs.DecoupledHeatmap`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.utils import ModelOutput

from hfpose.models.cid.configuration_cid import CIDConfig
from hfpose.models.shared.bottom_up import best_cells, cell_grid, heatmap_peaks, smooth_maps
from hfpose.models.shared.bottom_up_model import BottomUpModel, TrueInstances, merged_gaussians
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.heatmaps import QUARTER
from hfpose.models.shared.losses import heatmap_targets

# Cells that are one unit of the distance to a center.
DISTANCE_UNIT = 32.0


@dataclass
class CIDOutput(ModelOutput):
    """Output of [`CIDForPoseEstimation`]. N counts the best centers of an image, best first.

    Args:
        loss: scalar, where `labels` were given.
        heatmaps: (B, N, K, h, w) probabilities of the keypoints of each instance.
        centers: (B, N, 2) x and y of the centers in cells of the heatmaps.
        center_scores: (B, N) probability of each center, 0 where there are no more centers.
        places: (B, N) index of each center's cell, row by row.
        hidden_states: feature maps of the backbone, where asked for.
    """

    loss: Tensor | None = None
    heatmaps: Tensor | None = None
    centers: Tensor | None = None
    center_scores: Tensor | None = None
    places: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class Probabilities(nn.Conv2d):
    """Logits of heatmaps. A class of its own because transformers initializes only modules that hold parameters."""


class CIDInstanceHead(nn.Module):
    """Heatmaps of one instance's keypoints from the features of an image and those of the instance's center."""

    def __init__(self, config: CIDConfig, in_channels: int) -> None:
        super().__init__()
        channels = config.instance_channels
        self.reduction = nn.Conv2d(in_channels, channels, 1)
        self.channel_attention = nn.Linear(in_channels, channels)
        self.spatial_features = nn.Linear(in_channels, channels)
        self.spatial_attention = nn.Conv2d(3, 1, 5, padding=2)
        self.fusion = nn.Conv2d(2 * channels, channels, 1)
        self.heatmaps = Probabilities(channels, label_count(config), 1)

    def forward(self, features: Tensor, center_features: Tensor, centers: Tensor) -> Tensor:
        """
        Args:
            features: (B, C, h, w) of the images.
            center_features: (B, N, C) of them at the centers.
            centers: (B, N, 2) x and y in cells.

        Returns:
            (B, N, K, h, w) logits.
        """
        height, width = features.shape[-2:]
        image_features = self.reduction(features)[:, None]  # (B, 1, c, h, w)
        by_channel = image_features * self.channel_attention(center_features)[..., None, None]
        similarity = (image_features * self.spatial_features(center_features)[..., None, None]).sum(2, keepdim=True)
        distances = centers[:, :, None, None] - cell_grid(height, width, features.device) - 0.5
        distances = (distances / DISTANCE_UNIT).permute(0, 1, 4, 2, 3).to(similarity.dtype)
        places = torch.cat((similarity, distances), dim=2).flatten(0, 1)
        by_place = image_features * self.spatial_attention(places).sigmoid().unflatten(0, centers.shape[:2])
        fused = self.fusion(torch.cat((by_channel, by_place), dim=2).flatten(0, 1)).relu()
        return self.heatmaps(fused).unflatten(0, centers.shape[:2])


class CIDHead(nn.Module):
    """Logits (B, K + 1, h, w) of keypoints and centers of all people, and the head of the single instances."""

    def __init__(self, config: CIDConfig, in_channels: int) -> None:
        super().__init__()
        self.heatmaps = Probabilities(in_channels, label_count(config) + 1, 1)
        self.instances = CIDInstanceHead(config, in_channels)


class CIDForPoseEstimation(BottomUpModel):
    """CID with its heads for centers and for single instances; used as [`RTMOForPoseEstimation`]."""

    config: CIDConfig
    base_model_prefix = "cid"
    output_class = CIDOutput
    _no_split_modules = ["HRNetStage", "CIDHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.head = CIDHead(self.config, sum(channels))

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, std=self.conv_std)
        if isinstance(module, Probabilities) and module.bias is not None:
            prior = self.config.prior_probability
            init.constant_(module.bias, -math.log((1 - prior) / prior))

    def find(
        self, features: Tensor, stride: float, true: TrueInstances | None, flip_test: bool
    ) -> dict[str, Tensor | None]:
        probabilities = self._probabilities(self.head.heatmaps(features))
        loss = None
        if true is not None:
            count = len(true.keypoints)
            loss = self._loss(features[:count], probabilities[:count], true)
        if flip_test:  # the flipped features, flipped back, are those of a second image with the same centers
            original, flipped = features.chunk(2)
            features = torch.cat((original, flipped.flip(-1)))
            original, flipped = probabilities[:, -1:].chunk(2)
            probabilities = (original + flipped.flip(-1)) / 2
        centers, center_scores = self._centers(probabilities[:, -1:].float())
        everywhere = centers.repeat(len(features) // len(centers), 1, 1)
        instances = self.head.instances(features, _features_at(features, everywhere), everywhere)
        heatmaps = self._probabilities(instances)
        if flip_test:
            original, flipped = heatmaps.chunk(2)
            heatmaps = (original + flipped[:, :, self.flip_indices]) / 2
        places = centers[..., 0] + centers[..., 1] * features.shape[-1]
        found = {"heatmaps": heatmaps, "centers": centers, "center_scores": center_scores, "places": places}
        return {"loss": loss, **found}

    def _probabilities(self, logits: Tensor) -> Tensor:
        least = self.config.min_probability
        return logits.sigmoid().clamp(least, 1 - least)

    def _centers(self, probabilities: Tensor) -> tuple[Tensor, Tensor]:
        """The best centers (B, N, 2) in cells and their scores (B, N) in a heatmap (B, 1, h, w)."""
        height, width = probabilities.shape[-2:]
        smoothed = smooth_maps(probabilities, self.config.smoothing_kernel_size)
        side = (height + width) / 2
        peaks = heatmap_peaks(smoothed, 7 if side > 300 else 5 if side > 200 else 3)
        scores, cells = best_cells(peaks, self.config.num_queries)
        return torch.stack((cells % width, cells // width), dim=-1), scores

    def _loss(self, features: Tensor, probabilities: Tensor, true: TrueInstances) -> Tensor:
        """Focal losses of the heatmaps of all people and of single ones, contrastive loss of centers' features.

        All instances share one number of heatmaps, so that of the image with most.
        """
        config = self.config
        size = (features.shape[2], features.shape[3])
        targets = cid_targets(true, size, config.heatmap_min_overlap, config.max_training_instances)
        loss = focal_heatmap_loss(probabilities, targets.heatmaps)
        center_features = _features_at(features, targets.centers)
        instances = self._probabilities(self.head.instances(features, center_features, targets.centers))
        chosen = targets.is_chosen
        if chosen.any():
            instance_loss = focal_heatmap_loss(instances[chosen], targets.instance_heatmaps, targets.instance_weights)
            loss = loss + config.instance_loss_weight * instance_loss
            loss = loss + contrastive_loss(center_features.float(), chosen, config.contrastive_temperature)
        return loss


def _features_at(features: Tensor, cells: Tensor) -> Tensor:
    """Features (B, N, C) of the maps (B, C, h, w) at cells (B, N, 2)."""
    index = cells[..., 0] + cells[..., 1] * features.shape[-1]
    return features.flatten(2).gather(2, index[:, None].expand(-1, features.shape[1], -1)).transpose(1, 2)


# Loss


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
