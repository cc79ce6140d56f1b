"""CSPDarknet, the backbone of YOLOX, YOLOX-Pose and RTMO.

Source: YOLOX (Ge et al., 2021, https://arxiv.org/abs/2107.08430); `mmdet.models.backbones.CSPDarknet` and
`mmpose.models.backbones.CSPDarknet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from hfpose.models.shared.conversion import expect_settings
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.csp import (
    CSP_RENAMES,
    POOL_SIZES,
    STEM_CHANNELS,
    CSPBackbone,
    CSPBackboneConfig,
    CSPBlock,
    PathAggregationNeck,
    csp_arguments,
)

# Blocks of the four stages before the multiplier of a size is applied.
STAGE_DEPTHS = (3, 9, 9, 3)


@strict
class CSPDarknetBackboneConfig(CSPBackboneConfig):
    """Configuration of [`CSPDarknetBackbone`]. The defaults are those of YOLOX-s; see [`CSPBackboneConfig`]."""

    model_type = "csp_darknet_backbone"

    depth_multiplier: float | int = 0.33
    width_multiplier: float | int = 0.5
    hidden_act: str = "swish"
    batch_norm_eps: float = 1e-3


class Focus(nn.Module):
    """Halves the resolution without loss: the four pixels of a 2x2 cell become channels, then a convolution."""

    def __init__(self, config: CSPDarknetBackboneConfig) -> None:
        super().__init__()
        width = int(STEM_CHANNELS * config.width_multiplier)
        self.conv = conv_layer(config)(4 * config.num_channels, width, 3)

    def forward(self, pixel_values: Tensor) -> Tensor:
        # Column by column: the order that the published weights expect.
        cells = [pixel_values[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.conv(torch.cat(cells, dim=1))


class DarknetBlock(CSPBlock):
    """A 1x1 and a 3x3 convolution."""

    def __init__(self, config: Any, channels: int, add_identity: bool) -> None:
        conv1, conv2 = conv_layer(config), conv_layer(config, config.use_depthwise)
        super().__init__(conv1(channels, channels, 1), conv2(channels, channels, 3), add_identity)


class CSPDarknetBackbone(CSPBackbone):
    """CSPDarknet; feature maps at strides 2 (stem), 4, 8, 16 and 32."""

    config: CSPDarknetBackboneConfig

    def __init__(self, config: CSPDarknetBackboneConfig) -> None:
        super().__init__(config, Focus(config), STAGE_DEPTHS, DarknetBlock)


class YOLOXNeck(PathAggregationNeck):
    """The neck of YOLOX and YOLOX-Pose, all of whose outputs have `config.neck_size` channels."""

    def __init__(self, config: Any, channels: Sequence[int]) -> None:
        size, conv = config.neck_size, conv_layer(config)
        super().__init__(config, channels, DarknetBlock, lambda width: conv(width, size, 1))


RENAMES = CSP_RENAMES


def config_from_reference(backbone: Mapping[str, Any]) -> CSPDarknetBackboneConfig:
    """Configuration for the reference's `CSPDarknet` settings."""
    # `spp_kernal_sizes` is spelled like this.
    expect_settings("CSPDarknet", backbone, {"arch": "P5", "arch_ovewrite": None, "spp_kernal_sizes": POOL_SIZES})
    return CSPDarknetBackboneConfig(**csp_arguments(backbone, "Swish"))
