"""Associative embedding: a heatmap for each keypoint of all people, and tags that tell whose each is.

Source: Newell et al., 2017, https://arxiv.org/abs/1611.05424; `mmpose.models.heads.AssociativeEmbeddingHead`,
`mmpose.codecs.AssociativeEmbedding`, `mmpose.models.losses.AssociativeEmbeddingLoss`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from hfpose.models.associative_embedding.configuration_associative_embedding import AssociativeEmbeddingConfig
from hfpose.models.shared.bottom_up_model import BottomUpModel, TrueInstances, merged_gaussians
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.heatmaps import flip_maps


@dataclass
class AssociativeEmbeddingOutput(ModelOutput):
    """Output of [`AssociativeEmbeddingForPoseEstimation`].

    Args:
        loss: scalar, where `labels` were given; see `associative_embedding_loss`.
        heatmaps: (B, K, h, w) responses.
        tags: (B, L * K, h, w) tags of the keypoints: the first number of each, then the second, and so on; twice as
            many numbers with a flip test.
        hidden_states: feature maps of the backbone, where asked for.
    """

    loss: Tensor | None = None
    heatmaps: Tensor | None = None
    tags: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class AssociativeEmbeddingHead(nn.Module):
    """From a feature map (B, C, h, w) to heatmaps (B, K, h, w) and tags (B, L * K, h, w)."""

    def __init__(self, config: AssociativeEmbeddingConfig, in_channels: int) -> None:
        super().__init__()
        self.num_keypoints, kernel = label_count(config), config.final_kernel_size
        self.projection = nn.Conv2d(
            in_channels, self.num_keypoints * (1 + config.tag_size), kernel, padding=kernel // 2
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.projection(features)
        return maps[:, : self.num_keypoints], maps[:, self.num_keypoints :]


class AssociativeEmbeddingForPoseEstimation(BottomUpModel):
    """A backbone with heatmaps and tags; used as [`RTMOForPoseEstimation`]."""

    config: AssociativeEmbeddingConfig
    base_model_prefix = "associative_embedding"
    output_class = AssociativeEmbeddingOutput
    uses_all_feature_maps = False
    _no_split_modules = ["HRNetStage", "AssociativeEmbeddingHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.head = AssociativeEmbeddingHead(self.config, channels[-1])

    def find(
        self, features: Tensor, stride: float, true: TrueInstances | None, flip_test: bool
    ) -> dict[str, Tensor | None]:
        heatmaps, tags = self.head(features)
        loss = None
        if true is not None:
            count = len(true.keypoints)
            loss = associative_embedding_loss(self.config, heatmaps[:count], tags[:count], true)
        if flip_test:
            heatmaps, tags = self._merge_flipped(heatmaps, tags)
        return {"loss": loss, "heatmaps": heatmaps, "tags": tags}

    def _merge_flipped(self, heatmaps: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
        """Mean heatmaps and both tags of the maps (2B, ...) of images and of flipped images."""
        flip_indices = self.flip_indices
        heatmaps, flipped = heatmaps.chunk(2)
        tags, flipped_tags = tags.chunk(2)
        indices = [index + start for start in range(0, tags.shape[1], len(flip_indices)) for index in flip_indices]
        both = torch.cat((tags, flip_maps(flipped_tags, indices)), dim=1)
        return (heatmaps + flip_maps(flipped, flip_indices)) / 2, both


# Loss


def associative_embedding_loss(
    config: AssociativeEmbeddingConfig, heatmaps: Tensor, tags: Tensor, true: TrueInstances
) -> Tensor:
    """Mean squared difference of heatmaps from Gaussians, and the loss of the tags.

    Tags of one instance are pulled to their mean, means of different instances pushed apart; summed over the images.

    Args:
        heatmaps: (B, K, h, w).
        tags: (B, L * K, h, w).
    """
    heatmaps, tags = heatmaps.float(), tags.float()
    height, width = heatmaps.shape[-2:]
    targets = merged_gaussians(true.keypoints, true.is_labeled, (height, width), config.heatmap_sigma)
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
    tag_loss = (pull + config.push_factor * push).sum()
    return (heatmaps - targets).square().mean() + config.tag_loss_weight * tag_loss
