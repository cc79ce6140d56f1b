"""InterNet: 3D keypoints of two hands, the depth between them, and which of them are there.

Source: Moon et al., 2020, https://arxiv.org/abs/2008.09309; `mmpose.models.heads.InternetHead`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from hfpose.models.internet.configuration_internet import NUM_HANDS, InterNetConfig
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import MLP, deconvolutions
from hfpose.models.shared.image_model import EstimatorModel, Untrainable


@dataclass
class InterNetOutput(ModelOutput):
    """Output of [`InterNetForHandPose`].

    Args:
        heatmaps: (B, K, depth_size, H, W) responses of the keypoints, those of the right hand first; H and W are a
            32nd of the crop's, doubled by each upsampling.
        root_depth: (B, 1) expected cell, between 0 and `root_depth_size - 1`, of the depth of the left wrist relative
            to the right one.
        hand_type: (B, 2) logits of a right and of a left hand being there.
        hidden_states: feature maps of the backbone's stem and stages, where asked for.
    """

    loss: Tensor | None = None
    heatmaps: Tensor | None = None
    root_depth: Tensor | None = None
    hand_type: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class InterNetHandHead(nn.Module):
    """3D heatmaps (B, K, depth_size, H, W) of one hand's keypoints."""

    def __init__(self, config: InterNetConfig, in_channels: int) -> None:
        super().__init__()
        self.depth_size = config.depth_size
        self.upsamplers = deconvolutions(in_channels, config.upsample_sizes, config.upsample_kernel_sizes)
        channels = [in_channels, *config.upsample_sizes][-1]
        self.projection = nn.Conv2d(channels, label_count(config) // NUM_HANDS * config.depth_size, 1)

    def forward(self, hidden_state: Tensor) -> Tensor:
        # A plane of the volume is a channel of the convolution.
        return self.projection(self.upsamplers(hidden_state)).unflatten(1, (-1, self.depth_size))


class InterNetHead(nn.Module):
    """The last feature map of the backbone (B, C, h, w) to heatmaps, root depth and hand type, see
    [`InterNetOutput`]."""

    def __init__(self, config: InterNetConfig, in_channels: int) -> None:
        super().__init__()
        self.right_hand = InterNetHandHead(config, in_channels)
        self.left_hand = InterNetHandHead(config, in_channels)
        self.root_depth = MLP(in_channels, *config.root_depth_hidden_sizes, config.root_depth_size)
        self.hand_type = MLP(in_channels, *config.hand_type_hidden_sizes, NUM_HANDS)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        heatmaps = torch.cat((self.right_hand(features), self.left_hand(features)), dim=1)
        pooled = features.mean((2, 3))
        likely = self.root_depth(pooled).softmax(dim=1)
        cells = torch.arange(likely.shape[1], dtype=likely.dtype, device=likely.device)
        return heatmaps, (likely * cells).sum(dim=1, keepdim=True), self.hand_type(pooled)


class InterNetForHandPose(Untrainable, EstimatorModel):
    """InterNet: a backbone with a head for two hands; used as [`RTMPoseForPoseEstimation`]."""

    config: InterNetConfig
    base_model_prefix = "internet"
    conv_std = 0.001
    supports_gradient_checkpointing = False
    _no_split_modules = ["InterNetHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.head = InterNetHead(self.config, channels[-1])

    @can_return_tuple
    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool | None = None, **kwargs: object
    ) -> InterNetOutput:
        """
        Args:
            pixel_values: (B, 3, H, W) normalized crops.
        """
        wants_states = self.wants_states(output_hidden_states)
        features = self.backbone(pixel_values, output_hidden_states=wants_states, return_dict=True)
        heatmaps, root_depth, hand_type = self.head(features.feature_maps[-1])
        return InterNetOutput(
            heatmaps=heatmaps, root_depth=root_depth, hand_type=hand_type, hidden_states=features.hidden_states
        )
