import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator
from hfpose.models.backbones.cspnext import CSPNeXtBackboneConfig
from hfpose.models.backbones.cspnext import config_from_reference as backbone_from_reference
from hfpose.models.rtmdet.configuration_rtmdet import RTMDetConfig
from hfpose.models.rtmdet.image_processing_rtmdet import RTMDetImageProcessor
from hfpose.models.rtmdet.modeling_rtmdet import RTMDetForObjectDetection
from hfpose.models.shared.conversion import (
    RenameRules,
    detection_arguments,
    expect_settings,
    label_arguments,
)
from hfpose.models.shared.csp import CSP_LAYER_RENAMES, csp_detector_arguments, expect_same_layers

MODEL_CLASS = RTMDetForObjectDetection

_COCO_CLASSES = 80
_BRANCHES = {"cls": "class", "reg": "box"}
RENAMES: RenameRules = (
    *CSP_LAYER_RENAMES,
    (r"^bbox_head\.rtm_(cls|reg)\.", lambda match: f"head.{_BRANCHES[match[1]]}_predictions."),
    (r"^bbox_head\.(cls|reg)_convs\.", lambda match: f"head.{_BRANCHES[match[1]]}_branch.levels."),
)
SHARED_RENAMES: RenameRules = (
    (r"^(head\.\w+_branch)\.levels\.(\d+)\.(\d+)\.norm\.", r"\1.norms.\2.\3."),
    (r"^(head\.\w+_branch)\.levels\.\d+\.(\d+)\.conv\.", r"\1.convs.\2."),
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None = None) -> RTMDetConfig:
    """Configuration for the reference's settings of a detector with an `RTMDetSepBNHead`."""
    backbone, neck, head = reference["backbone"], reference["neck"], reference["bbox_head"]
    backbone_config = backbone_from_reference(backbone)
    arguments = csp_detector_arguments(backbone_config)
    expect_settings("CSPNeXtPAFPN", neck, {"type": "CSPNeXtPAFPN", "expand_ratio": arguments["expand_ratio"]})
    expected = {"type": "RTMDetSepBNHead", "with_objectness": False, "feat_channels": neck["out_channels"]}
    expect_settings("RTMDetSepBNHead", {"with_objectness": True, "feat_channels": 256, **head}, expected)
    expect_same_layers((neck,), arguments, "Swish", 1e-3)
    expect_same_layers((head,), arguments, "SiLU", 1e-3)
    points = {"type": "MlvlPointGenerator", "offset": 0.5, **head["anchor_generator"]}
    expect_settings("The head's anchor_generator", points, {"type": "MlvlPointGenerator", "offset": 0})
    expect_settings("The head", head.get("bbox_coder") or {}, {"type": "DistancePointBBoxCoder"})
    levels = backbone_config.num_stages - 1
    expect_settings("The head", {"levels": len(points["strides"])}, {"levels": levels})
    return RTMDetConfig(
        neck_size=neck["out_channels"],
        num_neck_blocks=neck.get("num_csp_blocks", 3),
        num_head_layers=head.get("stacked_convs", 4),
        share_head_convolutions=head.get("share_conv", True),
        exponential_distances=head.get("exp_on_reg", False),
        prediction_kernel_size=head.get("pred_kernel_size", 1),
        strides=tuple(head["anchor_generator"]["strides"]),
        **label_arguments(head["num_classes"], reference.get("classes")),
        use_channel_attention=backbone_config.use_channel_attention,
        **arguments,
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> RTMDetImageProcessor:
    """Image processor for the reference's settings."""
    strides = reference["bbox_head"]["anchor_generator"]["strides"]
    return RTMDetImageProcessor(strides=strides, **detection_arguments(reference, (strides[0], strides[-1])))


def convert_state_dict(state_dict: Mapping[str, Tensor], config: RTMDetConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names.

    A checkpoint repeats shared convolutions for every level; as when the reference loads it, the last one counts. The
    configs of the detectors that were trained on people of Human-Art have COCO's number of classes; only the first
    one, the person, was trained and is kept.
    """
    ordered = dict(sorted(state_dict.items(), key=lambda item: _level(item[0])))
    if config.num_labels == 1:
        for name, tensor in ordered.items():
            if name.startswith("bbox_head.rtm_cls.") and len(tensor) == _COCO_CLASSES:
                ordered[name] = tensor[:1]
    renames = (*RENAMES, *SHARED_RENAMES) if config.share_head_convolutions else RENAMES
    return convert_estimator(ordered, config, renames, CSPNeXtBackboneConfig())


def _level(name: str) -> int:
    match = re.match(r"bbox_head\.\w+_convs\.(\d+)\.", name)
    return int(match[1]) if match else -1
