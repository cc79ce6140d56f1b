"""MobileNetV3 as ViPNAS's search found it.

Source: Xu et al., 2021, https://arxiv.org/abs/2105.10154; `mmpose.models.backbones.ViPNAS_MobileNetV3`.
"""

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn

from hfpose.models.backbones.mobilenet_v2 import INVERTED_RESIDUAL_RENAMES, InvertedResidual
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, activation_name, batch_norm_eps, rename_state_dict
from hfpose.models.shared.convolution import ConvNormAct, SqueezeExcitation, stacked
from hfpose.models.shared.staged_backbone import StagedBackbone

ATTENTION_REDUCTION = 4


@strict
class ViPNASMobileNetV3BackboneConfig(StagedBackboneConfig):
    """
    Configuration of [`ViPNASMobileNetV3Backbone`]. The first entry of `hidden_sizes`, `kernel_sizes`, `strides` and
    `stage_acts` is that of the stem, the others are those of the stages; the other lists have no entry for the stem.

    Args:
        hidden_sizes: channels.
        expansions: of the channels in a block.
        depths: blocks of each stage.
        kernel_sizes: of the convolutions in groups.
        groups: of these.
        has_attention: whether blocks have squeeze-and-excitation.
        strides: of the first block of each stage.
        stage_acts: activations.
    """

    model_type = "vipnas_mobilenet_v3_backbone"

    hidden_sizes: Numbers = (16, 16, 24, 40, 80, 112, 160)
    expansions: Numbers = (1, 5, 4, 5, 5, 6)
    depths: Numbers = (1, 4, 4, 4, 4, 4)
    kernel_sizes: Numbers = (3, 3, 7, 7, 5, 7, 5)
    groups: Numbers = (8, 120, 20, 100, 280, 240)
    has_attention: list[bool] | tuple[bool, ...] = (True, True, False, True, True, True)
    strides: Numbers = (2, 1, 2, 2, 2, 1, 2)
    stage_acts: list[str] | tuple[str, ...] = ("hardswish", "relu", "relu", "relu", *["hardswish"] * 3)


class ViPNASMobileNetV3Backbone(StagedBackbone):
    """The network; feature maps at strides 2 (stem), 2, 4, 8, 16, 16 and 32."""

    config: ViPNASMobileNetV3BackboneConfig
    _no_split_modules = ["InvertedResidual"]

    def __init__(self, config: ViPNASMobileNetV3BackboneConfig) -> None:
        super().__init__(config)
        self.num_features = list(config.hidden_sizes)
        first = config.hidden_sizes[0], config.kernel_sizes[0], config.strides[0]
        act, eps = config.stage_acts[0], config.batch_norm_eps
        self.stem = ConvNormAct(config.num_channels, *first, hidden_act=act, norm_eps=eps)
        self.stages = nn.ModuleList(self._stage(index) for index in range(config.num_stages))
        self.post_init()

    def _stage(self, index: int) -> nn.Sequential:
        config = self.config
        channels, width = config.hidden_sizes[index : index + 2]
        hidden = width * config.expansions[index]

        def block(before: int, after: int, stride: int) -> nn.Module:
            attention = None
            if config.has_attention[index]:
                attention = SqueezeExcitation(hidden, hidden // ATTENTION_REDUCTION, gate="steep_hard_sigmoid")
            return InvertedResidual(
                before,
                after,
                stride,
                hidden_channels=hidden,
                kernel_size=config.kernel_sizes[index + 1],
                groups=config.groups[index],
                attention=attention,
                hidden_act=config.stage_acts[index + 1],
                norm_eps=config.batch_norm_eps,
            )

        return stacked(block, channels, width, config.depths[index], config.strides[index + 1])


RENAMES: RenameRules = (
    (r"^conv1\.", "stem."),
    (r"\.se\.conv1\.conv\.", ".attention.reduce."),
    (r"\.se\.conv2\.conv\.", ".attention.expand."),
    *INVERTED_RESIDUAL_RENAMES,
)


def convert_state_dict(state_dict: Mapping[str, Tensor], config: ViPNASMobileNetV3BackboneConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names. It counts the blocks of all stages in one row."""
    places = [f"stages.{stage}.{block}." for stage, depth in enumerate(config.depths) for block in range(depth)]

    def place(match: re.Match[str]) -> str:
        number = int(match[1]) - 1
        return places[number] if number < len(places) else match[0]

    return rename_state_dict(state_dict, ((r"^layer(\d+)\.", place), *RENAMES))


def config_from_reference(backbone: Mapping[str, Any]) -> ViPNASMobileNetV3BackboneConfig:
    """Configuration for the reference's `ViPNAS_MobileNetV3` settings."""
    names = {"wid": "hidden_sizes", "ks": "kernel_sizes", "stride": "strides"}
    arguments: dict[str, Any] = {ours: backbone[name] for name, ours in names.items() if name in backbone}
    names = {"expan": "expansions", "dep": "depths", "group": "groups", "att": "has_attention"}
    arguments |= {ours: backbone[name][1:] for name, ours in names.items() if name in backbone}
    if "act" in backbone:
        arguments["stage_acts"] = [activation_name(name) for name in backbone["act"]]
    return ViPNASMobileNetV3BackboneConfig(batch_norm_eps=batch_norm_eps(backbone), **arguments)
