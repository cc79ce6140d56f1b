"""Convolutional pose machines: stages of large convolutions, each of which sees what the one before believed.

Source: Wei et al., 2016, https://arxiv.org/abs/1602.00134; `mmpose.models.backbones.CPM`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, batch_norm_eps
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.staged_backbone import StagedBackbone

IMAGE_CHANNELS = 128  # of the three convolutions that see the image, each followed by a pooling
FIRST_STAGE_CHANNELS = (32, 512, 512)
FIRST_STAGE_KERNEL_SIZES = (5, 9, 1)
STAGE_KERNEL_SIZE = 11


@strict
class CPMBackboneConfig(StagedBackboneConfig):
    """Configuration of [`CPMBackbone`].

    Args:
        num_belief_stages: number of stages; each gives a feature map, `stage1`, `stage2` and so on.
        belief_channels: channels of the feature maps; where there is no head, the number of keypoints.
        feature_channels: channels inside a stage.
        image_feature_channels: channels of what the stages from the second on see of the image.
    """

    model_type = "cpm_backbone"

    num_belief_stages: int = 6
    belief_channels: int = 17
    feature_channels: int = 128
    image_feature_channels: int = 32

    @property
    def num_stages(self) -> int:
        return self.num_belief_stages


def _image_layers(config: CPMBackboneConfig) -> nn.Sequential:
    """From `pixel_values` to features at stride 8."""
    conv = conv_layer(config)
    layers: list[nn.Module] = []
    for channels in (config.num_channels, IMAGE_CHANNELS, IMAGE_CHANNELS):
        layers += [conv(channels, IMAGE_CHANNELS, 9), nn.MaxPool2d(3, 2, padding=1)]
    return nn.Sequential(*layers)


class CPMFirstStage(GradientCheckpointingLayer):
    """From `pixel_values` to beliefs."""

    def __init__(self, config: CPMBackboneConfig) -> None:
        super().__init__()
        self.image_layers = _image_layers(config)
        sizes = zip(
            (IMAGE_CHANNELS, *FIRST_STAGE_CHANNELS[:-1]), FIRST_STAGE_CHANNELS, FIRST_STAGE_KERNEL_SIZES, strict=True
        )
        self.layers = nn.Sequential(*(conv_layer(config)(*size) for size in sizes))
        self.beliefs = nn.Conv2d(FIRST_STAGE_CHANNELS[-1], config.belief_channels, 1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        return self.beliefs(self.layers(self.image_layers(pixel_values)))


class CPMStage(GradientCheckpointingLayer):
    """From beliefs (B, K, h, w) and features of the image (B, C, h, w) to better beliefs."""

    def __init__(self, config: CPMBackboneConfig) -> None:
        super().__init__()
        conv, features = conv_layer(config), config.feature_channels
        self.image_features = conv(IMAGE_CHANNELS, config.image_feature_channels, 5)
        sizes = [config.image_feature_channels + config.belief_channels, features, features, features]
        self.layers = nn.Sequential(
            *(conv(before, features, STAGE_KERNEL_SIZE) for before in sizes[:-1]),
            conv(features, features, 1),
        )
        self.beliefs = nn.Conv2d(features, config.belief_channels, 1)

    def forward(self, beliefs: Tensor, image_features: Tensor) -> Tensor:
        return self.beliefs(self.layers(torch.cat((beliefs, self.image_features(image_features)), 1)))


class CPMBackbone(StagedBackbone):
    """Convolutional pose machines; feature maps at stride 8, of the image (stem) and of each stage."""

    config: CPMBackboneConfig
    conv_std = 0.001
    _no_split_modules = ["CPMFirstStage", "CPMStage"]

    def __init__(self, config: CPMBackboneConfig) -> None:
        super().__init__(config)
        self.stem = _image_layers(config)
        later = (CPMStage(config) for _ in range(config.num_belief_stages - 1))
        self.stages = nn.ModuleList([CPMFirstStage(config), *later])
        self.num_features = [IMAGE_CHANNELS, *[config.belief_channels] * config.num_belief_stages]
        self.post_init()

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        first, *later = self.stages
        image_features = self.stem(pixel_values)
        outputs = [image_features, first(pixel_values)]
        for stage in later:
            outputs.append(stage(outputs[-1], image_features))
        return outputs


def _stage(match: Any) -> str:
    return f"stages.{int(match[1]) + 1}"


RENAMES: RenameRules = (
    (r"\.bn\.", ".norm."),
    (r"^stem\.([024])\.", r"stages.0.image_layers.\1."),
    (r"^stem\.9\.conv\.", "stages.0.beliefs."),
    (r"^stem\.(\d)\.", lambda match: f"stages.0.layers.{int(match[1]) - 6}."),
    (r"^middle\.", "stem."),
    (r"^middle_conv\.(\d+)\.0\.", lambda match: f"{_stage(match)}.image_features."),
    (r"^cpm_stages\.(\d+)\.model\.", lambda match: f"{_stage(match)}.layers."),
    (r"^out_convs\.(\d+)\.0\.", lambda match: f"{_stage(match)}.layers.3."),
    (r"^out_convs\.(\d+)\.1\.conv\.", lambda match: f"{_stage(match)}.beliefs."),
)


def config_from_reference(backbone: Mapping[str, Any]) -> CPMBackboneConfig:
    """Configuration for the reference's `CPM` settings."""
    count = backbone.get("num_stages", 6)
    outputs: dict[str, Any] = {"out_indices": list(range(1, count + 1))}
    return CPMBackboneConfig(
        num_channels=backbone["in_channels"],
        num_belief_stages=count,
        belief_channels=backbone["out_channels"],
        feature_channels=backbone.get("feat_channels", 128),
        image_feature_channels=backbone.get("middle_channels", 32),
        batch_norm_eps=batch_norm_eps(backbone),
        **outputs,
    )
