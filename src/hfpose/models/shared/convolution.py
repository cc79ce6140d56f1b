"""Convolution blocks of the CSP families."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN


class Swish(nn.Module):
    """SiLU in two steps, as `mmcv.cnn.bricks.Swish`.

    It rounds unlike `torch.nn.SiLU`, which moves boxes that are decoded through an exponential.
    """

    def forward(self, hidden_state: Tensor) -> Tensor:
        return hidden_state * torch.sigmoid(hidden_state)


def activation_layer(name: str | None) -> nn.Module:
    """The activation that a configuration names; None for none."""
    if name is None:
        return nn.Identity()
    return Swish() if name == "swish" else ACT2FN[name]


class ConvNormAct(nn.Module):
    """Convolution without bias, batch normalization, activation if any; "same" padding for odd kernels."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        hidden_act: str | None = "silu",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=norm_eps)
        self.activation = activation_layer(hidden_act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.norm(self.conv(hidden_state)))


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
        self.depthwise = ConvNormAct(
            in_channels, in_channels, kernel_size, stride, in_channels, hidden_act=hidden_act, norm_eps=norm_eps
        )
        self.pointwise = ConvNormAct(in_channels, out_channels, 1, hidden_act=hidden_act, norm_eps=norm_eps)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(hidden_state))


def conv_block(use_depthwise: bool) -> type[ConvNormAct] | type[DepthwiseSeparableConv]:
    """The block that a depthwise or a plain variant of a network is made of."""
    return DepthwiseSeparableConv if use_depthwise else ConvNormAct


def conv_stack(channels: int, depth: int, use_depthwise: bool, *, hidden_act: str, norm_eps: float) -> nn.Sequential:
    """3x3 blocks one after the other, as before the predictions of a detection head."""
    conv = conv_block(use_depthwise)
    return nn.Sequential(
        *(conv(channels, channels, 3, hidden_act=hidden_act, norm_eps=norm_eps) for _ in range(depth))
    )
