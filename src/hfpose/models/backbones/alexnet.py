"""AlexNet (Krizhevsky et al., 2012, "ImageNet Classification with Deep Convolutional Neural Networks").

Source: `mmpose.models.backbones.AlexNet`.
"""

from collections.abc import Mapping
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import nn

from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, expect_settings
from hfpose.models.shared.convolution import activation_layer
from hfpose.models.shared.staged_backbone import CheckpointedSequential, StagedBackbone

KERNEL_SIZES = (11, 5, 3, 3, 3)
POOLED = (0, 1, 4)  # convolutions after which the resolution is halved
# Our stages with the convolutions in them, the stem first.
STAGES = ((0,), (1,), (2, 3, 4))


@strict
class AlexNetBackboneConfig(StagedBackboneConfig):
    """Configuration of [`AlexNetBackbone`].

    Args:
        hidden_sizes: channels of its five convolutions.
    """

    model_type = "alexnet_backbone"
    num_stages = len(STAGES) - 1

    hidden_sizes: Numbers = (64, 192, 384, 256, 256)


class AlexNetBackbone(StagedBackbone):
    """AlexNet; feature maps at strides of about 8 (stem), 16 and 32."""

    config: AlexNetBackboneConfig
    _no_split_modules = ["CheckpointedSequential"]

    def __init__(self, config: AlexNetBackboneConfig) -> None:
        super().__init__(config)
        channels = [config.num_channels, *config.hidden_sizes]
        self.num_features = [channels[stage[-1] + 1] for stage in STAGES]
        parts = []
        for stage in STAGES:
            layers = nn.ModuleList()
            for index in stage:
                kernel = KERNEL_SIZES[index]
                # The first convolution leaves out a border, as the reference's does.
                stride, padding = (4, 2) if index == 0 else (1, kernel // 2)
                layers.append(nn.Conv2d(channels[index], channels[index + 1], kernel, stride, padding))
                layers.append(activation_layer(config.hidden_act))
                if index in POOLED:
                    layers.append(nn.MaxPool2d(3, 2))
            parts.append(CheckpointedSequential(*layers))
        self.stem, *stages = parts
        self.stages = nn.ModuleList(stages)
        self.post_init()


RENAMES: RenameRules = (
    (r"^features\.0\.", "stem.0."),
    (r"^features\.3\.", "stages.0.0."),
    (r"^features\.(6|8|10)\.", lambda match: f"stages.1.{int(match[1]) - 6}."),
)


def config_from_reference(backbone: Mapping[str, Any]) -> AlexNetBackboneConfig:
    """Configuration for the reference's `AlexNet` settings."""
    expect_settings("AlexNet", backbone, {"num_classes": -1})
    return AlexNetBackboneConfig()
