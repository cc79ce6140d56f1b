"""Configurations of every family, small enough for transformers' common tests."""

from __future__ import annotations

import torch
from transformers import PreTrainedConfig, PreTrainedModel

import hfpose
from hfpose.models.edpose.modeling_edpose import EDPoseForPoseEstimation
from small_models import SMALL_MODELS, small_model

BATCH_SIZE, SIDE, CLIP_FRAMES = 3, 64, 9
NAMES = (
    *(name for name in SMALL_MODELS if not name.startswith("vitpose")),
    "rtmw", "rtmw3d", "edpose", "temporal_convolution",
)  # fmt: skip

_CSPNEXT = {"model_type": "cspnext_backbone", "depth_multiplier": 0.167, "width_multiplier": 0.125}
_BRANCHES = {**_CSPNEXT, "out_indices": [2, 3, 4]}
_TOKENS = {"hidden_size": 32, "attention_size": 16, "image_size": (64, 64), "final_kernel_size": 1}


def _others() -> dict[str, tuple[type[PreTrainedModel], PreTrainedConfig]]:
    resnet = {"model_type": "resnet_backbone", "stem_channels": 4, "base_channels": 4, "depths": (1, 1, 1, 1)}
    edpose = hfpose.EDPoseConfig(
        backbone_config={**resnet, "block_type": "basic", "out_indices": [2, 3, 4]}, hidden_size=32,
        num_attention_heads=4, num_norm_groups=4, intermediate_size=32, num_encoder_layers=1, num_decoder_layers=3,
        num_queries=20, num_instances=4,
    )  # fmt: skip
    return {
        "rtmw": (hfpose.RTMWForPoseEstimation, hfpose.RTMWConfig(backbone_config=_BRANCHES, **_TOKENS)),
        "rtmw3d": (
            hfpose.RTMW3DForPoseEstimation,
            hfpose.RTMW3DConfig(backbone_config=_BRANCHES, depth_size=64, **_TOKENS),
        ),
        "edpose": (EDPoseForPoseEstimation, edpose),
        "temporal_convolution": (
            hfpose.TemporalConvolutionForPoseLifting,
            hfpose.TemporalConvolutionConfig(hidden_size=16, kernel_sizes=(3, 3)),
        ),
    }


def tiny_models() -> dict[str, tuple[type[PreTrainedModel], PreTrainedConfig]]:
    """Model class and configuration by the name of the family, with its variant where it has several."""
    models = {name: small_model(name)[0] for name in NAMES if name in SMALL_MODELS}
    # A configuration that no model was made of yet: that chooses an implementation of attention.
    fresh = {name: type(model.config).from_dict(model.config.to_dict()) for name, model in models.items()}
    return {name: (type(models[name]), config) for name, config in fresh.items()} | _others()


def inputs_for(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> dict[str, torch.Tensor]:
    """Arguments of a forward pass."""
    if model_class.main_input_name == "keypoints_2d":
        return {"keypoints_2d": torch.rand(BATCH_SIZE, CLIP_FRAMES, 17, config.num_channels)}
    return {"pixel_values": torch.rand(BATCH_SIZE, 3, SIDE, SIDE)}
