"""A small configuration of every backbone and its variants, for the tests that are the same for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoBackbone, PreTrainedConfig, PreTrainedModel

from hfpose.models.backbones.csp_darknet import CSPDarknetBackboneConfig
from hfpose.models.backbones.cspnext import CSPNeXtBackboneConfig
from hfpose.models.backbones.resnet import ResNetBackboneConfig

_CSP: dict[str, Any] = {"depth_multiplier": 0.167, "width_multiplier": 0.125, "out_indices": [2, 3, 4]}


def _resnet(**variant: Any) -> PreTrainedConfig:
    return ResNetBackboneConfig(
        stem_channels=8, base_channels=8, depths=(1, 2, 1, 1), out_indices=[1, 2, 3, 4], **variant
    )


# Each with the strides of its feature maps.
SMALL_BACKBONES: dict[str, tuple[Callable[[], PreTrainedConfig], tuple[int, ...]]] = {
    "csp_darknet": (lambda: CSPDarknetBackboneConfig(**_CSP), (8, 16, 32)),
    "cspnext": (lambda: CSPNeXtBackboneConfig(**_CSP), (8, 16, 32)),
    "resnet-basic": (lambda: _resnet(block_type="basic"), (4, 8, 16, 32)),
    "resnet-bottleneck": (_resnet, (4, 8, 16, 32)),
    "resnet-v1d": (lambda: _resnet(deep_stem=True, average_shortcut=True), (4, 8, 16, 32)),
    "resnet-se": (lambda: _resnet(squeeze_ratio=4), (4, 8, 16, 32)),
    "resnext": (lambda: _resnet(groups=4, group_width=2), (4, 8, 16, 32)),
    "resnest": (lambda: _resnet(deep_stem=True, average_shortcut=True, attention_splits=2), (4, 8, 16, 32)),
    "resnest-of-one-split": (lambda: _resnet(attention_splits=1), (4, 8, 16, 32)),
    "scnet": (lambda: _resnet(self_calibrated=True), (4, 8, 16, 32)),
}


def small_backbone(name: str) -> PreTrainedModel:
    """The backbone with random weights, the same every time."""
    torch.manual_seed(0)
    return AutoBackbone.from_config(SMALL_BACKBONES[name][0]()).eval()
