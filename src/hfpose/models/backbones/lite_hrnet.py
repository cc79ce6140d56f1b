"""Lite-HRNet: HRNet's branches with depthwise convolutions, and channels weighted by what all branches see.

Source: Yu et al., 2021, https://arxiv.org/abs/2104.06403; `mmpose.models.backbones.LiteHRNet`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.backbones.hrnet import (
    SEPARABLE_FUSION_RENAMES,
    HRNetBackboneConfig,
    HRNetStage,
    NumbersByStage,
    make_fusions,
    make_transition,
)
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, batch_norm_eps, expect_settings
from hfpose.models.shared.convolution import ConvNormAct, SqueezeExcitation, channel_shuffle, layer_in_row
from hfpose.models.shared.staged_backbone import StagedBackbone

SPATIAL_REDUCTION = 4


@strict
class LiteHRNetBackboneConfig(StagedBackboneConfig):
    """Configuration of [`LiteHRNetBackbone`]. The defaults are those of Lite-HRNet-18.

    Args:
        stem_expand_ratio: factor by which one half of the stem is wider inside.
        stage_modules: number of modules of each stage, that is how often its branches are merged.
        stage_blocks: number of blocks of a module of each stage.
        stage_channels: for each stage the channels of each branch, from the highest resolution down.
        reduction: by which factor the layer that weighs channels is narrower.
    """

    model_type = "lite_hrnet_backbone"
    num_stages = 1

    stem_channels: int = 32
    stem_expand_ratio: float | int = 1
    stage_modules: Numbers = (2, 4, 2)
    stage_blocks: Numbers = (2, 2, 2)
    stage_channels: NumbersByStage = ((40, 80), (40, 80, 160), (40, 80, 160, 320))
    reduction: int = 8

    merged_strides = HRNetBackboneConfig.merged_strides


def _depthwise_pair(
    in_channels: int, out_channels: int, eps: float, stride: int = 1, hidden_act: str | None = "relu"
) -> nn.Sequential:
    """A depthwise 3x3 convolution, and one of size 1."""
    return nn.Sequential(
        ConvNormAct(in_channels, in_channels, 3, stride, groups=in_channels, hidden_act=None, norm_eps=eps),
        ConvNormAct(in_channels, out_channels, 1, hidden_act=hidden_act, norm_eps=eps),
    )


class LiteHRNetStem(nn.Module):
    """From `pixel_values` to a feature map at stride 4."""

    def __init__(self, config: LiteHRNetBackboneConfig) -> None:
        super().__init__()
        channels, eps = config.stem_channels, config.batch_norm_eps
        half, hidden = channels // 2, round(channels * config.stem_expand_ratio)
        self.conv = ConvNormAct(config.num_channels, channels, 3, 2, hidden_act="relu", norm_eps=eps)
        self.short = _depthwise_pair(half, channels - half, eps, stride=2)
        self.expand = ConvNormAct(half, hidden, 1, hidden_act="relu", norm_eps=eps)
        self.long = _depthwise_pair(hidden, half, eps, stride=2)

    def forward(self, pixel_values: Tensor) -> Tensor:
        first, second = self.conv(pixel_values).chunk(2, 1)
        return channel_shuffle(torch.cat((self.short(first), self.long(self.expand(second))), 1), 2)


class CrossResolutionWeighting(nn.Module):
    """Scales the channels of all branches (B, C, h, w) by what they tell together at the lowest resolution."""

    def __init__(self, channels: Sequence[int], reduction: int, eps: float) -> None:
        super().__init__()
        total = sum(channels)
        self.channels = list(channels)
        self.reduce = ConvNormAct(total, total // reduction, 1, hidden_act="relu", norm_eps=eps)
        self.expand = ConvNormAct(total // reduction, total, 1, hidden_act="sigmoid", norm_eps=eps)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        *finer, coarsest = features
        size = (coarsest.shape[2], coarsest.shape[3])
        pooled = [F.adaptive_avg_pool2d(feature, size) for feature in finer]
        weights = self.expand(self.reduce(torch.cat((*pooled, coarsest), 1))).split(self.channels, 1)
        return [
            feature * F.interpolate(weight, size=feature.shape[2:], mode="nearest")
            for feature, weight in zip(features, weights, strict=True)
        ]


class LiteHRNetBlock(nn.Module):
    """On half the channels of each branch (B, C, h, w): weighting across resolutions, depthwise convolution, weighting
    by itself."""

    def __init__(self, channels: Sequence[int], reduction: int, eps: float) -> None:
        super().__init__()
        halves = [count // 2 for count in channels]
        self.weighting = CrossResolutionWeighting(halves, reduction, eps)
        self.convolutions = nn.ModuleList(
            ConvNormAct(count, count, 3, groups=count, hidden_act=None, norm_eps=eps) for count in halves
        )
        self.excitations = nn.ModuleList(SqueezeExcitation(count, count // SPATIAL_REDUCTION) for count in halves)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        kept, changed = zip(*(feature.chunk(2, 1) for feature in features), strict=True)
        layers = zip(self.convolutions, self.excitations, self.weighting(changed), kept, strict=True)
        return [channel_shuffle(torch.cat((same, excite(conv(half))), 1), 2) for conv, excite, half, same in layers]


class LiteHRNetModule(GradientCheckpointingLayer):
    """Blocks over all branches (B, C, h, w), then each branch is the sum of all of them at its resolution."""

    def __init__(self, config: LiteHRNetBackboneConfig, stage: int) -> None:
        super().__init__()
        channels, eps = config.stage_channels[stage], config.batch_norm_eps
        self.blocks = nn.ModuleList(
            LiteHRNetBlock(channels, config.reduction, eps) for _ in range(config.stage_blocks[stage])
        )
        self.fusions = make_fusions(
            channels,
            len(channels),
            lambda before, after, has_act: _depthwise_pair(before, after, eps, 2, "relu" if has_act else None),
            eps,
            "nearest",
        )

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        for block in self.blocks:
            features = block(features)
        fused: list[Tensor] = []
        first, *others = features
        for target, fusion in enumerate(self.fusions):
            resize_first, *resize_others = fusion.children()
            # As in the reference, the first branch counts twice, and once it was summed up it is that sum.
            total = first + first if target == 0 else resize_first(first) * 2
            for resize, feature in zip(resize_others, others, strict=True):
                total = total + resize(feature)
            if target == 0:
                first = total
            fused.append(total.relu())
        return tuple(fused)


class LiteHRNetTop(nn.Module):
    """From the lowest resolution up: each branch (B, C, h, w) gets what the one below has; the last one is given."""

    def __init__(self, config: LiteHRNetBackboneConfig) -> None:
        super().__init__()
        channels = list(reversed(config.stage_channels[-1]))
        sizes = zip(channels, [*channels[1:], channels[-1]], strict=True)
        self.projections = nn.ModuleList(_depthwise_pair(*size, config.batch_norm_eps) for size in sizes)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        coarser: Tensor | None = None
        for feature, project in zip(reversed(features), self.projections, strict=True):
            if coarser is not None:
                size = feature.shape[2:]
                feature = feature + F.interpolate(coarser, size=size, mode="bilinear", align_corners=True)
            coarser = project(feature)
        assert coarser is not None
        return coarser


class LiteHRNetBackbone(StagedBackbone):
    """Lite-HRNet; feature maps at stride 4, after the stem and after all stages (`stage1`)."""

    config: LiteHRNetBackboneConfig
    conv_std = 0.001
    _no_split_modules = ["HRNetStage"]

    def __init__(self, config: LiteHRNetBackboneConfig) -> None:
        super().__init__(config)
        self.stem = LiteHRNetStem(config)
        before = [[config.stem_channels], *config.stage_channels]

        def pair(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
            return _depthwise_pair(in_channels, out_channels, config.batch_norm_eps, stride)

        self.stages = nn.ModuleList(
            HRNetStage(
                (make_transition(before[stage], width, i, pair) for i, width in enumerate(widths)),
                (LiteHRNetModule(config, stage) for _ in range(config.stage_modules[stage])),
            )
            for stage, widths in enumerate(config.stage_channels)
        )
        self.top = LiteHRNetTop(config)
        self.num_features = [config.stem_channels, config.stage_channels[-1][0]]
        self.post_init()

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        stem = self.stem(pixel_values)
        features: Sequence[Tensor] = [stem]
        for stage in self.stages:
            features = stage(features)
        return [stem, self.top(features)]


RENAMES: RenameRules = (
    (r"^stem\.conv1\.", "stem.conv."),
    (r"^stem\.branch1\.", "stem.short."),
    (r"^stem\.expand_conv\.", "stem.expand."),
    (r"^stem\.depthwise_conv\.", "stem.long.0."),
    (r"^stem\.linear_conv\.", "stem.long.1."),
    (r"^stage(\d)\.(\d+)\.", r"stages.\1.units.\2."),
    (r"^transition(\d)\.", r"stages.\1.transition."),
    (r"\.layers\.(\d+)\.cross_resolution_weighting\.conv1\.", r".blocks.\1.weighting.reduce."),
    (r"\.layers\.(\d+)\.cross_resolution_weighting\.conv2\.", r".blocks.\1.weighting.expand."),
    (r"\.layers\.(\d+)\.depthwise_convs\.", r".blocks.\1.convolutions."),
    (r"\.layers\.(\d+)\.spatial_weighting\.(\d+)\.conv1\.conv\.", r".blocks.\1.excitations.\2.reduce."),
    (r"\.layers\.(\d+)\.spatial_weighting\.(\d+)\.conv2\.conv\.", r".blocks.\1.excitations.\2.expand."),
    (r"\.fuse_layers\.", ".fusions."),
    # A branch that is only adapted has its layers one level higher than the others.
    (r"(\.transition\.\d+)\.([0-3])\.(?=[a-z])", r"\1.0.\2."),
    (r"(\.transition\.\d+\.\d+)\.([0-3])\.(?=[a-z])", layer_in_row),
    *SEPARABLE_FUSION_RENAMES,
    (r"^head_layer\.projects\.(\d+)\.depthwise_conv\.", r"top.projections.\1.0."),
    (r"^head_layer\.projects\.(\d+)\.pointwise_conv\.", r"top.projections.\1.1."),
    (r"\.bn\.", ".norm."),
)


def config_from_reference(backbone: Mapping[str, Any]) -> LiteHRNetBackboneConfig:
    """Configuration for the reference's `LiteHRNet` settings."""
    extra = backbone["extra"]
    stages, stem = extra["stages_spec"], extra["stem"]
    count, reductions = extra["num_stages"], stages["reduce_ratios"]
    expect_settings("LiteHRNet", backbone, {"conv_cfg": None})
    expect_settings("LiteHRNet.extra", extra, {"with_head": True})
    expect_settings("LiteHRNet.extra.stem", stem, {"out_channels": stem["stem_channels"]})
    expected = {
        "module_type": ("LITE",) * count,
        "with_fuse": (True,) * count,
        "reduce_ratios": (reductions[0],) * count,
    }
    expect_settings("LiteHRNet.extra.stages_spec", stages, expected)
    return LiteHRNetBackboneConfig(
        num_channels=backbone.get("in_channels", 3),
        stem_channels=stem["stem_channels"],
        stem_expand_ratio=stem["expand_ratio"],
        stage_modules=list(stages["num_modules"]),
        stage_blocks=list(stages["num_blocks"]),
        stage_channels=[list(channels) for channels in stages["num_channels"]],
        reduction=reductions[0],
        batch_norm_eps=batch_norm_eps(backbone),
    )
