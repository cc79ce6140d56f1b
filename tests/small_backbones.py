"""A small configuration of every backbone and its variants, for the tests that are the same for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoBackbone, PreTrainedConfig, PreTrainedModel, SwinConfig

from hfpose.models.backbones.alexnet import AlexNetBackboneConfig
from hfpose.models.backbones.cpm import CPMBackboneConfig
from hfpose.models.backbones.csp_darknet import CSPDarknetBackboneConfig
from hfpose.models.backbones.cspnext import CSPNeXtBackboneConfig
from hfpose.models.backbones.hourglass import HourglassBackboneConfig
from hfpose.models.backbones.hrformer import HRFormerBackboneConfig
from hfpose.models.backbones.hrnet import HRNetBackboneConfig
from hfpose.models.backbones.lite_hrnet import LiteHRNetBackboneConfig
from hfpose.models.backbones.mobilenet_v2 import MobileNetV2BackboneConfig
from hfpose.models.backbones.mspn import MSPNBackboneConfig
from hfpose.models.backbones.pvt import PVTBackboneConfig
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.backbones.rsn import RSNBackboneConfig
from hfpose.models.backbones.shufflenet_v1 import ShuffleNetV1BackboneConfig
from hfpose.models.backbones.shufflenet_v2 import ShuffleNetV2BackboneConfig
from hfpose.models.backbones.vgg import VGGBackboneConfig
from hfpose.models.backbones.vipnas_mobilenet_v3 import ViPNASMobileNetV3BackboneConfig
from hfpose.models.backbones.vipnas_resnet import ViPNASResNetBackboneConfig

_CSP: dict[str, Any] = {"depth_multiplier": 0.167, "width_multiplier": 0.125, "out_indices": [2, 3, 4]}


def _resnet(**variant: Any) -> PreTrainedConfig:
    return ResNetBackboneConfig(
        stem_channels=8, base_channels=8, depths=(1, 2, 1, 1), out_indices=[1, 2, 3, 4], **variant
    )


_HRNET: dict[str, Any] = {
    "stem_channels": 8,
    "stage_modules": (1, 1, 2, 1),
    "stage_blocks": ((1,), (1,) * 2, (1,) * 3, (1,) * 4),
    "stage_channels": ((4,), (8, 16), (8, 16, 24), (8, 16, 24, 32)),
}
_ALL_BRANCHES: dict[str, Any] = {"multiscale_output": True, "out_indices": [1, 2, 3, 4]}


def _shufflenet_v2() -> PreTrainedConfig:
    return ShuffleNetV2BackboneConfig(depths=(1, 2), hidden_sizes=(16, 24, 32), out_indices=[0, 1, 2, 3])


def _vgg(**variant: Any) -> PreTrainedConfig:
    return VGGBackboneConfig(depths=(1, 2), hidden_sizes=(4, 8), out_indices=[1, 2], **variant)


def _vipnas_mobilenet_v3() -> PreTrainedConfig:
    return ViPNASMobileNetV3BackboneConfig(
        hidden_sizes=(4, 4, 8), expansions=(1, 2), depths=(1, 2), kernel_sizes=(3, 3, 5), groups=(2, 4),
        has_attention=(True, False), strides=(2, 1, 2), stage_acts=("hardswish", "relu", "hardswish"),
        out_indices=[0, 1, 2],
    )  # fmt: skip


def _vipnas_resnet() -> PreTrainedConfig:
    return ViPNASResNetBackboneConfig(
        hidden_sizes=(4, 8, 16), expansions=(1, 2), depths=(1, 2), kernel_sizes=(7, 3, 5), groups=(2, 4),
        has_attention=(True, False), strides=(1, 2), out_indices=[1, 2],
    )  # fmt: skip


_PVT_V2: dict[str, Any] = {
    "has_position_embeddings": False, "depthwise_feed_forward": True, "has_output_norms": True,
    "patch_sizes": (7, 3), "paddings": (3, 1),
}  # fmt: skip


def _pvt(**variant: Any) -> PreTrainedConfig:
    sizes: dict[str, Any] = {"embed_size": 8, "num_heads": (1, 2), "depths": (1, 2), "mlp_ratios": (2, 2)}
    sizes |= {"patch_sizes": (4, 2), "strides": (4, 2), "paddings": (0, 0), "reduction_ratios": (2, 1)}
    return PVTBackboneConfig(**sizes | variant, out_indices=[1, 2])


# Each with the strides of its feature maps (AlexNet leaves borders out).
SMALL_BACKBONES: dict[str, tuple[Callable[[], PreTrainedConfig], tuple[int, ...]]] = {
    "alexnet": (lambda: AlexNetBackboneConfig(hidden_sizes=(8,) * 5, out_indices=[1, 2]), (19, 47)),
    "csp_darknet": (lambda: CSPDarknetBackboneConfig(**_CSP), (8, 16, 32)),
    "cspnext": (lambda: CSPNeXtBackboneConfig(**_CSP), (8, 16, 32)),
    "mobilenet_v2": (
        lambda: MobileNetV2BackboneConfig(width_multiplier=0.25, out_indices=[2, 3, 5, 8]),
        (4, 8, 16, 32),
    ),
    "cpm": (lambda: CPMBackboneConfig(num_belief_stages=3, feature_channels=8, out_indices=[1, 2, 3]), (8, 8, 8)),
    "hourglass": (
        lambda: HourglassBackboneConfig(
            num_stacks=2, level_channels=(256, 8, 12), level_blocks=(1, 2, 1), feature_channels=8, out_indices=[1, 2]
        ),
        (4, 4),
    ),
    "hrformer": (
        lambda: HRFormerBackboneConfig(
            **_HRNET, **_ALL_BRANCHES, stage_heads=((2,), (1, 2), (1, 2, 4), (1, 2, 4, 8)), drop_path_rate=0.0
        ),
        (4, 8, 16, 32),
    ),
    "hrnet": (lambda: HRNetBackboneConfig(**_HRNET), (4,)),
    "hrnet-v2": (lambda: HRNetBackboneConfig(**_HRNET, **_ALL_BRANCHES, upsample_mode="bilinear"), (4, 8, 16, 32)),
    "lite_hrnet": (
        lambda: LiteHRNetBackboneConfig(
            stem_channels=8, stage_modules=(1, 1), stage_blocks=(1, 2), stage_channels=((8, 16), (8, 16, 32))
        ),
        (4,),
    ),
    "mspn": (
        lambda: MSPNBackboneConfig(
            num_networks=2, depths=(1, 2), stem_channels=8, feature_channels=8, out_indices=[1, 2, 3, 4]
        ),
        (8, 4, 8, 4),
    ),
    "rsn": (
        lambda: RSNBackboneConfig(
            num_networks=2,
            depths=(1, 2),
            stem_channels=8,
            feature_channels=8,
            branch_width=4,
            out_indices=[1, 2, 3, 4],
        ),
        (8, 4, 8, 4),
    ),
    "resnet-basic": (lambda: _resnet(block_type="basic"), (4, 8, 16, 32)),
    "resnet-bottleneck": (_resnet, (4, 8, 16, 32)),
    "resnet-v1d": (lambda: _resnet(deep_stem=True, average_shortcut=True), (4, 8, 16, 32)),
    "resnet-se": (lambda: _resnet(squeeze_ratio=4), (4, 8, 16, 32)),
    "resnext": (lambda: _resnet(groups=4, group_width=2), (4, 8, 16, 32)),
    "resnest": (lambda: _resnet(deep_stem=True, average_shortcut=True, attention_splits=2), (4, 8, 16, 32)),
    "resnest-of-one-split": (lambda: _resnet(attention_splits=1), (4, 8, 16, 32)),
    "scnet": (lambda: _resnet(self_calibrated=True), (4, 8, 16, 32)),
    "shufflenet_v1": (
        lambda: ShuffleNetV1BackboneConfig(groups=2, width_multiplier=0.25, depths=(1, 2), out_indices=[0, 1, 2]),
        (4, 8, 16),
    ),
    "shufflenet_v2": (_shufflenet_v2, (4, 8, 16, 16)),
    "pvt": (_pvt, (4, 8)),
    "pvt_v2": (lambda: _pvt(**_PVT_V2), (4, 8)),
    "swin": (
        lambda: SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(2, 4), window_size=5, out_indices=[1, 2]),
        (4, 8),
    ),
    "vgg": (_vgg, (2, 4)),
    "vgg-without-norms": (lambda: _vgg(has_norms=False, last_pooling=False), (2, 2)),
    "vipnas_mobilenet_v3": (_vipnas_mobilenet_v3, (2, 2, 4)),
    "vipnas_resnet": (_vipnas_resnet, (4, 8)),
}


def small_backbone(name: str) -> PreTrainedModel:
    """The backbone with random weights, the same every time."""
    torch.manual_seed(0)
    return AutoBackbone.from_config(SMALL_BACKBONES[name][0]()).eval()
