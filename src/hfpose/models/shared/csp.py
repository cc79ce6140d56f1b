"""Cross-stage partial networks: what CSPDarknet (YOLOX) and CSPNeXt (RTMDet, RTMPose) have in common.

Source: CSPNet (Wang et al., 2019, https://arxiv.org/abs/1911.11929); `mmdet.models.layers.CSPLayer`,
`mmdet.models.backbones.CSPDarknet` and `CSPNeXt`, `mmdet.models.necks.YOLOXPAFPN` and `CSPNeXtPAFPN`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import StagedBackboneConfig
from hfpose.models.shared.conversion import CONVOLUTION_RENAMES, RenameRules, expect_settings, layer_arguments
from hfpose.models.shared.convolution import ConvNormAct, conv_block
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


class CSPLayerConfig(Protocol):
    """What a configuration must say for a cross-stage partial layer to be built from it."""

    expand_ratio: float
    use_depthwise: bool
    hidden_act: str
    batch_norm_eps: float


class CSPNeckConfig(CSPLayerConfig, Protocol):
    """What a configuration must say for a path aggregation neck to be built from it."""

    num_neck_blocks: int


class CSPBackboneConfig(StagedBackboneConfig):
    r"""
    Configuration of a [`CSPBackbone`].

    Args:
        arch: `"P5"`, with stages up to stride 32, or `"P6"`, up to stride 64.
        depth_multiplier: factor on the number of blocks of the stages.
        width_multiplier: factor on the channels.
        expand_ratio: share of a CSP layer's channels that goes through its blocks.
        use_depthwise: whether the network is made of depthwise separable convolutions.
        kwargs: see [`StagedBackboneConfig`].
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


# Makes a block from a configuration, its channels, and whether it has a residual connection.
BlockFactory = Callable[[Any, int, bool], nn.Module]


def stage_channels(width_multiplier: float, arch: str = "P5") -> list[int]:
    """Channels of the feature maps at strides 4, 8, 16, 32, and for P6 64."""
    return [int(channels * width_multiplier) for channels in STAGE_CHANNELS[arch]]


def scaled_depths(depths: Sequence[int], depth_multiplier: float) -> list[int]:
    """Number of blocks in each of the four stages."""
    return [max(round(depth * depth_multiplier), 1) for depth in depths]


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

    def __init__(self, config: CSPLayerConfig, channels: int) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        hidden = channels // 2
        self.reduce = ConvNormAct(channels, hidden, 1, hidden_act=act, norm_eps=eps)
        # A maximum over 9 or 13 pixels is a maximum over 5 taken twice or three times.
        self.pool = nn.MaxPool2d(POOL_SIZES[0], stride=1, padding=POOL_SIZES[0] // 2)
        self.expand = ConvNormAct(hidden * (1 + len(POOL_SIZES)), channels, 1, hidden_act=act, norm_eps=eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        pooled = [self.reduce(hidden_state)]
        for _ in POOL_SIZES:
            pooled.append(self.pool(pooled[-1]))
        return self.expand(torch.cat(pooled, dim=1))


class CSPLayer(nn.Module):
    """Cross-stage partial layer: some of the channels through the blocks, as many around them."""

    def __init__(
        self,
        config: CSPLayerConfig,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        block: BlockFactory,
        *,
        add_identity: bool,
        use_channel_attention: bool = False,
    ) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        hidden = int(out_channels * config.expand_ratio)
        self.main_conv = ConvNormAct(in_channels, hidden, 1, hidden_act=act, norm_eps=eps)
        self.short_conv = ConvNormAct(in_channels, hidden, 1, hidden_act=act, norm_eps=eps)
        self.blocks = nn.Sequential(*(block(config, hidden, add_identity) for _ in range(num_blocks)))
        self.attention = ChannelAttention(2 * hidden) if use_channel_attention else nn.Identity()
        self.final_conv = ConvNormAct(2 * hidden, out_channels, 1, hidden_act=act, norm_eps=eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        main = self.blocks(self.main_conv(hidden_state))
        merged = torch.cat((main, self.short_conv(hidden_state)), dim=1)
        return self.final_conv(self.attention(merged))


class CSPStage(GradientCheckpointingLayer):
    """Downsampling by two, pyramid pooling in the last stage, a CSP layer."""

    def __init__(
        self,
        config: CSPLayerConfig,
        in_channels: int,
        out_channels: int,
        num_blocks: int,
        block: BlockFactory,
        *,
        is_last: bool,
        use_channel_attention: bool,
    ) -> None:
        super().__init__()
        self.downsample = conv_block(config.use_depthwise)(
            in_channels, out_channels, 3, stride=2, hidden_act=config.hidden_act, norm_eps=config.batch_norm_eps
        )
        self.pooling = SpatialPyramidPooling(config, out_channels) if is_last else nn.Identity()
        self.csp = CSPLayer(
            config,
            out_channels,
            out_channels,
            num_blocks,
            block,
            add_identity=not is_last,
            use_channel_attention=use_channel_attention,
        )

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.csp(self.pooling(self.downsample(hidden_state)))


class CSPBackbone(StagedBackbone):
    """A stem and four stages; feature maps at strides 2 (stem), 4, 8, 16 and 32.

    Args:
        stem: from `pixel_values` to features at stride 2, see `STEM_CHANNELS`.
        depths: blocks of each stage before the multiplier of a size is applied.
        block: makes a block.
        use_channel_attention: whether the CSP layers scale their channels.
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
        channels = [
            int(STEM_CHANNELS * config.width_multiplier),
            *stage_channels(config.width_multiplier, config.arch),
        ]
        num_blocks = scaled_depths(depths, config.depth_multiplier)
        self.num_features = channels
        self.stages = nn.ModuleList(
            CSPStage(
                config,
                channels[i],
                channels[i + 1],
                depth,
                block,
                is_last=i == len(num_blocks) - 1,
                use_channel_attention=use_channel_attention,
            )
            for i, depth in enumerate(num_blocks)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv2d):
            init.kaiming_uniform_(module.weight, a=5**0.5)


class PathAggregationNeck(nn.Module):
    """Path aggregation: coarse features flow into fine ones, then back.

    Args:
        channels: of the feature maps that it is given, finest first.
        block: makes a block.
        out_conv: makes the convolution block of an output from its number of channels; default none.
    """

    def __init__(
        self,
        config: CSPNeckConfig,
        channels: Sequence[int],
        block: BlockFactory,
        out_conv: Callable[[int], nn.Module] = nn.Identity,
    ) -> None:
        super().__init__()
        act, eps = config.hidden_act, config.batch_norm_eps
        conv = conv_block(config.use_depthwise)

        def csp(in_channels: int, out_channels: int) -> CSPLayer:
            return CSPLayer(config, in_channels, out_channels, config.num_neck_blocks, block, add_identity=False)

        steps = range(len(channels) - 1)
        # Both lists of the way down start at the coarsest level.
        self.reduce_layers = nn.ModuleList(
            ConvNormAct(channels[i + 1], channels[i], 1, hidden_act=act, norm_eps=eps) for i in reversed(steps)
        )
        self.top_down_blocks = nn.ModuleList(csp(2 * channels[i], channels[i]) for i in reversed(steps))
        self.downsamples = nn.ModuleList(
            conv(channels[i], channels[i], 3, stride=2, hidden_act=act, norm_eps=eps) for i in steps
        )
        self.bottom_up_blocks = nn.ModuleList(csp(2 * channels[i], channels[i + 1]) for i in steps)
        self.out_convs = nn.ModuleList(out_conv(width) for width in channels)

    def forward(self, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Feature maps of the levels whose features (B, C, h, w) are given, finest first."""
        *finer, coarse = feature_maps
        reduced = []
        for fine, reduce, block in zip(reversed(finer), self.reduce_layers, self.top_down_blocks, strict=True):
            coarse = reduce(coarse)
            reduced.append(coarse)
            upsampled = nn.functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
            coarse = block(torch.cat((upsampled, fine), dim=1))
        outputs = [coarse]
        for lateral, downsample, block in zip(reversed(reduced), self.downsamples, self.bottom_up_blocks, strict=True):
            outputs.append(block(torch.cat((downsample(outputs[-1]), lateral), dim=1)))
        return [conv(output) for conv, output in zip(self.out_convs, outputs, strict=True)]


# Reference name -> our name, for everything that these networks share.
CSP_LAYER_RENAMES: RenameRules = (
    *CONVOLUTION_RENAMES,
    (r"\.attention\.fc\.", ".attention.projection."),
)
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
        parts: the reference's settings of neck and head.
        arguments: of the configuration.
        activation, eps: of the parts where they state none.
    """
    for part in parts:
        given = {"use_depthwise": part.get("use_depthwise", False), **layer_arguments(part, activation, eps)}
        expect_settings(part["type"], given, {key: arguments[key] for key in given})


def csp_backbone_arguments(config: Any) -> dict[str, Any]:
    """Arguments of the configuration of a detector's backbone for that of the detector, whose `strides` tell its `arch`."""
    arch = "P5" if len(config.strides) < len(STAGE_CHANNELS["P5"]) else "P6"
    levels = {"arch": arch, "out_indices": list(range(2, len(STAGE_CHANNELS[arch]) + 1))}
    return {name: getattr(config, name) for name in _SHARED_FIELDS} | levels


def csp_arguments(backbone: Mapping[str, Any], activation: str = "SiLU") -> dict[str, Any]:
    """Configuration arguments for what the reference's `CSPDarknet` and `CSPNeXt` settings have in common.

    Args:
        backbone: the settings.
        activation: of the backbone where it states none.
    """
    return {
        "depth_multiplier": backbone.get("deepen_factor", 1.0),
        "width_multiplier": backbone.get("widen_factor", 1.0),
        "use_depthwise": backbone.get("use_depthwise", False),
        "out_indices": list(backbone.get("out_indices", (2, 3, 4))),
        **layer_arguments(backbone, activation),
    }
