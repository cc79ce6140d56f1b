from collections.abc import Mapping
from functools import partial
from math import prod
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.regression.configuration_regression import RegressionConfig
from hfpose.models.regression.image_processing_regression import RegressionImageProcessor
from hfpose.models.regression.modeling_regression import RegressionForPoseEstimation
from hfpose.models.shared.configuration import feature_map_size
from hfpose.models.shared.conversion import RenameRules, expect_settings, top_down_arguments
from hfpose.models.shared.heatmap_head import HEATMAP_HEAD_RENAMES, heatmap_head_arguments

MODEL_CLASS = RegressionForPoseEstimation

_HEAD_TYPES: dict[str, Any] = {
    "RegressionHead": "coordinates",
    "RLEHead": "rle",
    "IntegralRegressionHead": "integral",
    "DSNTHead": "dsnt",
}
RENAMES: RenameRules = (
    (r"\.flow_model\.(loc|cov|mask)$", ()),  # constants
    (r"^keypoint_head\.", "head."),  # before version 1 of the reference
    (r"^head\.fc\.", "head.projection."),
    (r"^head\.loss(?:_module)?\.flow_model\.s\.", "head.flow.scales."),  # without _module before version 1
    (r"^head\.loss(?:_module)?\.flow_model\.t\.", "head.flow.translations."),
    (r"^head\.linspace_([xy])$", r"head.places_\1"),
    (r"^head\.simplebaseline_head\.", "head."),
    *HEATMAP_HEAD_RENAMES,
    (r"^head\.(?=deconvolutions|convolutions|heatmaps)", "head.maps."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> RegressionConfig:
    """Configuration for the reference's settings of a top-down model that regresses coordinates."""
    head, decoder = reference["head"], reference["head"]["decoder"]
    if head["type"] not in _HEAD_TYPES:
        raise ConfigError(f"The head {head['type']} is not supported here; known ones are {', '.join(_HEAD_TYPES)}.")
    head_type = _HEAD_TYPES[head["type"]]
    is_integral = head_type in ("integral", "dsnt")
    codec = "IntegralRegressionLabel" if is_integral else "RegressionLabel"
    expect_settings("The codec", decoder, {"type": codec, "unbiased": False, "normalize": True})
    width, height = decoder["input_size"]
    arguments: dict[str, Any]
    if is_integral:
        expect_settings("The model", {"neck": reference.get("neck")}, {"neck": None})
        arguments = {
            "feature_map_size": list(reversed(head["in_featuremap_size"])),
            "softmax_beta": float(head.get("beta", 1.0)),
            "use_debiasing": bool(head.get("debias", False)),
            "heatmap_sigma": decoder["sigma"],
            "heatmap_loss_type": _heatmap_loss_type(head.get("loss", reference.get("loss"))),
            **heatmap_head_arguments(head, "HeatmapHead"),
        }
    else:
        arguments = _pooling_arguments(reference, feature_map_size((height, width)))
    return RegressionConfig(
        image_size=(height, width),
        head_type=head_type,
        **arguments,
        **estimator_arguments(reference, head["num_joints"], schema),
    )


def _heatmap_loss_type(loss: Any) -> str:
    """How the heatmaps are trained by the losses of a `MultipleLossWrapper`."""
    losses = loss.get("losses", ()) if isinstance(loss, Mapping) else ()
    return "mse" if any(each.get("type") == "KeypointMSELoss" for each in losses) else "divergence"


def _pooling_arguments(reference: Mapping[str, Any], cells: tuple[int, ...]) -> dict[str, Any]:
    neck = reference.get("neck")
    if neck is not None:
        expect_settings("The neck", neck, {"type": "GlobalAveragePooling"})
        return {"use_average_pooling": True}
    if reference["head"]["in_channels"] % prod(cells):
        raise ConfigError(
            f"The head without a neck takes {reference['head']['in_channels']} values, which cannot be a feature map "
            f"of {cells[0]}x{cells[1]} cells (stride 32). Check the input size of the config."
        )
    return {"use_average_pooling": False, "feature_map_size": cells}


def image_processor_from_reference(reference: Mapping[str, Any]) -> RegressionImageProcessor:
    """Image processor for the reference's settings."""
    test_cfg = reference.get("test_cfg") or {}
    return RegressionImageProcessor(
        shift_flipped_coordinates=bool(test_cfg.get("shift_coords", True)),
        shift_flipped_heatmaps=bool(test_cfg.get("shift_heatmap", False)),
        **top_down_arguments(reference, reference["head"]["decoder"]["input_size"]),
    )
