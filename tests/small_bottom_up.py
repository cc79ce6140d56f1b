"""The reference's settings of bottom-up models that are small enough for every test, and our models for them."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from hfpose.keypoints import KeypointSchema
from networks import settle_normalizations

# A triangle of a nose and two ears.
SCHEMA = KeypointSchema("triangle", ("nose", "left_ear", "right_ear"), ((0, 1), (0, 2), (1, 2)), (0, 2, 1))

_CODEC = {"input_size": [64, 64], "heatmap_size": [16, 16]}
_HEADS: dict[str, dict[str, Any]] = {
    "dekr": {
        "type": "DEKRHead",
        "in_channels": 40,
        "num_keypoints": 3,
        "num_heatmap_filters": 8,
        "num_displacement_filters_per_keypoint": 5,
        "displacement_loss": {"type": "SoftWeightSmoothL1Loss", "beta": 1 / 9, "loss_weight": 0.002},
        "decoder": _CODEC | {"type": "SPR", "sigma": [4, 2], "generate_keypoint_heatmaps": True},
        "rescore_cfg": {"in_channels": 12, "norm_indexes": [0, 1]},
    },
    "cid": {
        "type": "CIDHead",
        "in_channels": 40,
        "num_keypoints": 3,
        "gfd_channels": 8,
        "decoupled_heatmap_loss": {"type": "FocalHeatmapLoss", "loss_weight": 4.0},
        "contrastive_loss": {"type": "InfoNCELoss", "temperature": 0.05},
        "decoder": _CODEC | {"type": "DecoupledHeatmap"},
    },
    "associative_embedding": {
        "type": "AssociativeEmbeddingHead",
        "in_channels": 4,
        "num_keypoints": 3,
        "deconv_out_channels": None,
        "tag_loss": {"type": "AssociativeEmbeddingLoss", "loss_weight": 0.001},
        "decoder": _CODEC | {"type": "AssociativeEmbedding", "sigma": 2, "decode_keypoint_order": [1, 0, 2]},
    },
}
FAMILIES = tuple(_HEADS)

# Of an image with two triangles, the second without its last keypoint, and of one without any.
LABELS: list[dict[str, Any]] = [
    {
        "keypoints": torch.tensor([[[8.0, 8], [24, 8], [8, 40]], [[48, 48], [60, 48], [0, 0]]]),
        "keypoint_weights": torch.tensor([[1, 1, 1], [1, 2, 0]]),
    },
    {"keypoints": torch.zeros(0, 3, 2)},
]


def small_reference(family: str) -> dict[str, Any]:
    """The reference's settings of the small model of a family, for the caller to change."""
    uses_branches = family != "associative_embedding"

    def stage(index: int) -> dict[str, Any]:
        return {
            "num_modules": 1,
            "num_branches": index + 1,
            "block": "BASIC" if index else "BOTTLENECK",
            "num_blocks": [1] * (index + 1),
            "num_channels": [4, 8, 12, 16][: index + 1],
        } | ({"multiscale_output": True} if index == 3 and uses_branches else {})

    reference = {
        "backbone": {"type": "HRNet", "in_channels": 3, "extra": {f"stage{i + 1}": stage(i) for i in range(4)}},
        "neck": {"type": "FeatureMapProcessor", "concat": True} if uses_branches else None,
        "head": _HEADS[family],
        "data_preprocessor": {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True},
        "test_cfg": {"flip_test": True, "shift_heatmap": family == "dekr", "restore_heatmap_size": True},
        "test_pipeline": [
            {"type": "LoadImage"},
            {"type": "BottomupResize", "input_size": [64, 64], "size_factor": 32, "resize_mode": "expand"},
        ],
    }
    return copy.deepcopy(reference)


def conversion(family: str) -> Any:
    """The module that converts a family."""
    return importlib.import_module(f"hfpose.models.{family}.convert_{family}")


def small_model(family: str, **changes: Any) -> tuple[PreTrainedModel, Any]:
    """The small model, the same weights every time, and its image processor; `changes` are of its configuration."""
    torch.manual_seed(0)
    module, reference = conversion(family), small_reference(family)
    config = module.config_from_reference(reference, SCHEMA)
    model = module.MODEL_CLASS(type(config)(**config.to_dict() | changes))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    settle_normalizations(model, torch.randn(8, 3, 64, 64))
    return model.eval(), module.image_processor_from_reference(reference)
