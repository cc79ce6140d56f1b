from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import backbone_from_reference, convert_estimator
from hfpose.models.rtmpose.convert_rtmpose import RENAMES as RTMPOSE_RENAMES
from hfpose.models.rtmpose.convert_rtmpose import crop_decoding_arguments, head_arguments
from hfpose.models.rtmw.configuration_rtmw import RTMWConfig
from hfpose.models.rtmw.image_processing_rtmw import RTMWImageProcessor
from hfpose.models.rtmw.modeling_rtmw import RTMWForPoseEstimation
from hfpose.models.shared.configuration import feature_map_size
from hfpose.models.shared.conversion import RenameRules, expect_settings, layer_arguments
from hfpose.models.shared.csp import CSP_LAYER_RENAMES

MODEL_CLASS = RTMWForPoseEstimation

RENAMES: RenameRules = (
    *CSP_LAYER_RENAMES,
    (r"^head\.conv_dec\.", "head.shuffled_conv."),
    (r"^head\.final_layer\.", "head.coarse_tokens.keypoint_features."),
    (r"^head\.final_layer2\.", "head.fine_tokens.keypoint_features."),
    (r"^head\.mlp\.0\.g$", "head.coarse_tokens.norm.weight"),
    (r"^head\.mlp\.1\.", "head.coarse_tokens.embedding."),
    (r"^head\.mlp2\.0\.g$", "head.fine_tokens.norm.weight"),
    (r"^head\.mlp2\.1\.", "head.fine_tokens.embedding."),
    (r"^head\.cls_([xyz])\.", r"head.classifiers.\1."),
    *RTMPOSE_RENAMES,
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> RTMWConfig:
    """Configuration for the reference's settings of a top-down model with an `RTMWHead`."""
    return RTMWConfig(**neck_arguments(reference), **head_arguments(reference, schema))


def neck_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for the reference's settings of the backbone and a `CSPNeXtPAFPN` of three levels."""
    neck, head = reference.get("neck") or {}, reference["head"]
    width = head["in_channels"]
    expected = {"type": "CSPNeXtPAFPN", "in_channels": (width // 4, width // 2, width), "out_indices": (1, 2)}
    expect_settings("The neck", {"type": None, **neck}, {**expected, "out_channels": None})
    cells = feature_map_size(head["input_size"][:2])
    given = tuple(head.get("in_featuremap_size", cells))[:2]  # of RTMW3D with one for the depth, which is not used
    expect_settings(head["type"], {"in_featuremap_size": given}, {"in_featuremap_size": cells})
    return {
        "backbone_config": backbone_from_reference({**reference["backbone"], "out_indices": (2, 3, 4)}),
        "num_neck_blocks": neck.get("num_csp_blocks", 3),
        "expand_ratio": neck.get("expand_ratio", 0.5),
        "use_depthwise": neck.get("use_depthwise", False),
        **layer_arguments(neck, "Swish"),
    }


def image_processor_from_reference(reference: Mapping[str, Any]) -> RTMWImageProcessor:
    """Image processor for the reference's settings."""
    return RTMWImageProcessor(**crop_decoding_arguments(reference))
