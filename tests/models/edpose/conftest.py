"""The reference's settings of an ED-Pose that is small enough for every test, and our model."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from hfpose.models.edpose.convert_edpose import config_from_reference, image_processor_from_reference
from hfpose.models.edpose.modeling_edpose import EDPoseForPoseEstimation

_ATTENTION = {"embed_dims": 32, "num_heads": 4, "batch_first": True}
REFERENCE: dict[str, Any] = {
    "backbone": {"type": "ResNet", "depth": 18, "base_channels": 4, "stem_channels": 4, "out_indices": [1, 2, 3]},
    "neck": {
        "type": "ChannelMapper",
        "in_channels": [8, 16, 32],
        "kernel_size": 1,
        "out_channels": 32,
        "act_cfg": None,
        "norm_cfg": {"type": "GroupNorm", "num_groups": 4},
        "num_outs": 4,
    },
    "head": {
        "type": "EDPoseHead",
        "num_queries": 40,
        "num_feature_levels": 4,
        "num_keypoints": 17,
        "as_two_stage": True,
        "encoder": {
            "num_layers": 1,
            "layer_cfg": {"self_attn_cfg": _ATTENTION, "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 64}},
        },
        "decoder": {
            "num_layers": 3,
            "embed_dims": 32,
            "layer_cfg": {
                "self_attn_cfg": _ATTENTION,
                "cross_attn_cfg": _ATTENTION,
                "ffn_cfg": {"embed_dims": 32, "feedforward_channels": 64},
            },
            "query_dim": 4,
            "num_group": 5,
            "num_box_decoder_layers": 2,
        },
        "out_head": {"num_classes": 2},
        "positional_encoding": {"num_pos_feats": 16, "temperatureH": 20, "temperatureW": 20, "normalize": True},
        "data_decoder": {"type": "EDPoseLabel", "num_select": 4, "num_keypoints": 17},
    },
    "data_preprocessor": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True},
    "test_cfg": {"multiscale_test": False, "flip_test": False},
    "test_pipeline": [
        {"type": "BottomupRandomChoiceResize", "scales": [[96, 160]], "keep_ratio": True, "backend": "pillow"}
    ],
}


@pytest.fixture
def reference() -> dict[str, Any]:
    return copy.deepcopy(REFERENCE)


@pytest.fixture
def model() -> EDPoseForPoseEstimation:
    torch.manual_seed(0)
    model = EDPoseForPoseEstimation(config_from_reference(REFERENCE, None))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


@pytest.fixture
def processor() -> Any:
    return image_processor_from_reference(REFERENCE)
