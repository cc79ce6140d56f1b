"""Blocks that several families are made of."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from hfpose.models.shared.conversion import RenameRules

# Kernel size of a transposed convolution of stride 2 -> padding and output padding with which it doubles the
# resolution.
DECONV_PADDINGS = {2: (0, 0), 3: (1, 1), 4: (1, 0)}


class Swish(nn.Module):
    """SiLU in two steps, as `mmcv.cnn.bricks.Swish`.

    It rounds unlike `torch.nn.SiLU`, which moves boxes that are decoded through an exponential.
    """

    def forward(self, hidden_state: Tensor) -> Tensor:
        return hidden_state * torch.sigmoid(hidden_state)


class SteepHardSigmoid(nn.Module):
    """Rises from 0 at -1 to 1 at 1, as `mmcv.cnn.bricks.HSigmoid(bias=1, divisor=2)`."""

    def forward(self, hidden_state: Tensor) -> Tensor:
        return ((hidden_state + 1) / 2).clamp(0, 1)


_ACTIVATIONS = {"swish": Swish, "steep_hard_sigmoid": SteepHardSigmoid}


def activation_layer(name: str | None) -> nn.Module:
    """The activation that a configuration names; None for none."""
    if name is None:
        return nn.Identity()
    return _ACTIVATIONS[name]() if name in _ACTIVATIONS else ACT2FN[name]


class ConvNormAct(nn.Module):
    """Convolution, batch normalization, activation if any; "same" padding for odd kernels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        hidden_act: str | None = "silu",
        norm_eps: float = 1e-5,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=bias
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=norm_eps)
        self.activation = activation_layer(hidden_act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(hidden_state)))


class DeconvNormAct(nn.Module):
    """Transposed convolution that doubles the resolution, batch normalization, activation; kernels of 2, 3 or 4."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, groups: int = 1, hidden_act: str = "relu"
    ) -> None:
        super().__init__()
        padding, output_padding = DECONV_PADDINGS[kernel_size]
        self.conv = nn.ConvTranspose2d(
            in_channels, out_channels, kernel_size, 2, padding, output_padding, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels)
        self.activation = activation_layer(hidden_act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(hidden_state)))


def deconvolutions(
    in_channels: int,
    channels: Sequence[int],
    kernel_sizes: Sequence[int],
    groups: Sequence[int] = (),
    hidden_act: str = "relu",
) -> nn.Sequential:
    """`DeconvNormAct`s in a row, one for each entry of `channels`."""
    sizes = zip(pairwise([in_channels, *channels]), kernel_sizes, groups or [1] * len(channels), strict=True)
    return nn.Sequential(*(DeconvNormAct(*size, kernel, count, hidden_act) for size, kernel, count in sizes))


class SqueezeExcitation(nn.Module):
    """Scales each channel by what its mean, and those of all others, tell (https://arxiv.org/abs/1709.01507).

    Args:
        gate: activation of the scales.
    """

    def __init__(self, channels: int, hidden_channels: int, gate: str = "sigmoid") -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden_channels, 1)
        self.expand = nn.Conv2d(hidden_channels, channels, 1)
        self.gate = activation_layer(gate)

    def forward(self, hidden_state: Tensor) -> Tensor:
        # Not `mean`: it rounds unlike the reference's pooling, which deep networks of such layers amplify.
        scales = self.reduce(F.adaptive_avg_pool2d(hidden_state, 1)).relu()
        return hidden_state * self.gate(self.expand(scales))


class DepthwiseSeparableConv(nn.Module):
    """Depthwise, then pointwise convolution, each with its own normalization and activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        hidden_act: str = "silu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        act: dict[str, Any] = {"hidden_act": hidden_act, "norm_eps": norm_eps}
        self.depthwise = ConvNormAct(in_channels, in_channels, kernel_size, stride, in_channels, **act)
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, **act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(hidden_state))


def stacked(
    block: Callable[[int, int, int], nn.Module], in_channels: int, out_channels: int, depth: int, stride: int
) -> nn.Sequential:
    """Blocks in a row, made from their channels before and after and their stride, which only the first one has."""
    first, later = (in_channels, out_channels, stride), (out_channels, out_channels, 1)
    return nn.Sequential(*(block(*(later if index else first)) for index in range(depth)))


class MLP(nn.Module):
    """Fully connected layers with ReLU between them, for vectors (..., sizes[0])."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))

    def forward(self, hidden_state: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            hidden_state = layer(hidden_state).relu()
        return self.layers[-1](hidden_state)


def channel_shuffle(hidden_state: Tensor, groups: int) -> Tensor:
    """Channels (B, C, H, W) reordered so that each group's next to each other come from all groups."""
    return hidden_state.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def scaled_channels(channels: int, width_multiplier: float) -> int:
    """The nearest multiple of 8 to the scaled number of channels that is not below 90 % of it."""
    scaled = channels * width_multiplier
    nearest = max(8, int(scaled + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * scaled else nearest


def conv_layer(config: Any, use_depthwise: bool = False) -> Callable[..., nn.Module]:
    """The layer that a network is made of, with the `hidden_act` and the `batch_norm_eps` of its configuration.

    Args:
        use_depthwise: whether it is a `DepthwiseSeparableConv`, not a `ConvNormAct`.
    """
    kind = DepthwiseSeparableConv if use_depthwise else ConvNormAct
    return partial(kind, hidden_act=config.hidden_act, norm_eps=config.batch_norm_eps)


def conv_stack(config: Any, channels: Sequence[int], use_depthwise: bool = False) -> nn.Sequential:
    """3x3 layers one after the other, as before the predictions of a detection head, with these channels before,
    between and after them; see `conv_layer`."""
    conv = conv_layer(config, use_depthwise)
    return nn.Sequential(*(conv(*pair, 3) for pair in pairwise(channels)))


class DropPath(nn.Module):
    """Leaves an update out for some samples in training, and makes it as much larger for the others (stochastic depth,
    Huang et al., 2016, https://arxiv.org/abs/1603.09382).

    Args:
        rate: share of the samples whose update is left out.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, update: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return update
        keep = 1 - self.rate
        return update * update.new_empty(len(update), *[1] * (update.ndim - 1)).bernoulli_(keep) / (keep or 1)


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """For each block of each stage the share of samples that skip it in training, from 0 to `rate`."""
    rates = torch.linspace(0, rate, sum(depths), device="cpu").tolist()
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]


# Output channels of a block relative to those of its inner convolutions.
EXPANSIONS = {"basic": 1, "bottleneck": 4}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, or one between two of size 1 (bottleneck), and a shortcut around them (He et al., 2015,
    https://arxiv.org/abs/1512.03385).

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
    """Replacement by `target` and the part, convolution or normalization, that the first group of the match names or
    counts."""
    parts = {"conv": "conv", "bn": "norm", "0": "conv", "1": "norm"}
    return lambda match: f"{target}.{parts[match[1]]}."


def layer_of_pair(match: re.Match[str]) -> str:
    """`.0.` and `.1.` of a convolution and its normalization."""
    return f"{match[1]}.{('conv', 'norm')[int(match[2])]}."


def layer_in_row(match: re.Match[str]) -> str:
    """The layer and its part where convolutions and normalizations are counted in one row."""
    layer, part = divmod(int(match[2]), 2)
    return f"{match[1]}.{layer}.{('conv', 'norm')[part]}."


# Reference name -> our name.
RESIDUAL_RENAMES: RenameRules = (
    (r"(\.\d+)\.conv([123])\.(?=weight)", lambda match: f"{match[1]}.layers.{int(match[2]) - 1}.conv."),
    (r"(\.\d+)\.bn([123])\.", lambda match: f"{match[1]}.layers.{int(match[2]) - 1}.norm."),
    (r"\.downsample\.", ".shortcut."),
    (r"(\.shortcut)\.([01])\.", layer_of_pair),
    (r"\.bn\.", ".norm."),
)


def concatenate_branches(feature_maps: Sequence[Tensor]) -> Tensor:
    """Feature maps [(B, C, h, w), ...] as one (B, sum of C, h, w), all at the resolution of the first.

    Source: `mmpose.models.necks.FeatureMapProcessor` with `concat=True`.
    """
    size = feature_maps[0].shape[-2:]
    resized = (F.interpolate(feature_map, size=size, mode="bilinear") for feature_map in feature_maps[1:])
    return torch.cat((feature_maps[0], *resized), dim=1)
