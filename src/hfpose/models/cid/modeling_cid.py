"""CID: a heatmap of people's centers, and for each center heatmaps of the keypoints of its person alone.

Source: Wang et al., "Contextual Instance Decoupling for Robust Multi-Person Pose Estimation", CVPR 2022;
`mmpose.models.heads.CIDHead`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils import ModelOutput

from hfpose.models.cid.configuration_cid import CIDConfig
from hfpose.models.cid.loss_cid import cid_targets, contrastive_loss, focal_heatmap_loss
from hfpose.models.shared.bottom_up import best_cells, cell_grid, heatmap_peaks, smooth_maps
from hfpose.models.shared.bottom_up_losses import TrueInstances
from hfpose.models.shared.bottom_up_model import BottomUpModel
from hfpose.models.shared.configuration import label_count

# Cells that are one unit of the distance to a center.
DISTANCE_UNIT = 32.0


@dataclass
class CIDOutput(ModelOutput):
    """
    Output of [`CIDForPoseEstimation`]. N counts the best centers of an image, best first.

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
        heatmaps = self._heatmaps(features, centers.repeat(len(features) // len(centers), 1, 1))
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

    def _heatmaps(self, features: Tensor, centers: Tensor) -> Tensor:
        """Probabilities (B, N, K, h, w) of the keypoints of the instances with these centers (B, N, 2)."""
        return self._probabilities(self.head.instances(features, _features_at(features, centers), centers))

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
