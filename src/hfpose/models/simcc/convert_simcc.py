from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.rtmpose.convert_rtmpose import crop_decoding_arguments, simcc_arguments
from hfpose.models.shared.conversion import RenameRules, expect_settings
from hfpose.models.shared.heatmap_head import HEATMAP_HEAD_RENAMES, heatmap_head_arguments
from hfpose.models.simcc.configuration_simcc import SimCCConfig
from hfpose.models.simcc.image_processing_simcc import SimCCImageProcessor
from hfpose.models.simcc.modeling_simcc import SimCCForPoseEstimation

MODEL_CLASS = SimCCForPoseEstimation

RENAMES: RenameRules = (
    (r"^keypoint_head\.", "head."),  # before version 1 of the reference
    (r"^head\.deconv_head\.", "head."),
    *HEATMAP_HEAD_RENAMES,
    (r"^head\.(?=deconvolutions|convolutions|heatmaps)", "head.maps."),
    (r"^head\.mlp_head_([xy])\.", r"head.classifier_\1."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)
_DECONV_KINDS = {"heatmap": "HeatmapHead", "vipnas": "ViPNASHead"}


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> SimCCConfig:
    """Configuration for the reference's settings of a top-down model with a `SimCCHead`."""
    head = reference["head"]
    expect_settings("The model", {"neck": reference.get("neck")}, {"neck": None})
    expect_settings("The head", head, {"type": "SimCCHead"})
    kind = head.get("deconv_type", "heatmap")
    if kind not in _DECONV_KINDS:
        raise ConfigError(f"SimCCHead with deconv_type={kind!r} is not supported, only {', '.join(_DECONV_KINDS)}.")
    layers = {"deconv_out_channels": (256, 256, 256), **head}
    width, height = head["in_featuremap_size"]
    return SimCCConfig(
        feature_map_size=(height, width),
        **simcc_arguments(reference),
        **heatmap_head_arguments(layers, _DECONV_KINDS[kind]),
        **estimator_arguments(reference, head["out_channels"], schema),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> SimCCImageProcessor:
    """Image processor for the reference's settings."""
    return SimCCImageProcessor(**crop_decoding_arguments(reference))
