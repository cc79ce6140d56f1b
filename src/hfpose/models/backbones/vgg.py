"""VGG: 3x3 convolutions, and a maximum after each stage.

Source: Simonyan and Zisserman, 2014, https://arxiv.org/abs/1409.1556; `mmpose.models.backbones.VGG`.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import activation_name, batch_norm_eps, expect_settings, out_indices
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.staged_backbone import CheckpointedSequential, StagedBackbone

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@strict
class VGGBackboneConfig(StagedBackboneConfig):
    """
    Configuration of [`VGGBackbone`]. The defaults are those of VGG-16 with batch normalization. The stem does nothing.

    Args:
        depths: convolutions of each stage.
        hidden_sizes: channels of each stage.
        has_norms: whether a batch normalization follows each convolution.
        last_pooling: whether the last stage halves the resolution too.
    """

    model_type = "vgg_backbone"

    depths: Numbers = (2, 2, 3, 3, 3)
    hidden_sizes: Numbers = (64, 128, 256, 512, 512)
    has_norms: bool = True
    last_pooling: bool = True


class VGGBackbone(StagedBackbone):
    """VGG; feature maps at strides 1 (the input), 2, 4, 8, 16 and 32."""

    config: VGGBackboneConfig
    _no_split_modules = ["CheckpointedSequential"]

    def __init__(self, config: VGGBackboneConfig) -> None:
        super().__init__(config)
        self.num_features = [config.num_channels, *config.hidden_sizes]
        self.stem = nn.Identity()
        self.stages = nn.ModuleList()
        for index, (sizes, depth) in enumerate(zip(pairwise(self.num_features), config.depths, strict=True)):
            channels = [sizes[0], *[sizes[1]] * depth]
            layers: list[nn.Module] = [self._convolution(*pair) for pair in pairwise(channels)]
            if index < config.num_stages - 1 or config.last_pooling:
                layers.append(nn.MaxPool2d(2, 2))
            self.stages.append(CheckpointedSequential(*layers))
        self.post_init()

    def _convolution(self, in_channels: int, out_channels: int) -> nn.Module:
        layer = conv_layer(self.config)(in_channels, out_channels, 3, bias=True)
        if not self.config.has_norms:
            layer.norm = nn.Identity()
        return layer


def convert_state_dict(state_dict: Mapping[str, Tensor], config: VGGBackboneConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names. It counts convolutions and poolings of all stages in one row."""
    places = [f"stages.{stage}.{layer}" for stage, depth in enumerate(config.depths) for layer in range(depth + 1)]

    def rename(name: str) -> str:
        match = re.match(r"features\.(\d+)\.(conv|bn)\.", name)
        if match is None or int(match[1]) >= len(places):
            return name
        return f"{places[int(match[1])]}.{'norm' if match[2] == 'bn' else 'conv'}.{name[match.end() :]}"

    return {rename(name): tensor for name, tensor in state_dict.items()}


def config_from_reference(backbone: Mapping[str, Any]) -> VGGBackboneConfig:
    """Configuration for the reference's `VGG` settings."""
    if backbone["depth"] not in DEPTHS:
        raise ConfigError(f"A VGG of depth {backbone['depth']} is not supported, only {', '.join(map(str, DEPTHS))}.")
    depths = DEPTHS[backbone["depth"]][: backbone.get("num_stages", 5)]
    expect_settings(
        "VGG",
        backbone,
        {"num_classes": -1, "dilations": (1,) * len(depths), "conv_cfg": None, "ceil_mode": False},
    )
    return VGGBackboneConfig(
        depths=depths,
        hidden_sizes=VGGBackboneConfig.hidden_sizes[: len(depths)],
        has_norms=backbone.get("norm_cfg") is not None,
        batch_norm_eps=batch_norm_eps(backbone),
        hidden_act=activation_name(backbone.get("act_cfg", {"type": "ReLU"})),
        last_pooling=backbone.get("with_last_pool", True),
        **out_indices(backbone, (4,)),
    )
