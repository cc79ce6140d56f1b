"""An HRNet small enough for every test, in our settings and in the reference's."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

from hfpose.models.hrnet.configuration_hrnet import HRNetConfig
from hfpose.models.hrnet.modeling_hrnet import HRNetForPoseEstimation

SIZES: dict[str, Any] = {
    "image_size": (64, 64),
    "stage_modules": (1, 1, 2, 2),
    "stage_blocks": ((1,), (1, 2), (1, 1, 1), (1, 1, 1, 1)),
    "stage_channels": ((4,), (4, 8), (4, 8, 12), (4, 8, 12, 16)),
    "num_labels": 5,
}


@pytest.fixture
def make_model() -> Callable[..., HRNetForPoseEstimation]:
    """Makes a small model, with changed settings where some are given."""

    def make(**changes: Any) -> HRNetForPoseEstimation:
        torch.manual_seed(0)
        model = HRNetForPoseEstimation(HRNetConfig(**SIZES | changes))
        for name, tensor in model.named_parameters():  # large enough that every part matters
            if tensor.ndim > 1:
                torch.nn.init.normal_(tensor, std=(1.5 / tensor[0].numel()) ** 0.5)
            elif name.endswith("bias"):
                torch.nn.init.normal_(tensor, std=0.05)
        return model.eval()

    return make


@pytest.fixture
def small_reference() -> dict[str, Any]:
    """The reference's settings of the small model."""

    def stage(index: int) -> dict[str, Any]:
        return {
            "num_modules": SIZES["stage_modules"][index],
            "num_branches": index + 1,
            "block": "BASIC" if index else "BOTTLENECK",
            "num_blocks": list(SIZES["stage_blocks"][index]),
            "num_channels": list(SIZES["stage_channels"][index]),
        }

    reference = {
        "backbone": {"type": "HRNet", "in_channels": 3, "extra": {f"stage{i + 1}": stage(i) for i in range(4)}},
        "head": {
            "type": "HeatmapHead",
            "in_channels": 4,
            "out_channels": 5,
            "deconv_out_channels": None,
            "decoder": {"type": "MSRAHeatmap", "input_size": [64, 64], "heatmap_size": [16, 16], "sigma": 2},
        },
        "data_preprocessor": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True},
        "test_cfg": {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": True},
    }
    return copy.deepcopy(reference)
