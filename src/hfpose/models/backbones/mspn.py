"""MSPN: networks that halve the resolution and come back, one after the other, with what the one before saw at each
level.

Source: Li et al., 2019, https://arxiv.org/abs/1901.00148; `mmpose.models.backbones.MSPN`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, batch_norm_eps
from hfpose.models.shared.convolution import EXPANSIONS, RESIDUAL_RENAMES, ResidualBlock, conv_layer, stacked
from hfpose.models.shared.staged_backbone import StagedBackbone


@strict
class MSPNBackboneConfig(StagedBackboneConfig):
    """Configuration of [`MSPNBackbone`]. The defaults are those of a single MSPN-50.

    Args:
        num_networks: number of networks, one after the other.
        depths: for each level of a network its residual blocks, from the highest resolution down. Each network gives a
            feature map for each level, from the lowest resolution up: `stage1` is the first network's lowest one.
        stem_channels: channels of the first level; each level doubles them.
        feature_channels: channels of the feature maps.
    """

    model_type = "mspn_backbone"

    num_networks: int = 1
    depths: Numbers = (3, 4, 6, 3)
    stem_channels: int = 64
    feature_channels: int = 256

    @property
    def num_stages(self) -> int:
        return self.num_networks * len(self.depths)


class MSPNUnit(nn.Module):
    """A level on the way up: its feature map on the way down, and that of the level below."""

    def __init__(self, config: MSPNBackboneConfig, in_channels: int, is_first: bool, is_last: bool) -> None:
        super().__init__()
        conv, channels = conv_layer(config), config.feature_channels
        self.lateral = conv(in_channels, channels, 1, hidden_act=None)
        self.up = None if is_first else conv(channels, channels, 1, hidden_act=None)
        self.is_last = is_last
        if not is_last:
            self.skip_down = conv(in_channels, in_channels, 1)
            self.skip_up = conv(channels, in_channels, 1)

    def forward(self, hidden_state: Tensor, below: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The feature map (B, C, h, w), and what the next network adds at this level, of the shape of `hidden_state`
        (B, C, h, w)."""
        features = self.lateral(hidden_state)
        if self.up is not None and below is not None:
            size = hidden_state.shape[2:]
            features = features + self.up(F.interpolate(below, size=size, mode="bilinear", align_corners=True))
        features = features.relu()
        return features, None if self.is_last else self.skip_down(hidden_state) + self.skip_up(features)


class MSPNNetwork(GradientCheckpointingLayer):
    """Down and up again."""

    expansion = EXPANSIONS["bottleneck"]  # output channels of a block relative to those inside

    def __init__(self, config: MSPNBackboneConfig, is_last: bool) -> None:
        super().__init__()
        self.down, self.units = nn.ModuleList(), nn.ModuleList()
        widths = [self.expansion * config.stem_channels * 2**level for level in range(len(config.depths))]
        for level, (pair, depth) in enumerate(
            zip(pairwise([config.stem_channels, *widths]), config.depths, strict=True)
        ):
            self.down.append(stacked(partial(self.make_block, config), *pair, depth, stride=2 if level else 1))
        for index, width in enumerate(reversed(widths)):
            self.units.append(MSPNUnit(config, width, is_first=index == 0, is_last=is_last))
        self.cross: nn.Module | None = None
        if not is_last:
            self.cross = conv_layer(config)(config.feature_channels, config.stem_channels, 1)

    def make_block(self, config: Any, in_channels: int, out_channels: int, stride: int) -> nn.Module:
        """A residual block."""
        channels = out_channels // self.expansion
        return ResidualBlock(in_channels, channels, "bottleneck", stride, norm_eps=config.batch_norm_eps)

    def forward(
        self, hidden_state: Tensor, skips: Sequence[Tensor | None]
    ) -> tuple[list[Tensor], Tensor, list[Tensor | None]]:
        """
        Args:
            hidden_state: (B, C, h, w) at the highest resolution.
            skips: what the network before adds at each level, from the highest resolution down; empty for the first
                one.

        Returns:
            Feature maps from the lowest resolution up, the input of the next network, and its skips.
        """
        levels = []
        for index, blocks in enumerate(self.down):
            hidden_state = blocks(hidden_state)
            skip = skips[index] if skips else None
            hidden_state = hidden_state if skip is None else hidden_state + skip
            levels.append(hidden_state)
        features: list[Tensor] = []
        next_skips = []
        for unit, level in zip(self.units, reversed(levels), strict=True):
            feature, skip = unit(level, features[-1] if features else None)
            features.append(feature)
            next_skips.append(skip)
        next_state = features[-1] if self.cross is None else self.cross(features[-1])
        return features, next_state, next_skips[::-1]


class MSPNBackbone(StagedBackbone):
    """MSPN; feature maps after the stem and of each level of each network, see `depths`."""

    config: MSPNBackboneConfig
    network_class: type[MSPNNetwork] = MSPNNetwork
    _no_split_modules = ["MSPNNetwork"]

    def __init__(self, config: MSPNBackboneConfig) -> None:
        super().__init__(config)
        conv, count = conv_layer(config), config.num_networks
        self.stem = nn.Sequential(conv(config.num_channels, config.stem_channels, 7, 2), nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList(self.network_class(config, is_last=index == count - 1) for index in range(count))
        self.num_features = [config.stem_channels, *[config.feature_channels] * config.num_stages]
        self.post_init()

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        hidden_state = self.stem(pixel_values)
        outputs = [hidden_state]
        skips: list[Tensor | None] = []
        for network in self.stages:
            features, hidden_state, skips = network(hidden_state, skips)
            outputs += features
        return outputs


RENAMES: RenameRules = (
    (r"^top\.top\.", "stem."),
    (r"^multi_stage_(?:mspn|rsn)\.(\d+)\.", r"stages.\1."),
    (r"\.downsample\.layer(\d+)\.", lambda match: f".down.{int(match[1]) - 1}."),
    (r"\.upsample\.up\d+\.cross_conv\.", ".cross."),
    (r"\.upsample\.up(\d+)\.", lambda match: f".units.{int(match[1]) - 1}."),
    (r"\.in_skip\.", ".lateral."),
    (r"\.up_conv\.", ".up."),
    (r"\.out_skip1\.", ".skip_down."),
    (r"\.out_skip2\.", ".skip_up."),
    *RESIDUAL_RENAMES,
)


def config_from_reference(backbone: Mapping[str, Any]) -> MSPNBackboneConfig:
    """Configuration for the reference's `MSPN` settings."""
    return MSPNBackboneConfig(**network_arguments(backbone))


def network_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for what the reference's settings of `MSPN` and `RSN` have in common."""
    depths = list(backbone.get("num_blocks", (2, 2, 2, 2)))
    count = backbone.get("num_stages", 4)
    return {
        "num_networks": count,
        "depths": depths,
        "stem_channels": backbone.get("res_top_channels", 64),
        "feature_channels": backbone.get("unit_channels", 256),
        "out_indices": list(range(1, count * len(depths) + 1)),
        "batch_norm_eps": batch_norm_eps(backbone),
    }
