"""Cross-stage partial networks: what CSPDarknet (YOLOX) and CSPNeXt (RTMDet, RTMPose) have in common.

Source: CSPNet (Wang et al., 2019, https://arxiv.org/abs/1911.11929); `mmdet.models.layers.CSPLayer`,
`mmdet.models.backbones.CSPDarknet` and `CSPNeXt`, `mmdet.models.necks.YOLOXPAFPN` and `CSPNeXtPAFPN`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import LabeledConfig, Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import CONVOLUTION_RENAMES, RenameRules, expect_settings, layer_arguments
from hfpose.models.shared.convolution import conv_layer
from hfpose.models.shared.dense_prediction import by_level
from hfpose.models.shared.staged_backbone import StagedBackbone

# Width of the stem and of the stages before the multiplier of a size is applied, by `arch`.
STEM_CHANNELS = 64
STAGE_CHANNELS = {"P5": (128, 256, 512, 1024), "P6": (128, 256, 512, 768, 1024)}
POOL_SIZES = (5, 9, 13)

_SHARED_FIELDS = (
    "num_channels",
    "depth_multiplier",
    "width_multiplier",
    "expand_ratio",
    "use_depthwise",
    "hidden_act",
    "batch_norm_eps",
)


class CSPBackboneConfig(StagedBackboneConfig):
    """Configuration of a [`CSPBackbone`].

    Args:
        arch: `"P5"`, with stages up to stride 32, or `"P6"`, up to stride 64.
        depth_multiplier: factor on the number of blocks of the stages.
        width_multiplier: factor on the channels.
        expand_ratio: share of a CSP layer's channels that goes through its blocks.
        use_depthwise: whether the network is made of depthwise separable convolutions.
    """

    arch: Literal["P5", "P6"] = "P5"
    depth_multiplier: float | int = 1.0
    width_multiplier: float | int = 1.0
    expand_ratio: float = 0.5
    use_depthwise: bool = False
    hidden_act: str = "silu"

    @property
    def num_stages(self) -> int:
        return len(STAGE_CHANNELS[self.arch])


class CSPDetectorConfig(LabeledConfig):
    """Configuration of a detector with a [`CSPBackbone`], a [`PathAggregationNeck`] and a head for each of its levels.

    Args:
        depth_multiplier, width_multiplier, expand_ratio: see [`CSPBackboneConfig`]; `expand_ratio` is the neck's too.
        use_depthwise: whether backbone, neck and head are made of depthwise separable convolutions.
        hidden_act: activation everywhere.
        neck_size: channels of the neck's outputs and of the head.
        num_neck_blocks: blocks in each CSP layer of the neck.
        num_head_layers: convolutions before the predictions.
        strides: strides of the feature levels in pixels; four of them make the backbone a P6, up to stride 64.
    """

    default_num_labels = 80

    num_channels: int = 3
    depth_multiplier: float | int = 1.0
    width_multiplier: float | int = 1.0
    expand_ratio: float = 0.5
    use_depthwise: bool = False
    hidden_act: str = "silu"
    batch_norm_eps: float = 1e-5
    neck_size: int = 256
    num_neck_blocks: int = 3
    num_head_layers: int = 2
    strides: Numbers = (8, 16, 32)


# Makes a block from a configuration, its channels, and whether it has a residual connection.
BlockFactory = Callable[[Any, int, bool], nn.Module]


def stage_channels(width_multiplier: float, arch: str = "P5") -> list[int]:
    """Channels of the feature maps at strides 4, 8, 16, 32, and for P6 64."""
    return [int(channels * width_multiplier) for channels in STAGE_CHANNELS[arch]]


class ChannelAttention(nn.Module):
    """Scales channels by a hard sigmoid of their projected means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, channels, 1)
        self.activation = nn.Hardsigmoid()

    def forward(self, hidden_state: Tensor) -> Tensor:
        return hidden_state * self.activation(self.projection(hidden_state.mean((2, 3), keepdim=True)))


class SpatialPyramidPooling(nn.Module):
    """Concatenates max pools over windows of 5, 9 and 13 pixels."""

    def __init__(self, config: Any, channels: int) -> None:
        super().__init__()
        conv = conv_layer(config)
        hidden = channels // 2
        self.reduce = conv(channels, hidden, 1)
        # A maximum over 9 or 13 pixels is a maximum over 5 taken twice or three times.
        self.pool = nn.MaxPool2d(POOL_SIZES[0], stride=1, padding=POOL_SIZES[0] // 2)
        self.expand = conv(hidden * (1 + len(POOL_SIZES)), channels, 1)

    def forward(self, hidden_state: Tensor) -> Tensor:
        pooled = [self.reduce(hidden_state)]
        for _ in POOL_SIZES:
            pooled.append(self.pool(pooled[-1]))
        return self.expand(torch.cat(pooled, dim=1))


class CSPBlock(nn.Module):
    """Two convolutions, and a residual connection where `add_identity` says so."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module, add_identity: bool) -> None:
        super().__init__()
        self.add_identity, self.conv1, self.conv2 = add_identity, conv1, conv2

    def forward(self, hidden_state: Tensor) -> Tensor:
        out = self.conv2(self.conv1(hidden_state))
        return out + hidden_state if self.add_identity else out


class CSPLayer(nn.Module):
    """Cross-stage partial layer: some of the channels through the blocks, as many around them."""

    def __init__(
        self,
        config: Any,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        block: BlockFactory,
        *,
        add_identity: bool,
        use_channel_attention: bool = False,
    ) -> None:
        super().__init__()
        conv = conv_layer(config)
        hidden = int(out_channels * config.expand_ratio)
        self.main_conv = conv(in_channels, hidden, 1)
        self.short_conv = conv(in_channels, hidden, 1)
        self.blocks = nn.Sequential(*(block(config, hidden, add_identity) for _ in range(num_blocks)))
        self.attention = ChannelAttention(2 * hidden) if use_channel_attention else nn.Identity()
        self.final_conv = conv(2 * hidden, out_channels, 1)

    def forward(self, hidden_state: Tensor) -> Tensor:
        main = self.blocks(self.main_conv(hidden_state))
        merged = torch.cat((main, self.short_conv(hidden_state)), dim=1)
        return self.final_conv(self.attention(merged))


class CSPStage(GradientCheckpointingLayer):
    """Downsampling by two, pyramid pooling in the last stage, a CSP layer."""

    def __init__(
        self,
        config: Any,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        block: BlockFactory,
        *,
        is_last: bool,
        use_channel_attention: bool,
    ) -> None:
        super().__init__()
        self.downsample = conv_layer(config, config.use_depthwise)(in_channels, out_channels, 3, stride=2)
        self.pooling = SpatialPyramidPooling(config, out_channels) if is_last else nn.Identity()
        options = {"add_identity": not is_last, "use_channel_attention": use_channel_attention}
        self.csp = CSPLayer(config, out_channels, out_channels, num_blocks, block, **options)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.csp(self.pooling(self.downsample(hidden_state)))


class CSPBackbone(StagedBackbone):
    """A stem and four stages; feature maps at strides 2 (stem), 4, 8, 16 and 32.

    Args:
        stem: from `pixel_values` to features at stride 2, see `STEM_CHANNELS`.
        depths: blocks of each stage before the multiplier of a size is applied.
    """

    _no_split_modules = ["CSPStage"]

    def __init__(
        self,
        config: CSPBackboneConfig,
        stem: nn.Module,
        depths: Sequence[int],
        block: BlockFactory,
        use_channel_attention: bool = False,
    ) -> None:
        super().__init__(config)
        self.stem = stem
        width = config.width_multiplier
        self.num_features = [int(STEM_CHANNELS * width), *stage_channels(width, config.arch)]
        self.stages = nn.ModuleList()
        for index, depth in enumerate(depths):
            in_channels, out_channels = self.num_features[index : index + 2]
            num_blocks = max(round(depth * config.depth_multiplier), 1)
            options = {"is_last": index == len(depths) - 1, "use_channel_attention": use_channel_attention}
            self.stages.append(CSPStage(config, in_channels, out_channels, num_blocks, block, **options))
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=5**0.5)


class PathAggregationNeck(nn.Module):
    """Path aggregation: coarse features flow into fine ones, then back.

    Args:
        channels: of the feature maps that it is given, finest first.
        out_conv: makes the convolution block of an output from its number of channels; default none.
    """

    def __init__(
        self,
        config: Any,
        channels: Sequence[int],
        block: BlockFactory,
        out_conv: Callable[[int], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        conv, halving = conv_layer(config), conv_layer(config, config.use_depthwise)

        def csp(in_channels: int, out_channels: int) -> CSPLayer:
            return CSPLayer(config, in_channels, out_channels, config.num_neck_blocks, block, add_identity=False)

        steps = range(len(channels) - 1)
        # Both lists of the way down start at the coarsest level.
        self.reduce_layers = nn.ModuleList(conv(channels[i + 1], channels[i], 1) for i in reversed(steps))
        self.top_down_blocks = nn.ModuleList(csp(2 * channels[i], channels[i]) for i in reversed(steps))
        self.downsamples = nn.ModuleList(halving(channels[i], channels[i], 3, stride=2) for i in steps)
        self.bottom_up_blocks = nn.ModuleList(csp(2 * channels[i], channels[i + 1]) for i in steps)
        self.out_convs = nn.ModuleList(out_conv(width) for width in channels)

    def forward(self, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps of the levels whose features (B, C, h, w) are given, finest first."""
        outputs = aggregate_paths(
            feature_maps, self.reduce_layers, self.top_down_blocks, self.downsamples, self.bottom_up_blocks
        )
        return by_level(self.out_convs, outputs)


def aggregate_paths(
    feature_maps: Sequence[Tensor],
    reduce_layers: nn.ModuleList,
    top_down_blocks: nn.ModuleList,
    downsamples: nn.ModuleList,
    bottom_up_blocks: nn.ModuleList,
) -> list[Tensor]:
    """Coarse features flow into fine ones, then back, for feature maps [(B, C, h, w), ...], finest first.

    Args:
        feature_maps: of the levels, each of half the resolution of the one before.
        reduce_layers, top_down_blocks: of the way down, from the coarsest level.
        downsamples, bottom_up_blocks: of the way back, from the finest level.
    """
    *finer, coarse = feature_maps
    reduced = []
    for fine, reduce, block in zip(reversed(finer), reduce_layers, top_down_blocks, strict=True):
        reduced.append(reduce(coarse))
        upsampled = nn.functional.interpolate(reduced[-1], scale_factor=2.0, mode="nearest")
        coarse = block(torch.cat((upsampled, fine), dim=1))
    outputs = [coarse]
    for lateral, downsample, block in zip(reversed(reduced), downsamples, bottom_up_blocks, strict=True):
        outputs.append(block(torch.cat((downsample(outputs[-1]), lateral), dim=1)))
    return outputs


# Reference name -> our name, for everything that these networks share.
CSP_LAYER_RENAMES: RenameRules = (*CONVOLUTION_RENAMES, (r"\.attention\.fc\.", ".attention.projection."))
CSP_RENAMES: RenameRules = (
    *CSP_LAYER_RENAMES,
    (r"^stage([1-5])\.", lambda match: f"stages.{int(match[1]) - 1}."),
    (r"^(stages\.\d)\.0\.", r"\1.downsample."),
    # The last stage alone has pooling, which moves its CSP layer from place 1 to place 2.
    (r"^(stages\.\d)\.1\.conv1\.", r"\1.pooling.reduce."),
    (r"^(stages\.\d)\.1\.conv2\.", r"\1.pooling.expand."),
    (r"^(stages\.\d)\.[12]\.", r"\1.csp."),
)


def csp_detector_arguments(backbone: CSPBackboneConfig) -> dict[str, Any]:
    """Arguments of a detector's configuration, whose settings hold for neck and head too, for that of its backbone."""
    return {name: getattr(backbone, name) for name in _SHARED_FIELDS}


def expect_same_layers(
    parts: Sequence[Mapping[str, Any]], arguments: Mapping[str, Any], activation: str, eps: float
) -> None:
    """Raise ConfigError unless parts of a detector have the layers that its configuration states for all of it.

    Args:
        activation, eps: of the parts where they state none.
    """
    for part in parts:
        given = {"use_depthwise": part.get("use_depthwise", False), **layer_arguments(part, activation, eps)}
        expect_settings(part["type"], given, {key: arguments[key] for key in given})


def csp_backbone_arguments(config: CSPDetectorConfig) -> dict[str, Any]:
    """Arguments of the configuration of a detector's backbone for that of the detector, whose `strides` tell its
    `arch`."""
    arch = "P5" if len(config.strides) < len(STAGE_CHANNELS["P5"]) else "P6"
    levels = {"arch": arch, "out_indices": list(range(2, len(STAGE_CHANNELS[arch]) + 1))}
    return {name: getattr(config, name) for name in _SHARED_FIELDS} | levels


def csp_arguments(backbone: Mapping[str, Any], activation: str = "SiLU") -> dict[str, Any]:
    """Configuration arguments for what the reference's `CSPDarknet` and `CSPNeXt` settings have in common.

    Args:
        activation: of the backbone where it states none.
    """
    return {
        "depth_multiplier": backbone.get("deepen_factor", 1.0),
        "width_multiplier": backbone.get("widen_factor", 1.0),
        "use_depthwise": backbone.get("use_depthwise", False),
        "out_indices": list(backbone.get("out_indices", (2, 3, 4))),
        **layer_arguments(backbone, activation),
    }
