"""A heatmap estimator small enough for every test, in our settings and in the reference's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.heatmap.modeling_heatmap import HeatmapForPoseEstimation

SIZES: dict[str, Any] = {
    "image_size": (64, 64),
    "deconv_channels": (8, 8, 8),
    "deconv_kernel_sizes": (4, 4, 4),
    "num_labels": 5,
}


def small_backbone_config(**changes: Any) -> ResNetBackboneConfig:
    sizes: dict[str, Any] = {"stem_channels": 4, "base_channels": 4, "depths": (1, 1, 1, 1), "block_type": "basic"}
    return ResNetBackboneConfig(**sizes | changes)


@pytest.fixture
def make_model() -> Callable[..., HeatmapForPoseEstimation]:
    """Makes a small model, with changed settings where some are given."""

    def make(backbone: dict[str, Any] | None = None, **changes: Any) -> HeatmapForPoseEstimation:
        torch.manual_seed(0)
        config = HeatmapConfig(backbone_config=small_backbone_config(**backbone or {}), **SIZES | changes)
        model = HeatmapForPoseEstimation(config)
        for name, tensor in model.named_parameters():  # large enough that every part matters
            if tensor.ndim > 1:
                torch.nn.init.normal_(tensor, std=(1.5 / tensor[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                torch.nn.init.normal_(tensor, std=0.05)
        return model.eval()

    return make


@pytest.fixture
def small_reference() -> dict[str, Any]:
    """The reference's settings of a small model."""
    reference = {
        "backbone": {"type": "ResNet", "depth": 18, "stem_channels": 4, "base_channels": 4},
        "neck": None,
        "head": {
            "type": "HeatmapHead",
            "in_channels": 32,
            "out_channels": 5,
            "deconv_out_channels": [8, 8, 8],
            "decoder": {"type": "MSRAHeatmap", "input_size": [64, 64], "heatmap_size": [16, 16], "sigma": 2},
        },
        "data_preprocessor": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True},
        "test_cfg": {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": True},
    }
    return copy.deepcopy(reference)
