from collections.abc import Mapping
from functools import partial
from numbers import Real
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator
from hfpose.models.backbones.mobilenet_v2 import MobileNetV2BackboneConfig
from hfpose.models.shared.conversion import (
    CONVOLUTION_RENAMES,
    RenameRules,
    detection_arguments,
    expect_settings,
    label_arguments,
    layer_arguments,
)
from hfpose.models.ssdlite.configuration_ssdlite import SSDLiteConfig
from hfpose.models.ssdlite.image_processing_ssdlite import SSDLiteImageProcessor
from hfpose.models.ssdlite.modeling_ssdlite import SSDLiteForObjectDetection, level_channels, level_strides

MODEL_CLASS = SSDLiteForObjectDetection

_BRANCHES = {"cls": "class", "reg": "box"}
RENAMES: RenameRules = (
    *CONVOLUTION_RENAMES,
    (r"^bbox_head\.(cls|reg)_convs\.", lambda match: f"head.{_BRANCHES[match[1]]}_predictions."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES, backbone_config=MobileNetV2BackboneConfig())


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None = None) -> SSDLiteConfig:
    """Configuration for the reference's settings of a detector with a MobileNetV2 and a depthwise `SSDHead`."""
    backbone, neck, head = reference["backbone"], reference["neck"], reference["bbox_head"]
    expect_settings("MobileNetV2", backbone, {"type": "MobileNetV2"})
    expect_settings("SSDNeck", {"use_depthwise": False, **neck}, {"type": "SSDNeck", "use_depthwise": True})
    expect_settings("SSDNeck", {"l2_norm_scale": 20.0, **neck}, {"l2_norm_scale": None, "last_kernel_size": 3})
    expect_settings("SSDNeck", neck, {"level_paddings": (1,) * len(neck["level_strides"])})
    expect_settings("SSDHead", {"use_depthwise": False, **head}, {"type": "SSDHead", "use_depthwise": True})
    expect_settings("SSDHead", head, {"stacked_convs": 0, "in_channels": tuple(neck["out_channels"])})
    arguments = layer_arguments(backbone, "ReLU6", 1e-5)
    expect_settings("SSDNeck", layer_arguments(neck, "ReLU"), arguments)
    expect_settings("SSDHead", layer_arguments(head), arguments)
    config = SSDLiteConfig(
        width_multiplier=backbone.get("widen_factor", 1.0),
        backbone_stages=tuple(backbone.get("out_indices", (1, 2, 4, 7))),
        extra_level_sizes=tuple(neck["out_channels"][len(neck["in_channels"]) :]),
        extra_level_strides=tuple(neck["level_strides"]),
        **_anchor_arguments(head),
        **label_arguments(head["num_classes"], reference.get("classes")),
        **arguments,
    )
    expect_settings("SSDNeck", neck, {"out_channels": tuple(level_channels(config))})
    return config


def _anchor_arguments(head: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for the `anchor_generator` and the `bbox_coder` of an `SSDHead`."""
    generator, coder = head.get("anchor_generator", {}), head.get("bbox_coder", {})
    expect_settings(
        "SSDHead's anchor_generator",
        {"scale_major": True, **generator},
        {"type": "SSDAnchorGenerator", "scale_major": False},
    )
    expect_settings(
        "SSDHead's bbox_coder",
        coder,
        {"type": "DeltaXYWHBBoxCoder", "target_means": (0.0,) * 4, "add_ctr_clamp": False},
    )
    sizes = {name: tuple(generator.get(name) or ()) for name in ("strides", "min_sizes", "max_sizes")}
    num_levels = len(head["in_channels"])
    for name, given in sizes.items():
        if len(given) != num_levels or not all(isinstance(size, Real) for size in given):
            raise ConfigError(
                f"SSDAnchorGenerator with {name}={generator.get(name)!r} is not supported: give one number of pixels "
                f"for each of the {num_levels} feature levels."
            )
    return {
        "anchor_min_sizes": sizes["min_sizes"],
        "anchor_max_sizes": sizes["max_sizes"],
        "strides": sizes["strides"],
        "anchor_ratios": tuple(tuple(ratios) for ratios in generator["ratios"]),
        "box_scales": tuple(coder.get("target_stds", (1.0,) * 4)),
    }


def image_processor_from_reference(reference: Mapping[str, Any]) -> SSDLiteImageProcessor:
    """Image processor for the reference's settings."""
    config = config_from_reference(reference)
    return SSDLiteImageProcessor(
        strides=level_strides(config),
        anchors_per_place=config.anchors_per_place,
        **detection_arguments(reference),
    )
