"""ResNet as ViPNAS's search found it.

Source: Xu et al., 2021, https://arxiv.org/abs/2105.10154; `mmpose.models.backbones.ViPNAS_ResNet`. Global context
blocks are Cao et al., 2019, https://arxiv.org/abs/1904.11492.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, batch_norm_eps, expect_settings, out_indices
from hfpose.models.shared.convolution import activation_layer, conv_layer, make_shortcut, named_layer, stacked
from hfpose.models.shared.staged_backbone import StagedBackbone

MIN_CONTEXT_CHANNELS = 16
CONTEXT_REDUCTION = 16


@strict
class ViPNASResNetBackboneConfig(StagedBackboneConfig):
    """Configuration of [`ViPNASResNetBackbone`]. The first entry of `hidden_sizes` and `kernel_sizes` is that of the
    stem, the others are those of the stages; the other lists have no entry for the stem.

    Args:
        hidden_sizes: channels inside of the blocks.
        expansions: factors on them for the blocks' outputs.
        depths: blocks of each stage.
        kernel_sizes: of the convolution between two of size 1.
        groups: of it.
        has_attention: whether blocks end with a global context.
        strides: of the first block of each stage.
    """

    model_type = "vipnas_resnet_backbone"

    hidden_sizes: Numbers = (48, 80, 160, 304, 608)
    expansions: Numbers = (1, 1, 1, 1)
    depths: Numbers = (4, 6, 7, 3)
    kernel_sizes: Numbers = (7, 3, 5, 5, 5)
    groups: Numbers = (16, 16, 16, 16)
    has_attention: list[bool] | tuple[bool, ...] = (True, False, True, True)
    strides: Numbers = (1, 2, 2, 2)


class GlobalContext(nn.Module):
    """Adds to each cell of a feature map (B, C, H, W) what a weighted mean over all cells tells."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * max(1 / CONTEXT_REDUCTION, MIN_CONTEXT_CHANNELS / channels))
        self.mask = nn.Conv2d(channels, 1, 1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.norm = nn.LayerNorm([hidden, 1, 1])
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, hidden_state: Tensor) -> Tensor:
        weights = self.mask(hidden_state).flatten(2).softmax(2)  # (B, 1, H * W)
        context = (hidden_state.flatten(2) @ weights.transpose(1, 2))[..., None]
        return hidden_state + self.expand(self.norm(self.reduce(context)).relu())


class ViPNASResNetBlock(GradientCheckpointingLayer):
    """A grouped convolution between two of size 1, perhaps a global context, and a shortcut around them."""

    def __init__(
        self, config: ViPNASResNetBackboneConfig, stage: int, in_channels: int, out_channels: int, stride: int
    ) -> None:
        super().__init__()
        conv, act, eps = conv_layer(config), config.hidden_act, config.batch_norm_eps
        channels, kernel = config.hidden_sizes[stage + 1], config.kernel_sizes[stage + 1]
        self.layers = nn.Sequential(
            conv(in_channels, channels, 1),
            conv(channels, channels, kernel, stride, config.groups[stage]),
            conv(channels, out_channels, 1, hidden_act=None),
        )
        self.context = GlobalContext(out_channels) if config.has_attention[stage] else nn.Identity()
        self.shortcut = make_shortcut(in_channels, out_channels, stride, eps)
        self.activation = activation_layer(act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.context(self.layers(hidden_state)) + self.shortcut(hidden_state))


class ViPNASResNetBackbone(StagedBackbone):
    """The network; feature maps at strides 4 (stem), 4, 8, 16 and 32."""

    config: ViPNASResNetBackboneConfig
    _no_split_modules = ["ViPNASResNetBlock"]

    def __init__(self, config: ViPNASResNetBackboneConfig) -> None:
        super().__init__(config)
        channels = config.hidden_sizes[0]
        conv = conv_layer(config)(config.num_channels, channels, config.kernel_sizes[0], 2)
        self.stem = nn.Sequential(conv, nn.MaxPool2d(3, 2, padding=1))
        self.stages = nn.ModuleList()
        self.num_features = [channels]
        for stage, depth in enumerate(config.depths):
            width = config.hidden_sizes[stage + 1] * config.expansions[stage]
            block = partial(ViPNASResNetBlock, config, stage)
            self.stages.append(stacked(block, self.num_features[-1], width, depth, config.strides[stage]))
            self.num_features.append(width)
        self.post_init()


RENAMES: RenameRules = (
    (r"^(conv|bn)1\.", named_layer("stem.0")),
    (r"^layer(\d+)\.", lambda match: f"stages.{int(match[1]) - 1}."),
    (r"\.downsample\.([01])\.", named_layer(".shortcut")),
    (r"\.(conv|bn)([123])\.", lambda match: named_layer(f".layers.{int(match[2]) - 1}")(match)),
    (r"\.attention\.conv_mask\.", ".context.mask."),
    (r"\.attention\.channel_add_conv\.0\.", ".context.reduce."),
    (r"\.attention\.channel_add_conv\.1\.", ".context.norm."),
    (r"\.attention\.channel_add_conv\.3\.", ".context.expand."),
)


def config_from_reference(backbone: Mapping[str, Any]) -> ViPNASResNetBackboneConfig:
    """Configuration for the reference's `ViPNAS_ResNet` settings."""
    num_stages = backbone.get("num_stages", 4)
    expect_settings(
        "ViPNAS_ResNet",
        backbone,
        {"depth": 50, "style": "pytorch", "deep_stem": False, "avg_down": False, "conv_cfg": None}
        | {"dilations": (1,) * num_stages},
    )
    default = ViPNASResNetBackboneConfig()
    arguments = out_indices(backbone, (3,))
    for name, ours in {"wid": "hidden_sizes", "ks": "kernel_sizes"}.items():
        arguments[ours] = list(backbone.get(name, getattr(default, ours)))[: num_stages + 1]
    for name, ours in {"expan": "expansions", "dep": "depths", "group": "groups", "att": "has_attention"}.items():
        given = backbone[name][1:] if name in backbone else getattr(default, ours)
        arguments[ours] = list(given)[:num_stages]
    return ViPNASResNetBackboneConfig(
        num_channels=backbone.get("in_channels", 3),
        strides=tuple(backbone.get("strides", default.strides)),
        batch_norm_eps=batch_norm_eps(backbone),
        **arguments,
    )
