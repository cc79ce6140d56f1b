"""Residual blocks (He et al., 2015, https://arxiv.org/abs/1512.03385)."""

import re
from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn
from transformers.activations import ACT2FN

from hfpose.models.shared.conversion import RenameRules
from hfpose.models.shared.convolution import ConvNormAct

# Output channels of a block relative to those of its inner convolutions.
EXPANSIONS = {"basic": 1, "bottleneck": 4}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or one between two of size 1 (bottleneck), and a shortcut around them.

    Args:
        channels: channels inside; the output has `EXPANSIONS` times as many.
        block_type: `"basic"` or `"bottleneck"`.
        stride: of the first 3x3 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        block_type: str = "basic",
        stride: int = 1,
        hidden_act: str = "relu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        out_channels = channels * EXPANSIONS[block_type]
        kernels, strides = ((1, 3, 1), (1, stride, 1)) if block_type == "bottleneck" else ((3, 3), (stride, 1))
        sizes = [in_channels, *[channels] * (len(kernels) - 1), out_channels]
        acts = [*[hidden_act] * (len(kernels) - 1), "linear"]
        self.layers = nn.Sequential(
            *(
                ConvNormAct(*size, kernel, step, hidden_act=act, norm_eps=norm_eps)
                for size, kernel, step, act in zip(pairwise(sizes), kernels, strides, acts, strict=True)
            )
        )
        self.shortcut = make_shortcut(in_channels, out_channels, stride, norm_eps)
        self.activation = ACT2FN[hidden_act]

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.layers(hidden_state) + self.shortcut(hidden_state))


def make_shortcut(in_channels: int, out_channels: int, stride: int, norm_eps: float) -> nn.Module:
    """What a block's input goes through to be added to its output: a 1x1 convolution where they differ in shape."""
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return ConvNormAct(in_channels, out_channels, 1, stride, hidden_act=None, norm_eps=norm_eps)


def named_layer(target: str) -> Callable[[re.Match[str]], str]:
    """Replacement by `target` and the part, convolution or normalization, that the first group of the match names or counts."""
    parts = {"conv": "conv", "bn": "norm", "0": "conv", "1": "norm"}
    return lambda match: f"{target}.{parts[match[1]]}."


def layer_of_pair(match: re.Match[str]) -> str:
    """`.0.` and `.1.` of a convolution and its normalization."""
    return f"{match[1]}.{('conv', 'norm')[int(match[2])]}."


# Reference name -> our name.
RESIDUAL_RENAMES: RenameRules = (
    (r"(\.\d+)\.conv([123])\.(?=weight)", lambda match: f"{match[1]}.layers.{int(match[2]) - 1}.conv."),
    (r"(\.\d+)\.bn([123])\.", lambda match: f"{match[1]}.layers.{int(match[2]) - 1}.norm."),
    (r"\.downsample\.", ".shortcut."),
    (r"(\.shortcut)\.([01])\.", layer_of_pair),
    (r"\.bn\.", ".norm."),
)
