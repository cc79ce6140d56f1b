"""Associative embedding: a heatmap for each keypoint of all people, and tags that tell whose each is.

Source: Newell et al., 2017, https://arxiv.org/abs/1611.05424; `mmpose.models.heads.AssociativeEmbeddingHead`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoBackbone
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from hfpose.keypoints import schema_for_config
from hfpose.models.associative_embedding.configuration_associative_embedding import AssociativeEmbeddingConfig
from hfpose.models.associative_embedding.loss_associative_embedding import associative_embedding_loss
from hfpose.models.shared.bottom_up import with_flipped
from hfpose.models.shared.bottom_up_losses import InstanceLabels, true_instances
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.heatmaps import flip_maps
from hfpose.models.shared.image_model import ImageModel


@dataclass
class AssociativeEmbeddingOutput(ModelOutput):
    """
    Output of [`AssociativeEmbeddingForPoseEstimation`].

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


class AssociativeEmbeddingForPoseEstimation(ImageModel):
    """A backbone with heatmaps and tags; used as [`RTMOForPoseEstimation`]."""

    config: AssociativeEmbeddingConfig
    base_model_prefix = "associative_embedding"
    conv_std = 0.001
    _no_split_modules = ["HRNetStage", "AssociativeEmbeddingHead"]

    def __init__(self, config: AssociativeEmbeddingConfig) -> None:
        super().__init__(config)
        self.backbone = AutoBackbone.from_config(config.backbone_config)
        self.head = AssociativeEmbeddingHead(config, self.backbone.channels[-1])
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: Tensor,
        labels: Sequence[InstanceLabels] | None = None,
        flip_test: bool = False,
        output_hidden_states: bool | None = None,
        **kwargs: object,
    ) -> AssociativeEmbeddingOutput:
        """
        Args:
            pixel_values: (B, C, H, W) normalized images, H and W multiples of 32.
            labels: for each image its instances, see `InstanceLabels`; asks for the loss.
            flip_test: average heatmaps over the flipped images and add the tags of these, which needs the flip pairs
                of `config.keypoint_schema`.
            output_hidden_states: whether to return the feature maps of the backbone.
        """
        feature_maps = self.backbone(with_flipped(pixel_values, flip_test)).feature_maps
        heatmaps, tags = self.head(feature_maps[-1])
        loss = None
        if labels is not None:
            stride = pixel_values.shape[-1] / heatmaps.shape[-1]
            true = true_instances(labels, heatmaps.shape[1], stride, heatmaps.device)
            loss = associative_embedding_loss(self.config, heatmaps[: len(labels)], tags[: len(labels)], true)
        if flip_test:
            heatmaps, tags = self._merge_flipped(heatmaps, tags)
        return AssociativeEmbeddingOutput(
            loss=loss,
            heatmaps=heatmaps,
            tags=tags,
            hidden_states=self.states_if_asked(feature_maps, output_hidden_states),
        )

    def _merge_flipped(self, heatmaps: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
        """Mean heatmaps and both tags of the maps (2B, ...) of images and of flipped images."""
        flip_indices = schema_for_config(self.config).required_flip_indices()
        heatmaps, flipped = heatmaps.chunk(2)
        tags, flipped_tags = tags.chunk(2)
        indices = [index + start for start in range(0, tags.shape[1], len(flip_indices)) for index in flip_indices]
        both = torch.cat((tags, flip_maps(flipped_tags, indices)), dim=1)
        return (heatmaps + flip_maps(flipped, flip_indices)) / 2, both
