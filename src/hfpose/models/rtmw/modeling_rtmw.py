"""RTMW: CSPNeXt features and a path aggregation neck, keypoint tokens from two scales, gated attention, SimCC outputs.

Source: Jiang et al., 2024, https://arxiv.org/abs/2407.08634; `mmpose.models.heads.RTMWHead`,
`mmpose.models.necks.CSPNeXtPAFPN`.
"""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn

from hfpose.models.backbones.cspnext import CSPNeXtBlock
from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseForPoseEstimation
from hfpose.models.rtmw.configuration_rtmw import RTMWConfig
from hfpose.models.shared.configuration import feature_map_size, label_count
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.csp import PathAggregationNeck
from hfpose.models.shared.gated_attention import GatedAttentionUnit, ScaleNorm


class KeypointTokens(nn.Module):
    """Half a token (B, K, hidden_size / 2) for each keypoint from a feature map (B, C, h, w)."""

    def __init__(self, config: RTMWConfig, in_channels: int, cells: int) -> None:
        super().__init__()
        sizes = in_channels, label_count(config), config.final_kernel_size
        self.keypoint_features = conv_layer(config)(*sizes, hidden_act="relu")
        self.norm = ScaleNorm(cells)
        self.embedding = nn.Linear(cells, config.hidden_size // 2, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.embedding(self.norm(self.keypoint_features(features).flatten(2)))


class RTMWHead(nn.Module):
    """From feature maps (B, C, h, w) at strides 16 and 32 to SimCC outputs (B, K, bins).

    The coarse map, with its channels shuffled into pixels, joins the fine one.

    Args:
        channels: of the coarse map; the fine one has half of them.
    """

    def __init__(self, config: RTMWConfig, channels: int, num_bins: Mapping[str, int]) -> None:
        super().__init__()
        cells = prod(feature_map_size(config.image_size))
        self.shuffle = nn.PixelShuffle(2)
        quarter, kernel = channels // 4, config.final_kernel_size
        self.shuffled_conv = conv_layer(config)(quarter, quarter, kernel, hidden_act="relu")
        self.coarse_tokens = KeypointTokens(config, channels, cells)
        self.fine_tokens = KeypointTokens(config, channels // 2 + channels // 4, 4 * cells)
        self.attention = GatedAttentionUnit(config, config.hidden_size)
        self.classifiers = nn.ModuleDict(
            {axis: nn.Linear(config.hidden_size, count, bias=False) for axis, count in num_bins.items()}
        )

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        joined = torch.cat((self.shuffled_conv(self.shuffle(coarse)), fine), dim=1)
        tokens = torch.cat((self.coarse_tokens(coarse), self.fine_tokens(joined)), dim=-1)
        tokens = self.attention(tokens)
        return tuple(classifier(tokens) for classifier in self.classifiers.values())


class RTMWForPoseEstimation(RTMPoseForPoseEstimation):
    """RTMW with its two-scale head; called as [`RTMPoseForPoseEstimation`], and its outputs are the same."""

    config: RTMWConfig
    base_model_prefix = "rtmw"
    conv_std = None
    _no_split_modules = ["PathAggregationNeck", "RTMWHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.neck = PathAggregationNeck(self.config, channels, CSPNeXtBlock)
        self.head = RTMWHead(self.config, channels[-1], self.num_bins())

    def num_bins(self) -> dict[str, int]:
        """Number of bins of each axis, by its name."""
        height, width = self.config.image_size
        ratio = self.config.simcc_split_ratio
        return {"x": int(width * ratio), "y": int(height * ratio)}

    def axis_responses(self, feature_maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.head(*self.neck(feature_maps)[-2:])
