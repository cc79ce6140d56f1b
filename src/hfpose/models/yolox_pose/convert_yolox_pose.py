from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.shared.conversion import (
    SCHEMA_SIGMAS,
    RenameRules,
    expect_settings,
    layer_arguments,
    letterbox_arguments,
)
from hfpose.models.shared.csp import CSP_LAYER_RENAMES
from hfpose.models.yolox_pose.configuration_yolox_pose import YOLOXPoseConfig
from hfpose.models.yolox_pose.image_processing_yolox_pose import YOLOXPoseImageProcessor
from hfpose.models.yolox_pose.modeling_yolox_pose import YOLOXPoseForPoseEstimation

MODEL_CLASS = YOLOXPoseForPoseEstimation

_BRANCHES = {"cls": "class", "reg": "box", "pose": "keypoint"}
_PREDICTIONS = {"cls": "class", "obj": "objectness", "bbox": "box", "kpt": "offset", "kpt_vis": "visibility"}
RENAMES: RenameRules = (
    SCHEMA_SIGMAS,
    *CSP_LAYER_RENAMES,
    (r"^head\.head_module\.conv_(\w+?)\.", lambda match: f"head.{_BRANCHES[match[1]]}_branch."),
    (r"^head\.head_module\.out_(\w+?)\.", lambda match: f"head.{_PREDICTIONS[match[1]]}_predictions."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> YOLOXPoseConfig:
    """Configuration for the reference's settings of a model with a `YOLOXPoseHead`."""
    neck, head = reference["neck"], reference["head"]
    module = head["head_module_cfg"]
    widen = module.get("widen_factor", 1.0)
    strides = tuple(head.get("featmap_strides", (8, 16, 32)))
    upsampling = {"scale_factor": 2, "mode": "nearest"}
    expect_settings("YOLOXPAFPN", neck, {"type": "YOLOXPAFPN", "upsample_cfg": upsampling})
    expect_settings("YOLOXPoseHead", head, {"type": "YOLOXPoseHead", "num_classes": 1})
    points = {"type": "MlvlPointGenerator", "offset": 0, "centralize_points": False, "strides": strides}
    expect_settings("YOLOXPoseHead.prior_generator", {"offset": 0.5, **head["prior_generator"]}, points)
    assigner = {"type": "SimOTAAssigner", "dynamic_k_indicator": "oks", "use_keypoints_for_center": False}
    expect_settings("YOLOXPoseHead.assigner", head.get("assigner") or {}, assigner)
    layers = layer_arguments(neck, "Swish")
    expect_settings("YOLOXPoseHeadModule", module, {"num_classes": 1})
    expect_settings("YOLOXPoseHeadModule", layer_arguments(module, "SiLU"), layers)
    in_channels = module["in_channels"]
    given = int(in_channels * widen) if isinstance(in_channels, int) else in_channels
    expect_settings("YOLOXPoseHeadModule", {"in_channels": given}, {"in_channels": neck["out_channels"]})
    return YOLOXPoseConfig(
        neck_size=neck["out_channels"],
        num_neck_blocks=neck.get("num_csp_blocks", 3),
        use_depthwise=neck.get("use_depthwise", False),
        head_size=int(module.get("feat_channels", 256) * widen),
        num_head_layers=module.get("stacked_convs", 2),
        strides=strides,
        overlap_power=float(head.get("overlaps_power", 1.0)),
        **layers,
        **estimator_arguments(reference, head["num_keypoints"], schema),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> YOLOXPoseImageProcessor:
    """Image processor for the reference's settings."""
    return YOLOXPoseImageProcessor(**letterbox_arguments(reference))
