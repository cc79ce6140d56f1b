"""ShuffleNetV2: blocks that change half of the channels, which are shuffled in between.

Source: Ma et al., 2018, https://arxiv.org/abs/1807.11164; `mmpose.models.backbones.ShuffleNetV2`.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, expect_settings, layer_arguments, out_indices
from hfpose.models.shared.convolution import channel_shuffle, conv_layer, stacked
from hfpose.models.shared.staged_backbone import CheckpointedSequential, StagedBackbone

STEM_CHANNELS = 24
# Channels of the stages by the reference's width multiplier; the last stage is a convolution.
CHANNELS = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}


@strict
class ShuffleNetV2BackboneConfig(StagedBackboneConfig):
    """Configuration of [`ShuffleNetV2Backbone`]. The last stage is its last convolution.

    Args:
        depths: blocks of each stage but the last one.
        hidden_sizes: channels of each stage.
    """

    model_type = "shufflenet_v2_backbone"

    depths: Numbers = (4, 8, 4)
    hidden_sizes: Numbers = (116, 232, 464, 1024)

    @property
    def num_stages(self) -> int:
        return len(self.hidden_sizes)


class ShuffleNetV2Block(GradientCheckpointingLayer):
    """Changes half of the channels; the first block of a stage changes all, and halves the resolution."""

    def __init__(self, config: ShuffleNetV2BackboneConfig, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        conv, half, is_first = conv_layer(config), out_channels // 2, stride > 1
        self.shortcut: nn.Module | None = None
        if is_first:
            self.shortcut = nn.Sequential(
                conv(in_channels, in_channels, 3, stride, in_channels, hidden_act=None),
                conv(in_channels, half, 1),
            )
        self.layers = nn.Sequential(
            conv(in_channels if is_first else half, half, 1),
            conv(half, half, 3, stride, half, hidden_act=None),
            conv(half, half, 1),
        )

    def forward(self, hidden_state: Tensor) -> Tensor:
        if self.shortcut is None:
            kept, changed = hidden_state.chunk(2, 1)
        else:
            kept, changed = self.shortcut(hidden_state), hidden_state
        return channel_shuffle(torch.cat((kept, self.layers(changed)), 1), 2)


class ShuffleNetV2Backbone(StagedBackbone):
    """ShuffleNetV2; feature maps at strides 4 (stem), 8, 16, 32 and 32."""

    config: ShuffleNetV2BackboneConfig
    _no_split_modules = ["ShuffleNetV2Block"]

    def __init__(self, config: ShuffleNetV2BackboneConfig) -> None:
        super().__init__(config)
        conv, channels = conv_layer(config), STEM_CHANNELS
        *widths, last = config.hidden_sizes
        self.stem = nn.Sequential(conv(config.num_channels, channels, 3, 2), nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList()
        for pair, depth in zip(pairwise([channels, *widths]), config.depths, strict=True):
            self.stages.append(stacked(partial(ShuffleNetV2Block, config), *pair, depth, stride=2))
        self.stages.append(CheckpointedSequential(conv(widths[-1], last, 1)))
        self.num_features = [channels, *config.hidden_sizes]
        self.post_init()


RENAMES: RenameRules = (
    (r"^conv1\.", "stem.0."),
    (r"^layers\.(\d+)\.(?=conv\.|bn\.)", r"stages.\1.0."),
    (r"^layers\.", "stages."),
    (r"\.branch1\.", ".shortcut."),
    (r"\.branch2\.", ".layers."),
    (r"\.bn\.", ".norm."),
)


def config_from_reference(backbone: Mapping[str, Any]) -> ShuffleNetV2BackboneConfig:
    """Configuration for the reference's `ShuffleNetV2` settings."""
    expect_settings("ShuffleNetV2", backbone, {"conv_cfg": None})
    width = float(backbone.get("widen_factor", 1.0))
    if width not in CHANNELS:
        raise ConfigError(
            f"A ShuffleNetV2 with widen_factor={width} is not supported, only {', '.join(map(str, CHANNELS))}."
        )
    layers = layer_arguments(backbone, "ReLU", 1e-5)
    return ShuffleNetV2BackboneConfig(hidden_sizes=CHANNELS[width], **layers, **out_indices(backbone, (3,)))
