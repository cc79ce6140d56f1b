"""CSPNeXt, the backbone of RTMDet and RTMPose.

Source: RTMDet (Lyu et al., 2022, https://arxiv.org/abs/2212.07784); `mmdet.models.backbones.cspnext` and
`mmpose.models.backbones.cspnext` are the reference modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.conversion import RenameRules, activation_name, batch_norm_eps, expect_settings
from hfpose.models.shared.convolution import ConvNormAct, conv_block

# Width and depth of the four stages before the multipliers of a size are applied.
STAGE_CHANNELS = (128, 256, 512, 1024)
STAGE_DEPTHS = (3, 6, 6, 3)
STEM_CHANNELS = 64
BLOCK_KERNEL_SIZE = 5
POOL_SIZES = (5, 9, 13)


class CSPNeXtBackboneConfig(Protocol):
    """What a configuration must say for a CSPNeXt backbone to be built from it."""

    num_channels: int
    depth_multiplier: float
    width_multiplier: float
    expand_ratio: float
    use_channel_attention: bool
    use_depthwise: bool
    hidden_act: str
    batch_norm_eps: float


def stage_channels(width_multiplier: float) -> list[int]:
    """Channels of the feature maps at strides 4, 8, 16 and 32."""
    return [int(channels * width_multiplier) for channels in STAGE_CHANNELS]


def stage_depths(depth_multiplier: float) -> list[int]:
    """Number of blocks in each of the four stages."""
    return [max(round(depth * depth_multiplier), 1) for depth in STAGE_DEPTHS]


class ChannelAttention(nn.Module):
    """Scales channels by a hard sigmoid of their projected means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, channels, 1)
        self.activation = nn.Hardsigmoid()

    def forward(self, hidden_state: Tensor) -> Tensor:
        return hidden_state * self.activation(self.projection(hidden_state.mean((2, 3), keepdim=True)))


class SpatialPyramidPooling(nn.Module):
    """Concatenates max pools over windows of 5, 9 and 13 pixels."""

    def __init__(self, channels: int, hidden_act: str, norm_eps: float) -> None:
        super().__init__()
        hidden = channels // 2
        self.reduce = ConvNormAct(channels, hidden, 1, hidden_act=hidden_act, norm_eps=norm_eps)
        # A maximum over 9 or 13 pixels is a maximum over 5 taken twice or three times.
        self.pool = nn.MaxPool2d(POOL_SIZES[0], stride=1, padding=POOL_SIZES[0] // 2)
        self.expand = ConvNormAct(
            hidden * (1 + len(POOL_SIZES)), channels, 1, hidden_act=hidden_act, norm_eps=norm_eps
        )

    def forward(self, hidden_state: Tensor) -> Tensor:
        pooled = [self.reduce(hidden_state)]
        for _ in POOL_SIZES:
            pooled.append(self.pool(pooled[-1]))
        return self.expand(torch.cat(pooled, dim=1))


class CSPNeXtBlock(nn.Module):
    """A 3x3 convolution and a depthwise 5x5 one, with an optional residual connection."""

    def __init__(
        self, channels: int, add_identity: bool, use_depthwise: bool, hidden_act: str, norm_eps: float
    ) -> None:
        super().__init__()
        self.add_identity = add_identity
        self.conv1 = conv_block(use_depthwise)(channels, channels, 3, hidden_act=hidden_act, norm_eps=norm_eps)
        self.conv2 = conv_block(True)(channels, channels, BLOCK_KERNEL_SIZE, hidden_act=hidden_act, norm_eps=norm_eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        out = self.conv2(self.conv1(hidden_state))
        return out + hidden_state if self.add_identity else out


class CSPLayer(nn.Module):
    """Cross-stage partial layer: half of the channels through the blocks, half around them."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        *,
        add_identity: bool,
        use_channel_attention: bool,
        expand_ratio: float,
        use_depthwise: bool,
        hidden_act: str,
        norm_eps: float,
    ) -> None:
        super().__init__()
        hidden = int(out_channels * expand_ratio)
        self.main_conv = ConvNormAct(in_channels, hidden, 1, hidden_act=hidden_act, norm_eps=norm_eps)
        self.short_conv = ConvNormAct(in_channels, hidden, 1, hidden_act=hidden_act, norm_eps=norm_eps)
        self.blocks = nn.Sequential(
            *(CSPNeXtBlock(hidden, add_identity, use_depthwise, hidden_act, norm_eps) for _ in range(num_blocks))
        )
        self.attention = ChannelAttention(2 * hidden) if use_channel_attention else nn.Identity()
        self.final_conv = ConvNormAct(2 * hidden, out_channels, 1, hidden_act=hidden_act, norm_eps=norm_eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        main = self.blocks(self.main_conv(hidden_state))
        merged = torch.cat((main, self.short_conv(hidden_state)), dim=1)
        return self.final_conv(self.attention(merged))


class CSPNeXtStage(GradientCheckpointingLayer):
    """Downsampling by two, pyramid pooling in the last stage, a CSP layer."""

    def __init__(
        self, config: CSPNeXtBackboneConfig, in_channels: int, out_channels: int, depth: int, is_last: bool
    ) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        self.downsample = conv_block(config.use_depthwise)(
            in_channels, out_channels, 3, stride=2, hidden_act=act, norm_eps=eps
        )
        self.pooling = SpatialPyramidPooling(out_channels, act, eps) if is_last else nn.Identity()
        self.csp = CSPLayer(
            out_channels,
            out_channels,
            depth,
            add_identity=not is_last,
            use_channel_attention=config.use_channel_attention,
            expand_ratio=config.expand_ratio,
            use_depthwise=config.use_depthwise,
            hidden_act=act,
            norm_eps=eps,
        )

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.csp(self.pooling(self.downsample(hidden_state)))


class CSPNeXtBackbone(nn.Module):
    """Feature maps at strides 4, 8, 16 and 32 of `pixel_values` (B, C, H, W)."""

    def __init__(self, config: CSPNeXtBackboneConfig) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        stem = int(STEM_CHANNELS * config.width_multiplier)
        half = int(STEM_CHANNELS * config.width_multiplier // 2)
        self.stem = nn.Sequential(
            ConvNormAct(config.num_channels, half, 3, stride=2, hidden_act=act, norm_eps=eps),
            ConvNormAct(half, half, 3, hidden_act=act, norm_eps=eps),
            ConvNormAct(half, stem, 3, hidden_act=act, norm_eps=eps),
        )
        channels = [stem, *stage_channels(config.width_multiplier)]
        depths = stage_depths(config.depth_multiplier)
        self.stages = nn.ModuleList(
            CSPNeXtStage(config, channels[i], channels[i + 1], depth, is_last=i == len(depths) - 1)
            for i, depth in enumerate(depths)
        )

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        hidden_state = self.stem(pixel_values)
        feature_maps = []
        for stage in self.stages:
            hidden_state = stage(hidden_state)
            feature_maps.append(hidden_state)
        return feature_maps


# Reference name -> our name, for everything that CSPNeXt networks share.
CSPNEXT_RENAMES: RenameRules = (
    (r"\.bn\.", ".norm."),
    (r"\.depthwise_conv\.", ".depthwise."),
    (r"\.pointwise_conv\.", ".pointwise."),
    (r"\.attention\.fc\.", ".attention.projection."),
    (r"^backbone\.stage([1-4])\.", lambda match: f"backbone.stages.{int(match[1]) - 1}."),
    # The last stage alone has pooling, which moves its CSP layer from place 1 to place 2.
    (r"^(backbone\.stages\.\d)\.0\.", r"\1.downsample."),
    (r"^(backbone\.stages\.[012])\.1\.", r"\1.csp."),
    (r"^(backbone\.stages\.3)\.1\.conv1\.", r"\1.pooling.reduce."),
    (r"^(backbone\.stages\.3)\.1\.conv2\.", r"\1.pooling.expand."),
    (r"^(backbone\.stages\.3)\.2\.", r"\1.csp."),
)


def backbone_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for the reference's `CSPNeXt` settings.

    Raises:
        ConfigError: for a variant of the backbone that is not supported.
    """
    expect_settings("CSPNeXt", backbone, {"arch": "P5", "arch_ovewrite": None, "spp_kernel_sizes": POOL_SIZES})
    return {
        "depth_multiplier": backbone.get("deepen_factor", 1.0),
        "width_multiplier": backbone.get("widen_factor", 1.0),
        "expand_ratio": backbone.get("expand_ratio", 0.5),
        "use_channel_attention": backbone.get("channel_attention", True),
        "use_depthwise": backbone.get("use_depthwise", False),
        "hidden_act": activation_name(backbone.get("act_cfg", {"type": "SiLU"})),
        "batch_norm_eps": batch_norm_eps(backbone.get("norm_cfg", {"type": "BN", "eps": 1e-3})),
    }
