"""CSPNeXt, the backbone of RTMDet and RTMPose.

Source: RTMDet (Lyu et al., 2022, https://arxiv.org/abs/2212.07784); `mmdet.models.backbones.cspnext` and
`mmpose.models.backbones.cspnext` are the reference modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, nn

from hfpose.models.shared.conversion import expect_settings
from hfpose.models.shared.convolution import ConvNormAct, conv_block
from hfpose.models.shared.csp import POOL_SIZES, STEM_CHANNELS, CSPBackbone, CSPConfig, csp_arguments

# Blocks of the four stages before the multiplier of a size is applied.
STAGE_DEPTHS = (3, 6, 6, 3)
BLOCK_KERNEL_SIZE = 5


class CSPNeXtBackboneConfig(CSPConfig, Protocol):
    """What a configuration must say for a CSPNeXt backbone to be built from it."""

    use_channel_attention: bool


class CSPNeXtBlock(nn.Module):
    """A 3x3 convolution and a depthwise 5x5 one, with an optional residual connection."""

    def __init__(self, config: CSPConfig, channels: int, add_identity: bool) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        self.add_identity = add_identity
        self.conv1 = conv_block(config.use_depthwise)(channels, channels, 3, hidden_act=act, norm_eps=eps)
        self.conv2 = conv_block(True)(channels, channels, BLOCK_KERNEL_SIZE, hidden_act=act, norm_eps=eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        out = self.conv2(self.conv1(hidden_state))
        return out + hidden_state if self.add_identity else out


class CSPNeXtBackbone(CSPBackbone):
    """Feature maps at strides 4, 8, 16 and 32 of `pixel_values` (B, C, H, W)."""

    def __init__(self, config: CSPNeXtBackboneConfig) -> None:
        act, eps = config.hidden_act, config.batch_norm_eps
        width = int(STEM_CHANNELS * config.width_multiplier)
        half = int(STEM_CHANNELS * config.width_multiplier // 2)
        stem = nn.Sequential(
            ConvNormAct(config.num_channels, half, 3, stride=2, hidden_act=act, norm_eps=eps),
            ConvNormAct(half, half, 3, hidden_act=act, norm_eps=eps),
            ConvNormAct(half, width, 3, hidden_act=act, norm_eps=eps),
        )
        super().__init__(config, stem, STAGE_DEPTHS, CSPNeXtBlock, config.use_channel_attention)


def backbone_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for the reference's `CSPNeXt` settings.

    Raises:
        ConfigError: for a variant of the backbone that is not supported.
    """
    expect_settings("CSPNeXt", backbone, {"arch": "P5", "arch_ovewrite": None, "spp_kernel_sizes": POOL_SIZES})
    return {
        "expand_ratio": backbone.get("expand_ratio", 0.5),
        "use_channel_attention": backbone.get("channel_attention", True),
        **csp_arguments(backbone),
    }
