"""ResNet and its descendants: residual blocks in four stages.

Sources: ResNet (He et al., 2015, https://arxiv.org/abs/1512.03385), its variant D (He et al., 2018,
https://arxiv.org/abs/1812.01187), ResNeXt (Xie et al., 2016, https://arxiv.org/abs/1611.05431), SE-ResNet (Hu et al.,
2017, https://arxiv.org/abs/1709.01507), ResNeSt (Zhang et al., 2020, https://arxiv.org/abs/2004.08955), SCNet (Liu et
al., 2020, "Improving Convolutional Networks with Self-Calibrated Convolutions"); `mmpose.models.backbones` of the same
names.
"""

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import (
    RenameRules,
    batch_norm_eps,
    expect_settings,
    out_indices,
    rename_state_dict,
)
from hfpose.models.shared.convolution import (
    EXPANSIONS,
    SqueezeExcitation,
    conv_layer,
    make_shortcut,
    named_layer,
    stacked,
)
from hfpose.models.shared.staged_backbone import StagedBackbone

CALIBRATION_POOLING = 4
MIN_ATTENTION_CHANNELS = 32


@strict
class ResNetBackboneConfig(StagedBackboneConfig):
    """Configuration of [`ResNetBackbone`]. The defaults are those of ResNet-50.

    Args:
        deep_stem: whether three 3x3 convolutions take the place of the 7x7 one.
        depths: blocks of each stage.
        strides: of the first block of each stage.
        block_type: `"basic"`, two 3x3 convolutions, or `"bottleneck"`, one between two of size 1.
        base_channels: channels of the 3x3 convolutions of the first stage; each stage doubles them.
        average_shortcut: whether shortcuts average before they convolve, instead of leaving values out.
        groups: of the 3x3 convolutions (ResNeXt).
        group_width: channels of a group in the first stage, where `groups` is not 1.
        squeeze_ratio: by which factor a squeeze-and-excitation layer after each block is narrower; None for none (SE).
        attention_splits: feature maps that each 3x3 convolution makes and weighs against each other; 0 for none
            (ResNeSt).
        attention_reduction: by which factor the layer that computes their weights is narrower.
        self_calibrated: whether half of the channels are scaled by their surroundings (SCNet).
    """

    model_type = "resnet_backbone"

    stem_channels: int = 64
    deep_stem: bool = False
    depths: Numbers = (3, 4, 6, 3)
    strides: Numbers = (1, 2, 2, 2)
    block_type: Literal["basic", "bottleneck"] = "bottleneck"
    base_channels: int = 64
    average_shortcut: bool = False
    groups: int = 1
    group_width: int = 4
    squeeze_ratio: int | None = None
    attention_splits: int = 0
    attention_reduction: int = 4
    self_calibrated: bool = False


class SplitAttentionConv(nn.Module):
    """3x3 convolution to several feature maps, whose sum is weighted by channel, then halved where asked.

    Args:
        stride: by which the result is averaged.
    """

    def __init__(self, config: ResNetBackboneConfig, channels: int, stride: int) -> None:
        super().__init__()
        conv, splits = conv_layer(config), config.attention_splits
        self.splits, self.groups = splits, config.groups
        hidden = max(channels * splits // config.attention_reduction, MIN_ATTENTION_CHANNELS)
        self.conv = conv(channels, channels * splits, 3, groups=config.groups * splits)
        self.reduce = conv(channels, hidden, 1, groups=config.groups, bias=True)
        self.expand = nn.Conv2d(hidden, channels * splits, 1, groups=config.groups)
        self.pooling = nn.AvgPool2d(3, stride, padding=1) if stride > 1 else nn.Identity()

    def forward(self, hidden_state: Tensor) -> Tensor:
        maps = self.conv(hidden_state).unflatten(1, (self.splits, -1))
        logits = self.expand(self.reduce(maps.sum(1).mean((2, 3), keepdim=True)))
        if self.splits == 1:
            weights = logits.sigmoid()[:, None]
        else:
            weights = logits.unflatten(1, (self.groups, self.splits, -1)).transpose(1, 2).softmax(1).flatten(2, 3)
        return self.pooling((maps * weights).sum(1))


class SelfCalibratedConv(nn.Module):
    """3x3 convolutions of two halves; the second one is scaled by what a coarser view of it tells."""

    def __init__(self, config: ResNetBackboneConfig, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        conv = conv_layer(config)
        self.plain = nn.Sequential(conv(in_channels, channels, 1), conv(channels, channels, 3, stride))
        self.reduce = conv(in_channels, channels, 1)
        self.pooling = nn.AvgPool2d(CALIBRATION_POOLING)
        self.calibration = conv(channels, channels, 3, hidden_act=None)
        self.conv = conv(channels, channels, 3, hidden_act=None)
        self.output = conv(channels, channels, 3, stride)

    def forward(self, hidden_state: Tensor) -> Tensor:
        reduced = self.reduce(hidden_state)
        around = F.interpolate(self.calibration(self.pooling(reduced)), reduced.shape[2:])
        calibrated = self.output(self.conv(reduced) * (reduced + around).sigmoid())
        return torch.cat((self.plain(hidden_state), calibrated), 1)


class ResNetBlock(GradientCheckpointingLayer):
    """Convolutions, and a shortcut around them.

    Args:
        out_channels: of its output, `EXPANSIONS` times as many as of its 3x3 convolution.
    """

    def __init__(self, config: ResNetBackboneConfig, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        channels = out_channels // EXPANSIONS[config.block_type]
        make = _basic_layers if config.block_type == "basic" else _bottleneck_layers
        self.layers = nn.Sequential(*make(config, in_channels, channels, stride))
        if config.squeeze_ratio:
            self.layers.append(SqueezeExcitation(out_channels, out_channels // config.squeeze_ratio))
        averages = config.average_shortcut and stride > 1
        self.shortcut_pooling = (
            nn.AvgPool2d(stride, ceil_mode=True, count_include_pad=False) if averages else nn.Identity()
        )
        self.shortcut = make_shortcut(in_channels, out_channels, 1 if averages else stride, config.batch_norm_eps)
        self.activation = ACT2FN[config.hidden_act]

    def forward(self, hidden_state: Tensor) -> Tensor:
        shortcut = self.shortcut(self.shortcut_pooling(hidden_state))
        return self.activation(self.layers(hidden_state) + shortcut)


def _basic_layers(config: ResNetBackboneConfig, in_channels: int, channels: int, stride: int) -> list[nn.Module]:
    conv = conv_layer(config)
    return [conv(in_channels, channels, 3, stride), conv(channels, channels, 3, hidden_act=None)]


def _bottleneck_layers(config: ResNetBackboneConfig, in_channels: int, channels: int, stride: int) -> list[nn.Module]:
    conv = conv_layer(config)
    out_channels = channels * EXPANSIONS["bottleneck"]
    last = conv(channels, out_channels, 1, hidden_act=None)
    if config.self_calibrated:
        return [SelfCalibratedConv(config, in_channels, channels // 2, stride), last]
    if config.groups != 1:
        channels = config.groups * config.group_width * channels // config.base_channels
        last = conv(channels, out_channels, 1, hidden_act=None)
    first = conv(in_channels, channels, 1)
    if config.attention_splits:
        return [first, SplitAttentionConv(config, channels, stride), last]
    return [first, conv(channels, channels, 3, stride, config.groups), last]


class ResNetBackbone(StagedBackbone):
    """ResNet and its descendants; feature maps at stride 4 after the stem, then as `config.strides` has them."""

    config: ResNetBackboneConfig
    _no_split_modules = ["ResNetBlock"]

    def __init__(self, config: ResNetBackboneConfig) -> None:
        super().__init__(config)
        conv, channels = conv_layer(config), config.stem_channels
        stem = [(config.num_channels, channels, 7, 2)]
        if config.deep_stem:
            half = channels // 2
            stem = [(config.num_channels, half, 3, 2), (half, half, 3, 1), (half, channels, 3, 1)]
        convolutions = [conv(*sizes) for sizes in stem]
        self.stem = nn.Sequential(*convolutions, nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList()
        self.num_features = [channels]
        for index, (depth, stride) in enumerate(zip(config.depths, config.strides, strict=True)):
            width = config.base_channels * 2**index * EXPANSIONS[config.block_type]
            self.stages.append(stacked(partial(ResNetBlock, config), self.num_features[-1], width, depth, stride))
            self.num_features.append(width)
        self.post_init()


# Conversion

_DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
    269: (3, 30, 48, 8),
}
_BASIC_DEPTHS = (18, 34)
_KNOWN_DEPTHS = {
    "ResNet": (18, 34, 50, 101, 152),
    "ResNetV1d": (18, 34, 50, 101, 152),
    "SEResNet": (50, 101, 152),
    "ResNeXt": (50, 101, 152),
    "ResNeSt": (50, 101, 152, 200, 269),
    "SCNet": (50, 101),
}


_SCNET_RENAMES: RenameRules = (
    (r"\.(conv|bn)1\.", named_layer(".layers.0.plain.0")),
    (r"\.k1\.([01])\.", named_layer(".layers.0.plain.1")),
    (r"\.(conv|bn)2\.", named_layer(".layers.0.reduce")),
    (r"\.scconv\.k2\.([12])\.", lambda match: f".layers.0.calibration.{('conv', 'norm')[int(match[1]) - 1]}."),
    (r"\.scconv\.k3\.([01])\.", named_layer(".layers.0.conv")),
    (r"\.scconv\.k4\.([01])\.", named_layer(".layers.0.output")),
    (r"\.(conv|bn)3\.", named_layer(".layers.1")),
)
RENAMES: RenameRules = (
    (r"^(conv|bn)1\.", named_layer("stem.0")),
    (r"^layer(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}."),
    (r"\.downsample\.([01])\.", named_layer(".shortcut")),
    # SE-ResNet
    (r"\.se_layer\.conv1\.conv\.", ".layers.3.reduce."),
    (r"\.se_layer\.conv2\.conv\.", ".layers.3.expand."),
    # ResNeSt
    (r"\.conv2\.(conv|bn0)\.", lambda match: f".layers.1.conv.{'norm' if match[1] == 'bn0' else 'conv'}."),
    (r"\.conv2\.(fc|bn)1\.", lambda match: f".layers.1.reduce.{'norm' if match[1] == 'bn' else 'conv'}."),
    (r"\.conv2\.fc2\.", ".layers.1.expand."),
    (r"(?<=\d)\.(conv|bn)([123])\.(?=\w+$)", lambda match: named_layer(f".layers.{int(match[2]) - 1}")(match)),
    (r"\.bn\.", ".norm."),
)
_POOLED_SHORTCUT = re.compile(r"(\.downsample)\.([12])\.")


def convert_state_dict(state_dict: Mapping[str, Tensor], config: ResNetBackboneConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names."""
    pooled = {name.partition(".downsample.2.")[0] for name in state_dict if ".downsample.2." in name}
    named = {
        _POOLED_SHORTCUT.sub(lambda match: f"{match[1]}.{int(match[2]) - 1}.", name)
        if name.partition(".downsample.")[0] in pooled
        else name: tensor
        for name, tensor in state_dict.items()
    }
    scnet = _SCNET_RENAMES if config.self_calibrated else ()
    return rename_state_dict(named, (RENAMES[0], *scnet, *RENAMES[1:]))


def config_from_reference(backbone: Mapping[str, Any]) -> ResNetBackboneConfig:
    """Configuration for the reference's settings of a `ResNet` or one of its descendants."""
    kind, depth = backbone["type"], backbone["depth"]
    if depth not in _KNOWN_DEPTHS[kind]:
        known = ", ".join(map(str, _KNOWN_DEPTHS[kind]))
        raise ConfigError(f"A {kind} of depth {depth} is not supported, only {known}.")
    num_stages = backbone.get("num_stages", 4)
    plain = {"style": "pytorch", "dilations": (1,) * num_stages, "conv_cfg": None, "expansion": None}
    expect_settings(kind, backbone, {**plain, "avg_down_stride": True})
    is_variant_d = kind in ("ResNetV1d", "ResNeSt")
    variant = out_indices(backbone, (num_stages - 1,))
    if kind in ("ResNeXt", "ResNeSt"):
        variant["groups"] = backbone.get("groups", 32 if kind == "ResNeXt" else 1)
        variant["group_width"] = backbone.get("width_per_group", 4)
    if kind == "ResNeSt":
        variant["attention_splits"] = backbone.get("radix", 2)
        variant["attention_reduction"] = backbone.get("reduction_factor", 4)
    if kind == "SEResNet":
        variant["squeeze_ratio"] = backbone.get("se_ratio", 16)
    return ResNetBackboneConfig(
        num_channels=backbone.get("in_channels", 3),
        stem_channels=backbone.get("stem_channels", 64),
        deep_stem=is_variant_d or backbone.get("deep_stem", False),
        depths=_DEPTHS[depth][:num_stages],
        strides=tuple(backbone.get("strides", (1, 2, 2, 2))),
        block_type="basic" if depth in _BASIC_DEPTHS else "bottleneck",
        base_channels=backbone.get("base_channels", 64),
        average_shortcut=is_variant_d or backbone.get("avg_down", False),
        self_calibrated=kind == "SCNet",
        batch_norm_eps=batch_norm_eps(backbone),
        **variant,
    )
