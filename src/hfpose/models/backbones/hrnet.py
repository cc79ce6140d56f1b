"""HRNet: branches of several resolutions side by side, merged again and again.

Source: Sun et al., 2019, https://arxiv.org/abs/1902.09212; version 2, which gives all branches, is Wang et al., 2019,
https://arxiv.org/abs/1908.07919; `mmpose.models.backbones.HRNet`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, batch_norm_eps, expect_settings
from hfpose.models.shared.convolution import (
    EXPANSIONS,
    RESIDUAL_RENAMES,
    ConvNormAct,
    ResidualBlock,
    conv_layer,
    layer_in_row,
    layer_of_pair,
)
from hfpose.models.shared.staged_backbone import StagedBackbone

NumbersByStage = list[Numbers] | tuple[Numbers, ...]


@strict
class HRNetBackboneConfig(StagedBackboneConfig):
    """Configuration of [`HRNetBackbone`]. The defaults are those of HRNet-W32.

    Args:
        stem_channels: channels of the two convolutions that halve the resolution.
        stage_modules: number of modules of each stage, that is how often its branches are merged.
        stage_blocks: for each stage the number of residual blocks of each branch of a module.
        stage_channels: for each stage the channels of the blocks of each branch, from the highest resolution down.
        stage_block_types: for each stage `"basic"` or `"bottleneck"`; bottleneck blocks have four times as many output
            channels.
        multiscale_output: whether all branches of the last stage are given (HRNetV2), `stage1` at the highest
            resolution, `stage2` at half of it and so on; else the one of the highest resolution alone is.
        upsample_mode: how a branch is enlarged to be merged, `"nearest"` or `"bilinear"`.
    """

    model_type = "hrnet_backbone"

    stem_channels: int = 64
    stage_modules: Numbers = (1, 1, 4, 3)
    stage_blocks: NumbersByStage = ((4,), (4, 4), (4, 4, 4), (4, 4, 4, 4))
    stage_channels: NumbersByStage = ((64,), (32, 64), (32, 64, 128), (32, 64, 128, 256))
    stage_block_types: list[str] | tuple[str, ...] = ("bottleneck", "basic", "basic", "basic")
    multiscale_output: bool = False
    upsample_mode: Literal["nearest", "bilinear"] = "nearest"

    @property
    def num_stages(self) -> int:
        return len(self.stage_channels[-1]) if self.multiscale_output else 1

    @property
    def merged_strides(self) -> tuple[int, int]:
        """See `check_image_size`."""
        return 4, 4 * 2 ** (len(self.stage_channels[-1]) - 1)

    def branch_channels(self, stage: int) -> list[int]:
        """Output channels of the branches of a stage."""
        expansion = EXPANSIONS.get(self.stage_block_types[stage], 1)
        return [channels * expansion for channels in self.stage_channels[stage]]


class HRNetModule(GradientCheckpointingLayer):
    """Blocks on each branch (B, C, h, w), then each output is the sum of all branches at its resolution.

    Args:
        num_outputs: number of branches to compute, from the highest resolution down.
    """

    def __init__(
        self, config: HRNetBackboneConfig, stage: int, module: int, in_channels: Sequence[int], num_outputs: int
    ) -> None:
        super().__init__()
        channels = config.branch_channels(stage)
        self.branches = nn.ModuleList(
            self.make_branch(config, stage, module, branch, in_channels[branch]) for branch in range(len(channels))
        )
        self.fusions = make_fusions(
            channels,
            num_outputs if len(channels) > 1 else 0,
            partial(self.make_halving, config),
            config.batch_norm_eps,
            config.upsample_mode,
        )
        self.activation = ACT2FN[config.hidden_act]

    def make_branch(self, config: Any, stage: int, module: int, branch: int, in_channels: int) -> nn.Module:
        """Blocks of a branch."""
        channels, block_type = config.stage_channels[stage][branch], config.stage_block_types[stage]
        sizes = [in_channels, *[config.branch_channels(stage)[branch]] * (config.stage_blocks[stage][branch] - 1)]
        options = {"hidden_act": config.hidden_act, "norm_eps": config.batch_norm_eps}
        return nn.Sequential(*(ResidualBlock(size, channels, block_type, **options) for size in sizes))

    def make_halving(self, config: Any, in_channels: int, out_channels: int, has_act: bool) -> nn.Module:
        """A layer that halves the resolution."""
        act = config.hidden_act if has_act else None
        return conv_layer(config)(in_channels, out_channels, 3, stride=2, hidden_act=act)

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        features = tuple(branch(feature) for branch, feature in zip(self.branches, features, strict=True))
        if len(features) == 1:
            return features
        return tuple(self.activation(self._merge(fusion, features)) for fusion in self.fusions)

    @staticmethod
    def _merge(fusion: nn.Module, features: Sequence[Tensor]) -> Tensor:
        resized = (resize(feature) for resize, feature in zip(fusion.children(), features, strict=True))
        return reduce(torch.add, resized)


def make_fusions(
    channels: Sequence[int],
    num_outputs: int,
    halving: Callable[[int, int, bool], nn.Module],
    eps: float,
    upsample_mode: str,
) -> nn.ModuleList:
    """For each output what brings each branch to its size and channels.

    Args:
        halving: makes a layer that halves the resolution from the channels before and after, and whether it has an
            activation.
    """

    def fusion(source: int, target: int) -> nn.Module:
        before, after = channels[source], channels[target]
        if source == target:
            return nn.Identity()
        if source > target:
            upsample = nn.Upsample(scale_factor=2 ** (source - target), mode=upsample_mode)
            return nn.Sequential(ConvNormAct(before, after, 1, hidden_act=None, norm_eps=eps), upsample)
        first = (halving(before, before, True) for _ in range(target - source - 1))
        return nn.Sequential(*first, halving(before, after, False))

    sources = range(len(channels))
    return nn.ModuleList(nn.ModuleList(fusion(source, target) for source in sources) for target in range(num_outputs))


class HRNetStage(nn.Module):
    """New branches (B, C, h, w) by halving the lowest resolution, then modules.

    Args:
        transition: for each branch what makes it of the stage before, of the same branch or of its last one.
    """

    def __init__(self, transition: Iterable[nn.Module], units: Iterable[nn.Module]) -> None:
        super().__init__()
        self.transition = nn.ModuleList(transition)
        self.units = nn.ModuleList(units)

    def forward(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        last = len(features) - 1
        features = [step(features[min(i, last)]) for i, step in enumerate(self.transition)]
        for unit in self.units:
            features = unit(*features)
        return features


def make_transition(
    in_channels: Sequence[int], out_channels: int, branch: int, make_layer: Callable[[int, int, int], nn.Module]
) -> nn.Module:
    """From the branches of a stage to one branch of the next: its own, or the last one halved.

    Args:
        out_channels, branch: channels and index of the one to make.
        make_layer: makes a layer from the channels before and after it and its stride.
    """
    last = len(in_channels) - 1
    halvings, before = max(branch - last, 0), in_channels[min(branch, last)]
    if halvings == 0 and before == out_channels:
        return nn.Identity()
    sizes = [*[(before, before)] * (halvings - 1), (before, out_channels)]
    return nn.Sequential(*(make_layer(*size, 2 if halvings else 1) for size in sizes))


class HRNetBackbone(StagedBackbone):
    """HRNet; feature maps at stride 4 (stem and `stage1`), 8, 16 and 32, see `multiscale_output`."""

    config: HRNetBackboneConfig
    conv_std = 0.001
    module_class: type[HRNetModule] = HRNetModule
    _no_split_modules = ["HRNetStage"]

    def __init__(self, config: HRNetBackboneConfig) -> None:
        super().__init__(config)
        conv, stem = conv_layer(config), config.stem_channels
        self.stem = nn.Sequential(conv(config.num_channels, stem, 3, stride=2), conv(stem, stem, 3, stride=2))
        count = len(config.stage_modules)
        channels = [[stem], *(config.branch_channels(stage) for stage in range(count))]
        outputs = [*(len(branches) for branches in channels[1:-1]), config.num_stages]
        self.stages = nn.ModuleList(self._stage(stage, channels[stage], outputs[stage]) for stage in range(count))
        self.num_features = [stem, *channels[-1][: config.num_stages]]
        self.post_init()

    def _stage(self, stage: int, in_channels: Sequence[int], num_outputs: int) -> HRNetStage:
        """A stage, from the branches of the one before to so many branches."""
        config, modules = self.config, self.config.stage_modules[stage]
        own = config.branch_channels(stage)
        # The first stage's blocks change the number of channels themselves.
        channels = own if stage else list(in_channels)
        outputs = [*[len(channels)] * (modules - 1), num_outputs]
        conv = conv_layer(config)

        def layer(before: int, after: int, stride: int) -> nn.Module:
            return conv(before, after, 3, stride)

        return HRNetStage(
            (make_transition(in_channels, width, branch, layer) for branch, width in enumerate(channels)),
            (self.module_class(config, stage, i, own if i else channels, outputs[i]) for i in range(modules)),
        )

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        stem = self.stem(pixel_values)
        features: Sequence[Tensor] = [stem]
        for stage in self.stages:
            features = stage(features)
        return [stem, *features]


STAGE_RENAMES: RenameRules = (
    (r"^(conv|bn)([12])\.", lambda match: f"stem.{int(match[2]) - 1}.{match[1]}."),
    (r"^layer1\.", "stages.0.units.0.branches.0."),
    (r"^stage(\d)\.(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}.units.{match[2]}."),
    (r"^transition(\d)\.", r"stages.\1.transition."),
    (r"\.fuse_layers\.", ".fusions."),
)
# For networks that halve by a depthwise and a pointwise convolution; what is enlarged has one convolution, one level
# higher.
SEPARABLE_FUSION_RENAMES: RenameRules = (
    (r"(\.fusions\.\d+\.\d+\.\d+)\.([0-3])\.(?=[a-z])", layer_in_row),
    (r"(\.fusions\.\d+\.\d+)\.([01])\.(?=[a-z])", layer_in_row),
)
RENAMES: RenameRules = (
    *STAGE_RENAMES,
    # A branch that is only adapted, or enlarged, has its layers one level higher than those that are halved.
    (r"(\.transition\.\d+|\.fusions\.\d+\.\d+)\.([01])\.(?=[a-z])", r"\1.0.\2."),
    (r"(\.transition\.\d+\.\d+|\.fusions\.\d+\.\d+\.\d+)\.([01])\.(?=[a-z])", layer_of_pair),
    *RESIDUAL_RENAMES,
)


def config_from_reference(backbone: Mapping[str, Any]) -> HRNetBackboneConfig:
    """Configuration for the reference's `HRNet` settings."""
    arguments = stage_arguments(backbone)
    if unknown := set(arguments["stage_block_types"]) - set(EXPANSIONS):
        raise ConfigError(f"HRNet blocks {sorted(unknown)} are not supported; known ones are {', '.join(EXPANSIONS)}.")
    upsample_mode = backbone["extra"].get("upsample", {}).get("mode", "nearest")
    return HRNetBackboneConfig(**arguments | {"upsample_mode": upsample_mode})


def stage_arguments(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for what the reference's settings of `HRNet` and `HRFormer` have in common."""
    expect_settings(backbone["type"], backbone, {"conv_cfg": None})
    extra = backbone["extra"]
    expect_settings(f"{backbone['type']}.extra.upsample", extra.get("upsample", {}), {"align_corners": False})
    stages = [extra[f"stage{i}"] for i in range(1, 5)]
    expect_settings(f"{backbone['type']}.extra.stage1", stages[0], {"num_modules": 1, "num_branches": 1})
    gives_all = bool(stages[3].get("multiscale_output", False))
    return {
        "num_channels": backbone.get("in_channels", 3),
        "stage_modules": [stage["num_modules"] for stage in stages],
        "stage_blocks": [list(stage["num_blocks"]) for stage in stages],
        "stage_channels": [list(stage["num_channels"]) for stage in stages],
        "stage_block_types": [stage["block"].lower() for stage in stages],
        "multiscale_output": gives_all,
        "out_indices": list(range(1, len(stages[3]["num_channels"]) + 1)) if gives_all else [1],
        "batch_norm_eps": batch_norm_eps(backbone),
    }
