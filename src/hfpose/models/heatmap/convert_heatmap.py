from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import backbone_from_reference, convert_estimator
from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.heatmap.image_processing_heatmap import HeatmapImageProcessor
from hfpose.models.heatmap.modeling_heatmap import HeatmapForPoseEstimation
from hfpose.models.shared.configuration import feature_map_size
from hfpose.models.shared.conversion import RenameRules, expect_settings, keypoint_arguments, top_down_arguments
from hfpose.models.shared.heatmap_head import DECONVOLUTIONS, HEATMAP_HEAD_RENAMES, heatmap_head_arguments
from hfpose.models.shared.heatmaps import DARK, MEGVII, QUARTER, RADIUS_FACTOR, UDP, UDP_COMBINED, Decoding

MODEL_CLASS = HeatmapForPoseEstimation

MAPS_PER_KEYPOINT = {UDP_COMBINED: 3}
# Cells of the Gaussians of MSPN's levels, the first of which are for the coarsest feature maps.
_LEVEL_KERNEL_SIZES = (15, 11, 9, 7, 5)
# Keypoints that count in the loss of the last feature map of MSPN's stages, and the weight of the others.
_HARD_KEYPOINTS = 8
_COARSE_WEIGHT = 0.25
RENAMES: RenameRules = (
    (r"^keypoint_head\.", "head."),  # before version 1 of the reference
    (r"^head\.vis_head\.2\.", "visibility."),
    (r"^head\.pose_head\.", "head."),
    (r"^head\.multi_final_layers\.(\d+)\.", r"head.stages.\1.heatmaps."),
    (r"^head\.multi_deconv_layers\.(\d+)\.", r"head.stages.\1.deconv_layers."),
    (r"^head\.predict_layers\.(\d+)\.conv_layers\.(\d)\.conv\.", r"head.stages.\1.\2.conv."),
    (r"^head\.predict_layers\.(\d+)\.conv_layers\.(\d)\.bn\.", r"head.stages.\1.\2.norm."),
    *HEATMAP_HEAD_RENAMES,
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> HeatmapConfig:
    """Configuration for the reference's settings of a top-down model with a head that predicts heatmaps."""
    head = pose_head(reference["head"])
    decoder = head["decoder"]
    encoding = reference_decoding(decoder)
    width, height = decoder["input_size"]
    backbone_config = backbone_from_reference(reference["backbone"])
    return HeatmapConfig(
        backbone_config=backbone_config,
        image_size=(height, width),
        heatmap_sigma=decoder.get("sigma", 2.0),
        heatmap_encoding=encoding,
        heatmap_kernel_size=decoder.get("kernel_size", 11),
        heatmap_radius_factor=decoder.get("radius_factor", RADIUS_FACTOR),
        **_visibility_arguments(reference["head"]),
        **_neck_arguments(reference.get("neck")),
        **_head_arguments(head, len(backbone_config.out_features)),
        **keypoint_arguments(head["out_channels"] // MAPS_PER_KEYPOINT.get(encoding, 1), schema),
    )


def pose_head(head: Mapping[str, Any]) -> Mapping[str, Any]:
    """The reference's settings of the head that finds keypoints, which may be inside of one that tells their
    visibility."""
    return head["pose_cfg"] if head.get("type") == "VisPredictHead" else head


def _visibility_arguments(head: Mapping[str, Any]) -> dict[str, Any]:
    if head.get("type") != "VisPredictHead":
        return {}
    loss = head.get("loss") or {}
    expect_settings("VisPredictHead.loss", {"use_sigmoid": False, **loss}, {"type": "BCELoss", "use_sigmoid": True})
    return {"predicts_visibility": True, "visibility_loss_weight": float(loss.get("loss_weight", 1.0))}


def _neck_arguments(neck: Mapping[str, Any] | None) -> dict[str, Any]:
    if neck is None:
        return {}
    expect_settings("The neck", neck, {"type": "FeatureMapProcessor", "align_corners": False})
    index = neck.get("select_index")
    return {
        "feature_map_indices": [index] if isinstance(index, int) else index,
        "concatenate_feature_maps": neck.get("concat", False),
        "feature_map_relu": neck.get("apply_relu", False),
        "feature_map_scale": neck.get("scale_factor", 1.0),
    }


def _head_arguments(head: Mapping[str, Any], num_feature_maps: int) -> dict[str, Any]:
    if head["type"] == "CPMHead":
        expect_settings("CPMHead", head, {"num_stages": num_feature_maps})
        return {"head_type": "stagewise", **heatmap_head_arguments(head, "CPMHead")}
    if head["type"] in DECONVOLUTIONS:
        return heatmap_head_arguments(head, head["type"])
    if head["type"] == "MSPNHead":
        num_stages, num_units = head.get("num_stages", 4), head.get("num_units", 4)
        given = {**head, "number of feature maps": num_stages * num_units}
        width, height = head["decoder"]["input_size"]
        given["out_shape"] = tuple(head.get("out_shape", (64, 48)))
        expected = {
            "number of feature maps": num_feature_maps,
            "use_prm": False,
            "out_shape": feature_map_size((height, width), 4),
        }
        expect_settings("MSPNHead", given, expected)
        return {
            "head_type": "mspn",
            "stage_kernel_sizes": _level_kernel_sizes(head["level_indices"]),
            "stage_loss_weights": ([_COARSE_WEIGHT] * (num_units - 1) + [1.0]) * num_stages,
            "stage_hard_keypoints": ([0] * (num_units - 1) + [_HARD_KEYPOINTS]) * num_stages,
            "deconv_channels": [],
            "deconv_kernel_sizes": [],
        }
    known = ", ".join((*DECONVOLUTIONS, "MSPNHead"))
    raise ConfigError(f"The head {head['type']} is not supported here; known ones are {known}.")


def _level_kernel_sizes(levels: Sequence[int]) -> list[int]:
    """Kernel sizes of the targets of MSPN's feature maps; with fewer levels the coarsest ones are left out."""
    sizes = _LEVEL_KERNEL_SIZES[-1 - max(levels) :]
    return [sizes[level] for level in levels]


def image_processor_from_reference(reference: Mapping[str, Any]) -> HeatmapImageProcessor:
    """Image processor for the reference's settings."""
    return HeatmapImageProcessor(**heatmap_processor_arguments(reference))


def heatmap_processor_arguments(reference: Mapping[str, Any]) -> dict[str, Any]:
    """`HeatmapImageProcessor` arguments for the reference's settings of a top-down model that predicts heatmaps."""
    decoder = pose_head(reference["head"])["decoder"]
    test_cfg = reference.get("test_cfg") or {}
    decoding = reference_decoding(decoder)
    expect_settings("test_cfg", test_cfg, {"flip_mode": "udp_combined" if decoding == UDP_COMBINED else "heatmap"})
    return {
        "heatmap_decoding": decoding,
        "blur_kernel_size": decoder.get("kernel_size" if decoding == MEGVII else "blur_kernel_size", 11),
        "offset_radius_factor": decoder.get("radius_factor", RADIUS_FACTOR),
        "shift_flipped_heatmaps": bool(test_cfg.get("shift_heatmap", False)),
        **top_down_arguments(reference, decoder["input_size"]),
    }


def reference_decoding(decoder: Mapping[str, Any]) -> Decoding:
    """How the heatmaps of the reference's codec are decoded, see `decode_heatmaps`."""
    kind = decoder["type"]
    if kind == "UDPHeatmap":
        types: dict[str, Decoding] = {"gaussian": UDP, "combined": UDP_COMBINED}
        heatmap_type = decoder.get("heatmap_type", "gaussian")
        if heatmap_type in types:
            return types[heatmap_type]
        raise ConfigError(f"UDPHeatmap with heatmap_type={heatmap_type!r} is not supported, only {', '.join(types)}.")
    if kind == "MegviiHeatmap":
        return MEGVII
    expect_settings("The decoder of the head", decoder, {"type": "MSRAHeatmap"})
    return DARK if decoder.get("unbiased") else QUARTER


def convert_state_dict(state_dict: Mapping[str, Tensor], config: HeatmapConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names, also those of heads from before version 1 of the reference."""
    return convert_estimator(state_dict, config, (*_old_final_layers(config), *RENAMES))


def _old_final_layers(config: HeatmapConfig) -> RenameRules:
    """Before version 1 the reference counted the head's convolutions and its last one in one row, `final_layer`."""
    last = 3 * len(config.conv_channels)
    return (
        (rf"^(?:keypoint_)?head\.final_layer\.{last}\.(?=\w+$)", "head.heatmaps."),
        (r"^(?:keypoint_)?head\.final_layer\.(?=\d)", "head.conv_layers."),
    )
