"""A ViTPose small enough for every test, in transformers' settings and in the reference's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation


@pytest.fixture
def make_model() -> Callable[..., VitPoseForPoseEstimation]:
    """Makes a small model, with changed settings of the backbone where some are given."""

    def make(**changes: Any) -> VitPoseForPoseEstimation:
        torch.manual_seed(0)
        sizes: dict[str, Any] = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "out_indices": [2],
        }
        sizes |= {"image_size": (64, 48), "layer_norm_eps": 1e-6, "initializer_range": 0.2}
        config = VitPoseConfig(
            backbone_config=VitPoseBackboneConfig(**sizes | changes), num_labels=17, initializer_range=0.2
        )
        return VitPoseForPoseEstimation(config).eval()

    return make


@pytest.fixture
def reference() -> dict[str, Any]:
    """The reference's settings of a small model with the simple head."""
    return {
        "backbone": {
            "type": "mmpretrain.VisionTransformer",
            "arch": {"embed_dims": 32, "num_layers": 2, "num_heads": 4, "feedforward_channels": 64},
            "img_size": [64, 48],
            "patch_size": 16,
            "with_cls_token": False,
            "out_type": "featmap",
            "patch_cfg": {"padding": 2},
        },
        "neck": {"type": "FeatureMapProcessor", "scale_factor": 4.0, "apply_relu": True},
        "head": {
            "type": "HeatmapHead",
            "in_channels": 32,
            "out_channels": 5,
            "deconv_out_channels": [],
            "deconv_kernel_sizes": [],
            "final_layer": {"kernel_size": 3, "padding": 1},
            "decoder": {"type": "UDPHeatmap", "input_size": [48, 64], "heatmap_size": [12, 16], "sigma": 2},
        },
        "data_preprocessor": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True},
        "test_cfg": {"flip_test": True, "flip_mode": "heatmap", "shift_heatmap": False},
    }


@pytest.fixture
def classic_reference(reference: dict[str, Any]) -> dict[str, Any]:
    """The same with the classic head."""
    del reference["neck"], reference["head"]["final_layer"]
    reference["head"] |= {"deconv_out_channels": [256, 256], "deconv_kernel_sizes": [4, 4]}
    return reference
