from collections.abc import Mapping
from typing import Any

from hfpose.keypoints import KeypointSchema
from hfpose.models.rtmpose.convert_rtmpose import crop_decoding_arguments, head_arguments
from hfpose.models.rtmw.convert_rtmw import convert_state_dict, neck_arguments
from hfpose.models.rtmw3d.configuration_rtmw3d import RTMW3DConfig
from hfpose.models.rtmw3d.image_processing_rtmw3d import RTMW3DImageProcessor
from hfpose.models.rtmw3d.modeling_rtmw3d import RTMW3DForPoseEstimation

MODEL_CLASS = RTMW3DForPoseEstimation
_DEPTH_RANGE = 2.1744869


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> RTMW3DConfig:
    """Configuration for the reference's settings of a `TopdownPoseEstimator3D` with an `RTMW3DHead`."""
    return RTMW3DConfig(
        **_depth_arguments(reference), **neck_arguments(reference), **head_arguments(reference, schema, "SimCC3DLabel")
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> RTMW3DImageProcessor:
    """Image processor for the reference's settings."""
    decoder = reference["head"]["decoder"]
    roots = decoder.get("root_index", 0)
    return RTMW3DImageProcessor(
        root_indices=[roots] if isinstance(roots, int) else roots,
        **_depth_arguments(reference),
        **crop_decoding_arguments(reference),
    )


def _depth_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    head = reference["head"]
    return {
        "depth_size": head["input_size"][2],
        "depth_range": float(head["decoder"].get("z_range") or _DEPTH_RANGE),
    }


__all__ = ["MODEL_CLASS", "config_from_reference", "convert_state_dict", "image_processor_from_reference"]
