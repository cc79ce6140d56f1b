"""CSPNeXt, the backbone of RTMDet and RTMPose.

Source: RTMDet (Lyu et al., 2022, https://arxiv.org/abs/2212.07784); `mmdet.models.backbones.CSPNeXt` and
`mmpose.models.backbones.CSPNeXt`.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import nn

from hfpose.errors import ConfigError
from hfpose.models.shared.conversion import expect_settings
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.csp import (
    CSP_RENAMES,
    POOL_SIZES,
    STEM_CHANNELS,
    CSPBackbone,
    CSPBackboneConfig,
    CSPBlock,
    csp_arguments,
)

# Blocks of the stages before the multiplier of a size is applied, by `arch`.
STAGE_DEPTHS = {"P5": (3, 6, 6, 3), "P6": (3, 6, 6, 3, 3)}
BLOCK_KERNEL_SIZE = 5


@strict
class CSPNeXtBackboneConfig(CSPBackboneConfig):
    """Configuration of [`CSPNeXtBackbone`]. The defaults are those of CSPNeXt-m; see [`CSPBackboneConfig`].

    Args:
        use_channel_attention: whether CSP layers scale their channels.
    """

    model_type = "cspnext_backbone"

    depth_multiplier: float | int = 0.67
    width_multiplier: float | int = 0.75
    use_channel_attention: bool = True


class CSPNeXtBlock(CSPBlock):
    """A 3x3 convolution and a depthwise 5x5 one."""

    def __init__(self, config: Any, channels: int, add_identity: bool) -> None:
        conv1, conv2 = conv_layer(config, config.use_depthwise), conv_layer(config, use_depthwise=True)
        super().__init__(conv1(channels, channels, 3), conv2(channels, channels, BLOCK_KERNEL_SIZE), add_identity)


class CSPNeXtBackbone(CSPBackbone):
    """CSPNeXt; feature maps at strides 2 (stem), 4, 8, 16, 32, and for P6 64."""

    config: CSPNeXtBackboneConfig

    def __init__(self, config: CSPNeXtBackboneConfig) -> None:
        conv = conv_layer(config)
        width = int(STEM_CHANNELS * config.width_multiplier)
        half = int(STEM_CHANNELS * config.width_multiplier // 2)
        stem = nn.Sequential(
            conv(config.num_channels, half, 3, stride=2),
            conv(half, half, 3),
            conv(half, width, 3),
        )
        super().__init__(config, stem, STAGE_DEPTHS[config.arch], CSPNeXtBlock, config.use_channel_attention)


RENAMES = CSP_RENAMES


def config_from_reference(backbone: Mapping[str, Any]) -> CSPNeXtBackboneConfig:
    """Configuration for the reference's `CSPNeXt` settings."""
    expect_settings("CSPNeXt", backbone, {"arch_ovewrite": None, "spp_kernel_sizes": POOL_SIZES})
    if backbone.get("arch", "P5") not in STAGE_DEPTHS:
        raise ConfigError(
            f"CSPNeXt with arch={backbone['arch']!r} is not supported, only {' and '.join(STAGE_DEPTHS)}."
        )
    return CSPNeXtBackboneConfig(
        arch=backbone.get("arch", "P5"),
        expand_ratio=backbone.get("expand_ratio", 0.5),
        use_channel_attention=backbone.get("channel_attention", True),
        **csp_arguments(backbone),
    )
