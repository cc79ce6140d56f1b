from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import backbone_from_reference, convert_estimator
from hfpose.models.rtmpose.configuration_rtmpose import RTMPoseConfig
from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor
from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseForPoseEstimation
from hfpose.models.shared.configuration import feature_map_size
from hfpose.models.shared.conversion import RenameRules, expect_settings, keypoint_arguments, top_down_arguments
from hfpose.models.shared.gated_attention import GATED_ATTENTION_RENAMES, gated_attention_arguments

MODEL_CLASS = RTMPoseForPoseEstimation

RENAMES: RenameRules = (
    (r"^head\.final_layer\.", "head.keypoint_features."),
    (r"^head\.mlp\.0\.g$", "head.norm.weight"),
    (r"^head\.mlp\.1\.", "head.embedding."),
    *GATED_ATTENTION_RENAMES,
    (r"^head\.cls_([xy])\.", r"head.classifier_\1."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> RTMPoseConfig:
    """Configuration for the reference's settings of a top-down model with an `RTMCCHead`."""
    expect_settings("RTMPose", {"neck": reference.get("neck")}, {"neck": None})
    head = reference["head"]
    expect_settings("RTMCCHead", head, {"in_featuremap_size": feature_map_size(head["input_size"])})
    return RTMPoseConfig(
        backbone_config=backbone_from_reference(reference["backbone"]),
        **head_arguments(reference, schema),
    )


def head_arguments(
    reference: Mapping[str, Any], schema: KeypointSchema | None, codec: str = "SimCCLabel"
) -> dict[str, Any]:
    """Configuration arguments for the reference's settings of a head with a gated attention unit and a SimCC codec."""
    head = reference["head"]
    gau = head["gau_cfg"]
    expect_settings("The head's gau_cfg", gau, {"use_rel_bias": False, "pos_enc": False})
    return {
        "final_kernel_size": head.get("final_layer_kernel_size", 1),
        "hidden_size": gau["hidden_dims"],
        **gated_attention_arguments(gau),
        **simcc_arguments(reference, codec),
        **keypoint_arguments(head["out_channels"], schema),
    }


def simcc_arguments(reference: Mapping[str, Any], codec: str = "SimCCLabel") -> dict[str, Any]:
    """Configuration arguments for the reference's settings of a SimCC codec and its loss."""
    head, decoder = reference["head"], reference["head"]["decoder"]
    size = tuple(head["input_size"])
    expect_settings("The codec", decoder, {"type": codec, "use_dark": False, "input_size": size})
    split_ratio = float(head.get("simcc_split_ratio", 2.0))
    if split_ratio != float(decoder.get("simcc_split_ratio", 2.0)):
        raise ConfigError(
            f"The head has {split_ratio} SimCC bins per pixel, its decoder {decoder.get('simcc_split_ratio')}; "
            "the two must be equal."
        )
    sigma = decoder.get("sigma", 6.0)
    return {
        "image_size": size[1::-1],
        "simcc_split_ratio": split_ratio,
        "simcc_sigma": tuple(sigma) if isinstance(sigma, (list, tuple)) else (sigma,) * len(size),
        "simcc_label_normalize": bool(decoder.get("normalize", True)),
        "simcc_label_smoothing": _label_smoothing(decoder),
        **_loss_arguments(head.get("loss", reference.get("loss")), head["out_channels"]),
    }


def _label_smoothing(decoder: Mapping[str, Any]) -> float | None:
    """Share outside of the keypoint's bin in targets of the reference that are no Gaussians."""
    if decoder.get("smoothing_type", "gaussian") == "gaussian":
        return None
    expect_settings("The codec", decoder, {"type": "SimCCLabel", "smoothing_type": "standard"})
    return float(decoder.get("label_smooth_weight", 0.0))


def _loss_arguments(loss: Any, num_keypoints: int) -> dict[str, Any]:
    """Configuration arguments for the reference's `KLDiscretLoss`; none where its settings are left out, as in most of
    the zoo."""
    losses = loss if isinstance(loss, (list, tuple)) else [loss]
    loss = next((each for each in losses if each and str(each.get("type")).startswith("KLDiscretLoss")), None)
    if loss is None:
        return {}
    masked = set(loss.get("mask") or ())
    weights = [float(loss.get("mask_weight", 1.0)) if index in masked else 1.0 for index in range(num_keypoints)]
    return {
        "keypoint_loss_weights": weights if masked else None,
        "simcc_beta": float(loss.get("beta", 1.0)),
        "simcc_label_softmax": bool(loss.get("label_softmax", False)),
        "simcc_label_beta": float(loss.get("label_beta", 10.0)),
    }


def image_processor_from_reference(reference: Mapping[str, Any]) -> RTMPoseImageProcessor:
    """Image processor for the reference's settings."""
    return RTMPoseImageProcessor(**crop_decoding_arguments(reference))


def crop_decoding_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Image processor arguments for the reference's settings of a model with SimCC outputs."""
    head, decoder = reference["head"], reference["head"]["decoder"]
    return {
        "simcc_split_ratio": float(head.get("simcc_split_ratio", 2.0)),
        "simcc_sigma": simcc_arguments(reference, decoder["type"])["simcc_sigma"],
        "decode_visibility": decoder.get("decode_visibility", False),
        "visibility_beta": float(decoder.get("decode_beta", 150.0)),
        **top_down_arguments(reference, head["input_size"][:2]),
    }
