"""ShuffleNet: grouped 1x1 convolutions, between which channels change their groups.

Source: Zhang et al., 2017, https://arxiv.org/abs/1707.01083; `mmpose.models.backbones.ShuffleNetV1`.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, expect_settings, layer_arguments, out_indices
from hfpose.models.shared.convolution import activation_layer, channel_shuffle, conv_layer, scaled_channels, stacked
from hfpose.models.shared.staged_backbone import StagedBackbone

STEM_CHANNELS = 24
REDUCTION = 4
# Channels of the first stage by the number of groups; each stage doubles them.
BASE_CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}


@strict
class ShuffleNetV1BackboneConfig(StagedBackboneConfig):
    """Configuration of [`ShuffleNetV1Backbone`].

    Args:
        groups: of the 1x1 convolutions.
        width_multiplier: factor on the channels.
        depths: blocks of each stage.
    """

    model_type = "shufflenet_v1_backbone"

    groups: int = 3
    width_multiplier: float | int = 1.0
    depths: Numbers = (4, 8, 4)

    def __post_init__(self, **kwargs: Any) -> None:
        if self.groups not in BASE_CHANNELS:
            raise ConfigError(
                f"A ShuffleNet of {self.groups} groups is not supported, only of {', '.join(map(str, BASE_CHANNELS))}."
            )
        super().__post_init__(**kwargs)


class ShuffleNetV1Block(GradientCheckpointingLayer):
    """Residual block. The first one of a stage halves the resolution, and its input goes beside its result.

    Args:
        groups_input: whether the first convolution of a first block has groups, as those of all others.
    """

    def __init__(
        self,
        config: ShuffleNetV1BackboneConfig,
        in_channels: int,
        out_channels: int,
        stride: int,
        groups_input: bool,
    ) -> None:
        super().__init__()
        conv, hidden, is_first = conv_layer(config), out_channels // REDUCTION, stride > 1
        self.groups, self.is_first = config.groups, is_first
        in_groups = config.groups if groups_input or not is_first else 1
        new_channels = out_channels - in_channels if is_first else out_channels
        self.reduce = conv(in_channels, hidden, 1, groups=in_groups)
        self.depthwise = conv(hidden, hidden, 3, stride, groups=hidden, hidden_act=None)
        self.expand = conv(hidden, new_channels, 1, groups=config.groups, hidden_act=None)
        self.pooling = nn.AvgPool2d(3, 2, padding=1) if is_first else nn.Identity()
        self.activation = activation_layer(config.hidden_act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        out = self.depthwise(self.reduce(hidden_state))
        out = self.expand(channel_shuffle(out, self.groups))
        if self.is_first:
            return torch.cat((self.pooling(hidden_state), self.activation(out)), 1)
        return self.activation(hidden_state + out)


class ShuffleNetV1Backbone(StagedBackbone):
    """ShuffleNet; feature maps at strides 4 (stem), 8, 16 and 32."""

    config: ShuffleNetV1BackboneConfig
    _no_split_modules = ["ShuffleNetV1Block"]

    def __init__(self, config: ShuffleNetV1BackboneConfig) -> None:
        super().__init__(config)
        channels = int(STEM_CHANNELS * config.width_multiplier)
        conv = conv_layer(config)(config.num_channels, channels, 3, 2)
        self.stem = nn.Sequential(conv, nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList()
        self.num_features = [channels]
        for stage, depth in enumerate(config.depths):
            width = scaled_channels(BASE_CHANNELS[config.groups] * 2**stage, config.width_multiplier)
            block = partial(ShuffleNetV1Block, config, groups_input=stage > 0)
            self.stages.append(stacked(block, self.num_features[-1], width, depth, stride=2))
            self.num_features.append(width)
        self.post_init()


RENAMES: RenameRules = (
    (r"^conv1\.", "stem.0."),
    (r"^layers\.", "stages."),
    (r"\.g_conv_1x1_compress\.", ".reduce."),
    (r"\.depthwise_conv3x3_bn\.", ".depthwise."),
    (r"\.g_conv_1x1_expand\.", ".expand."),
    (r"\.bn\.", ".norm."),
)


def config_from_reference(backbone: Mapping[str, Any]) -> ShuffleNetV1BackboneConfig:
    """Configuration for the reference's `ShuffleNetV1` settings."""
    expect_settings("ShuffleNetV1", backbone, {"conv_cfg": None})
    return ShuffleNetV1BackboneConfig(
        groups=backbone.get("groups", 3),
        width_multiplier=backbone.get("widen_factor", 1.0),
        **layer_arguments(backbone, "ReLU", 1e-5),
        **out_indices(backbone, (2,)),
    )
