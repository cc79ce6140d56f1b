from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator
from hfpose.models.backbones.csp_darknet import CSPDarknetBackboneConfig
from hfpose.models.backbones.csp_darknet import config_from_reference as backbone_from_reference
from hfpose.models.shared.conversion import (
    RenameRules,
    detection_arguments,
    expect_settings,
    label_arguments,
)
from hfpose.models.shared.csp import CSP_LAYER_RENAMES, csp_detector_arguments, expect_same_layers, stage_channels
from hfpose.models.yolox.configuration_yolox import YOLOXConfig
from hfpose.models.yolox.image_processing_yolox import YOLOXImageProcessor
from hfpose.models.yolox.modeling_yolox import YOLOXForObjectDetection

MODEL_CLASS = YOLOXForObjectDetection

_BRANCHES = {"cls": "class", "reg": "box", "obj": "objectness"}
RENAMES: RenameRules = (
    *CSP_LAYER_RENAMES,
    (r"^bbox_head\.multi_level_(cls|reg)_convs\.", lambda match: f"head.{_BRANCHES[match[1]]}_branch."),
    (r"^bbox_head\.multi_level_conv_(cls|reg|obj)\.", lambda match: f"head.{_BRANCHES[match[1]]}_predictions."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES, backbone_config=CSPDarknetBackboneConfig())


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None = None) -> YOLOXConfig:
    """Configuration for the reference's settings of a detector with a `YOLOXHead`."""
    backbone, neck, head = reference["backbone"], reference["neck"], reference["bbox_head"]
    expect_settings("The backbone", backbone, {"type": "CSPDarknet", "out_indices": (2, 3, 4)})
    arguments = csp_detector_arguments(backbone_from_reference(backbone))
    widths = tuple(stage_channels(arguments["width_multiplier"])[1:])
    upsampling = {"scale_factor": 2, "mode": "nearest"}
    expect_settings("YOLOXPAFPN", neck, {"type": "YOLOXPAFPN", "in_channels": widths, "upsample_cfg": upsampling})
    channels = dict.fromkeys(("in_channels", "feat_channels"), neck["out_channels"])
    expected = {"type": "YOLOXHead", **channels, "dcn_on_last_conv": False, "conv_bias": "auto"}
    expect_settings("YOLOXHead", {"feat_channels": 256, **head}, expected)
    expect_same_layers((neck, head), arguments, "Swish", 1e-3)
    return YOLOXConfig(
        neck_size=neck["out_channels"],
        num_neck_blocks=neck.get("num_csp_blocks", 3),
        num_head_layers=head.get("stacked_convs", 2),
        strides=tuple(head.get("strides", (8, 16, 32))),
        **label_arguments(head["num_classes"], reference.get("classes")),
        **arguments,
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> YOLOXImageProcessor:
    """Image processor for the reference's settings."""
    # The reference's head knows nothing else of `test_cfg`, and no borders.
    known = {name: value for name, value in reference["test_cfg"].items() if name in ("score_thr", "nms")}
    strides = tuple(reference["bbox_head"].get("strides", (8, 16, 32)))
    arguments = detection_arguments({**reference, "test_cfg": known}, (strides[0], strides[-1]))
    return YOLOXImageProcessor(strides=strides, **arguments | {"clip_boxes": False})
