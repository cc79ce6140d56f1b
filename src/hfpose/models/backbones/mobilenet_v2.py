"""MobileNetV2: inverted residuals.

Source: Sandler et al., 2018, https://arxiv.org/abs/1801.04381; `mmpose.models.backbones.MobileNetV2` and
`mmdet.models.backbones.MobileNetV2`.
"""

import re
from collections.abc import Mapping
from functools import partial
from itertools import accumulate, pairwise
from operator import mul
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import StagedBackboneConfig
from hfpose.models.shared.conversion import (
    CONVOLUTION_RENAMES,
    RenameRules,
    expect_settings,
    layer_arguments,
    out_indices,
)
from hfpose.models.shared.convolution import ConvNormAct, SqueezeExcitation, scaled_channels, stacked
from hfpose.models.shared.staged_backbone import CheckpointedSequential, StagedBackbone

STEM_CHANNELS = 32
STEM_STRIDE = 2
LAST_CHANNELS = 1280
# Expansion of the channels in a block, channels, number of blocks, stride of the first one.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


@strict
class MobileNetV2BackboneConfig(StagedBackboneConfig):
    """Configuration of [`MobileNetV2Backbone`]. The last stage is its last convolution.

    Args:
        width_multiplier: factor on the channels.
    """

    model_type = "mobilenet_v2_backbone"
    num_stages = len(STAGES) + 1

    hidden_act: str = "relu6"
    width_multiplier: float | int = 1.0


def stage_channels(width_multiplier: float) -> list[int]:
    """Channels of the stages, of which the last is the last convolution."""
    last = int(LAST_CHANNELS * max(width_multiplier, 1.0))
    return [*(scaled_channels(channels, width_multiplier) for _, channels, _, _ in STAGES), last]


def stage_strides() -> list[int]:
    """Strides in pixels of the feature maps of the stages, of which the last is the last convolution."""
    strides = list(accumulate((stride for *_, stride in STAGES), mul, initial=STEM_STRIDE))[1:]
    return [*strides, strides[-1]]


class InvertedResidual(GradientCheckpointingLayer):
    """Expands the channels, convolves them in groups, projects them back; with a residual connection where shapes
    allow.

    Args:
        hidden_channels: between, by default `expansion` times `in_channels`; nothing expands them where they are as
            many.
        kernel_size, stride, groups: of the convolution between, by default of each channel alone.
        attention: of the hidden channels, None for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int,
        *,
        expansion: int = 1,
        hidden_channels: int | None = None,
        kernel_size: int = 3,
        groups: int | None = None,
        attention: SqueezeExcitation | None = None,
        hidden_act: str,
        norm_eps: float,
    ) -> None:
        super().__init__()
        act: dict[str, Any] = {"hidden_act": hidden_act, "norm_eps": norm_eps}
        hidden = hidden_channels or in_channels * expansion
        self.has_residual = stride == 1 and in_channels == out_channels
        self.expand = ConvNormAct(in_channels, hidden, 1, **act) if hidden != in_channels else nn.Identity()
        self.depthwise = ConvNormAct(hidden, hidden, kernel_size, stride, groups or hidden, **act)
        self.attention = attention or nn.Identity()
        self.project = ConvNormAct(hidden, out_channels, 1, hidden_act=None, norm_eps=norm_eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        out = self.project(self.attention(self.depthwise(self.expand(hidden_state))))
        return out + hidden_state if self.has_residual else out


class MobileNetV2Backbone(StagedBackbone):
    """MobileNetV2; feature maps at strides 2 (stem), 2, 4, 8, 16, 16, 32, 32 and 32."""

    config: MobileNetV2BackboneConfig
    _no_split_modules = ["InvertedResidual"]

    def __init__(self, config: MobileNetV2BackboneConfig) -> None:
        super().__init__(config)
        act: dict[str, Any] = {"hidden_act": config.hidden_act, "norm_eps": config.batch_norm_eps}
        channels = scaled_channels(STEM_CHANNELS, config.width_multiplier)
        self.stem = ConvNormAct(config.num_channels, channels, 3, stride=STEM_STRIDE, **act)
        self.stages = nn.ModuleList()
        *widths, last = stage_channels(config.width_multiplier)
        self.num_features = [channels, *widths, last]
        for pair, (expansion, _, num_blocks, stride) in zip(pairwise([channels, *widths]), STAGES, strict=True):
            block = partial(InvertedResidual, expansion=expansion, **act)
            self.stages.append(stacked(block, *pair, num_blocks, stride))
        self.stages.append(CheckpointedSequential(ConvNormAct(widths[-1], last, 1, **act)))
        self.post_init()


def _numbered_layer(match: re.Match[str]) -> str:
    """The pose library's blocks count their convolutions; those of the first stage expand nothing."""
    stage, block, layer = map(int, match.groups())
    names = ("depthwise", "project") if stage == 1 else ("expand", "depthwise", "project")
    return f"stages.{stage - 1}.{block}.{names[layer]}."


INVERTED_RESIDUAL_RENAMES: RenameRules = (
    *CONVOLUTION_RENAMES,
    (r"\.expand_conv\.", ".expand."),
    (r"\.linear_conv\.", ".project."),
)
RENAMES: RenameRules = (
    (r"^conv1\.", "stem."),
    (r"^conv2\.", "stages.7.0."),
    (r"^layer([1-7])\.(\d+)\.conv\.(\d)\.", _numbered_layer),
    (r"^layer([1-7])\.", lambda match: f"stages.{int(match[1]) - 1}."),
    *INVERTED_RESIDUAL_RENAMES,
)


def config_from_reference(backbone: Mapping[str, Any]) -> MobileNetV2BackboneConfig:
    """Configuration for the reference's `MobileNetV2` settings."""
    expect_settings("MobileNetV2", backbone, {"conv_cfg": None})
    return MobileNetV2BackboneConfig(
        width_multiplier=backbone.get("widen_factor", 1.0),
        **layer_arguments(backbone, "ReLU6", 1e-5),
        **out_indices(backbone, (7,)),
    )
