"""Heads of transposed convolutions, and what the reference says of them.

Source: Xiao et al., 2018, https://arxiv.org/abs/1804.06208; `mmpose.models.heads.HeatmapHead` and `ViPNASHead`.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from hfpose.errors import ConfigError
from hfpose.models.shared.configuration import EstimatorConfig, Numbers
from hfpose.models.shared.conversion import RenameRules, expect_settings
from hfpose.models.shared.convolution import DECONV_PADDINGS, ConvNormAct, deconvolutions

# Channels, kernel sizes and groups of the layers that a head has unless its config says otherwise.
DECONVOLUTIONS = {
    "HeatmapHead": ((256, 256, 256), (4, 4, 4), ()),
    "ViPNASHead": ((144, 144, 144), (4, 4, 4), (16, 16, 16)),
    "CPMHead": ((), (), ()),
}


class HeatmapHeadConfig(EstimatorConfig):
    """Configuration of a model with a backbone, by default ResNet-50, and a [`HeatmapHead`]; see [`EstimatorConfig`].

    Args:
        image_size: height and width of a crop in pixels.
        deconv_channels: channels of the head's transposed convolutions, each of which doubles the resolution.
        deconv_kernel_sizes: their sizes: 2, 3 or 4.
        deconv_groups: their groups; empty for 1.
        conv_channels: channels of the head's convolutions after them.
        conv_kernel_sizes: their sizes.
        final_kernel_size: size of the convolution that gives each keypoint its map; 0 for no such convolution.
        hidden_act: activation of the head.
    """

    default_backbone = {"model_type": "resnet_backbone"}

    image_size: list[int] | tuple[int, int] = (256, 192)
    deconv_channels: Numbers = (256, 256, 256)
    deconv_kernel_sizes: Numbers = (4, 4, 4)
    deconv_groups: Numbers = ()
    conv_channels: Numbers = ()
    conv_kernel_sizes: Numbers = ()
    final_kernel_size: int = 1
    hidden_act: str = "relu"


class HeatmapHead(nn.Module):
    """From a feature map to heatmaps.

    Args:
        num_maps: number of heatmaps, where a last convolution gives them.
    """

    def __init__(self, config: HeatmapHeadConfig, in_channels: int, num_maps: int) -> None:
        super().__init__()
        act = config.hidden_act
        self.deconvolutions = deconvolutions(
            in_channels, config.deconv_channels, config.deconv_kernel_sizes, config.deconv_groups, hidden_act=act
        )
        channels = [in_channels, *config.deconv_channels][-1]
        sizes = zip(pairwise([channels, *config.conv_channels]), config.conv_kernel_sizes, strict=True)
        self.convolutions = nn.Sequential(
            *(ConvNormAct(*size, kernel, hidden_act=act, bias=True) for size, kernel in sizes)
        )
        channels, kernel = [channels, *config.conv_channels][-1], config.final_kernel_size
        self.heatmaps = nn.Conv2d(channels, num_maps, kernel, padding=(kernel - 1) // 2) if kernel else nn.Identity()

    def forward(self, feature_map: Tensor) -> Tensor:
        return self.heatmaps(self.convolutions(self.deconvolutions(feature_map)))


def _layer(match: re.Match[str]) -> str:
    """The head counts convolutions, normalizations and activations in one row."""
    layer, part = divmod(int(match[3]), 3)
    return f"{match[1]}{match[2]}olutions.{layer}.{('conv', 'norm')[part]}."


HEATMAP_HEAD_RENAMES: RenameRules = (
    (r"^(head\.(?:stages\.\d+\.)?)((?:de)?conv)_layers\.(\d+)\.", _layer),
    (r"^head\.final_layer\.(?=\w+$)", "head.heatmaps."),
)


def heatmap_head_arguments(head: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Configuration arguments for the layers of a head.

    Args:
        kind: one of `DECONVOLUTIONS`, which tells the layers that a head has unless its settings say otherwise.
    """
    final_layer = last_convolution(head)
    kernel = final_layer["kernel_size"]
    if kernel:
        expect_settings(f"{head['type']}.final_layer", final_layer, {"padding": (kernel - 1) // 2})
    arguments: dict[str, Any] = {"final_kernel_size": kernel}
    *deconvolutions, groups = DECONVOLUTIONS[kind]
    defaults: dict[str, Any] = {"deconv": deconvolutions, "conv": ((), ())}
    for layer, (default_channels, default_kernels) in defaults.items():
        channels = head.get(f"{layer}_out_channels", default_channels) or ()
        kernels = (head.get(f"{layer}_kernel_sizes", default_kernels) or ()) if channels else ()
        _expect_one_for_each(head["type"], f"{layer}_out_channels", channels, f"{layer}_kernel_sizes", kernels)
        arguments |= {f"{layer}_channels": list(channels), f"{layer}_kernel_sizes": list(kernels)}
    if groups and arguments["deconv_channels"]:
        channels, given = arguments["deconv_channels"], list(head.get("deconv_num_groups", groups))
        _expect_one_for_each(head["type"], "deconv_out_channels", channels, "deconv_num_groups", given)
        arguments["deconv_groups"] = given
    if unknown := set(arguments["deconv_kernel_sizes"]) - set(DECONV_PADDINGS):
        raise ConfigError(f"HeatmapHead.deconv_kernel_sizes holds {sorted(unknown)}; only 2, 3 and 4 are supported.")
    return arguments


def _expect_one_for_each(head: str, what: str, layers: Any, setting: str, given: Any) -> None:
    if len(layers) != len(given):
        raise ConfigError(
            f"{head} has {len(layers)} {what} but {len(given)} {setting}; expected one number for each layer."
        )


def last_convolution(head: Mapping[str, Any]) -> dict[str, Any]:
    """`kernel_size` and `padding` of the last convolution of the reference's `HeatmapHead`; 0 and 0 if it has none."""
    final_layer = head.get("final_layer", {})
    return {"kernel_size": 0 if final_layer is None else 1, "padding": 0} | dict(final_layer or {})
