"""From the reference's RTMPose settings and checkpoints to ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import PreTrainedConfig

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import backbone_from_reference, convert_backbone
from hfpose.models.rtmpose.configuration_rtmpose import RTMPoseConfig
from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor
from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseForPoseEstimation
from hfpose.models.shared.conversion import (
    RenameRules,
    activation_name,
    crop_arguments,
    expect_settings,
    keypoint_arguments,
    normalization_arguments,
    rename_state_dict,
)

MODEL_CLASS = RTMPoseForPoseEstimation

RENAMES: RenameRules = (
    (r"^head\.final_layer\.", "head.keypoint_features."),
    (r"^head\.mlp\.0\.g$", "head.norm.weight"),
    (r"^head\.mlp\.1\.", "head.embedding."),
    (r"^head\.gau\.ln\.g$", "head.attention.norm.weight"),
    (r"^head\.gau\.uv\.", "head.attention.gate_value_base."),
    (r"^head\.gau\.o\.", "head.attention.projection."),
    (r"^head\.gau\.gamma$", "head.attention.query_key_weight"),
    (r"^head\.gau\.beta$", "head.attention.query_key_bias"),
    (r"^head\.gau\.res_scale\.scale$", "head.attention.residual_scale.weight"),
    (r"^head\.cls_([xy])\.", r"head.classifier_\1."),
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> RTMPoseConfig:
    """Configuration for the reference's settings of a top-down model with an `RTMCCHead`.

    Raises:
        ConfigError: for a setting that is not supported, or a schema with another number of keypoints.
    """
    head = reference["head"]
    decoder = head["decoder"]
    gau = head["gau_cfg"]
    expect_settings("RTMPose", {"neck": reference.get("neck")}, {"neck": None})
    expect_settings("RTMCCHead.gau_cfg", gau, {"use_rel_bias": False, "pos_enc": False})
    expect_settings("SimCCLabel", decoder, {"type": "SimCCLabel", "use_dark": False})
    width, height = head["input_size"]
    split_ratio = float(head.get("simcc_split_ratio", 2.0))
    if split_ratio != float(decoder.get("simcc_split_ratio", 2.0)):
        raise ConfigError(
            f"The head has {split_ratio} SimCC bins per pixel, its decoder {decoder.get('simcc_split_ratio')}; "
            "the two must be equal."
        )
    sigma = decoder.get("sigma", 6.0)
    return RTMPoseConfig(
        backbone_config=backbone_from_reference({**reference["backbone"], "out_indices": (4,)}),
        image_size=(height, width),
        final_kernel_size=head.get("final_layer_kernel_size", 1),
        hidden_size=gau["hidden_dims"],
        attention_size=gau["s"],
        expansion_factor=gau["expansion_factor"],
        attention_act=activation_name(gau["act_fn"]),
        attention_dropout=gau.get("dropout_rate", 0.0),
        drop_path_rate=gau.get("drop_path", 0.0),
        simcc_split_ratio=split_ratio,
        simcc_sigma=tuple(sigma) if isinstance(sigma, (list, tuple)) else (sigma, sigma),
        **_loss_arguments(head.get("loss")),
        **keypoint_arguments(head["out_channels"], schema),
    )


def _loss_arguments(loss: Mapping[str, Any] | None) -> dict[str, Any]:
    """Configuration arguments for the reference's `KLDiscretLoss`; none where its settings are left out, as in the zoo."""
    if loss is None or loss.get("type") != "KLDiscretLoss":
        return {}
    return {
        "simcc_beta": float(loss.get("beta", 1.0)),
        "simcc_label_softmax": bool(loss.get("label_softmax", False)),
        "simcc_label_beta": float(loss.get("label_beta", 10.0)),
    }


def image_processor_from_reference(reference: Mapping[str, Any]) -> RTMPoseImageProcessor:
    """Image processor for the reference's settings."""
    head = reference["head"]
    width, height = head["input_size"]
    return RTMPoseImageProcessor(
        size={"height": height, "width": width},
        simcc_split_ratio=float(head.get("simcc_split_ratio", 2.0)),
        flip_test=bool(reference.get("test_cfg", {}).get("flip_test", False)),
        **crop_arguments(reference),
        **normalization_arguments(reference["data_preprocessor"]),
    )


def convert_state_dict(state_dict: Mapping[str, Tensor], config: RTMPoseConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names."""
    assert isinstance(config.backbone_config, PreTrainedConfig)  # made of a dict or of nothing by transformers
    return rename_state_dict(convert_backbone(state_dict, config.backbone_config), RENAMES)
