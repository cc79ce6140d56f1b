from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.dekr.configuration_dekr import DEKRConfig
from hfpose.models.dekr.image_processing_dekr import DEKRImageProcessor
from hfpose.models.dekr.modeling_dekr import DEKRForPoseEstimation
from hfpose.models.shared.bottom_up import bottom_up_processor_arguments
from hfpose.models.shared.conversion import RenameRules, expect_concatenation, expect_settings
from hfpose.models.shared.convolution import RESIDUAL_RENAMES

MODEL_CLASS = DEKRForPoseEstimation

RESCORING_SIZE = 256  # the reference's, not a setting

RENAMES: RenameRules = (
    (r"\.regular_matrix$", ()),  # the steps of a 3x3 kernel; not learned
    # Names from before MMPose 1.0.
    (r"^keypoint_head\.", "head."),
    (r"^rescore_net\.", "head.rescore_net."),
    (r"^head\.offset_conv_layers\.", "head.displacement_conv_layers."),
    # Names of today.
    (r"^head\.(heatmap|displacement)_conv_layers\.", r"head.\1s."),
    *RESIDUAL_RENAMES,
    (r"\.transform_matrix_conv\.", ".transform."),
    (r"\.adapt_conv\.", ".conv."),
    (r"^head\.rescore_net\.l([123])\.", lambda match: f"head.rescoring.layers.{int(match[1]) - 1}."),
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> DEKRConfig:
    """Configuration for the reference's settings of a bottom-up model with a `DEKRHead`."""
    head = reference["head"]
    expect_settings("The head", head, {"type": "DEKRHead"})
    expect_concatenation(reference)
    codec = head["decoder"]
    expect_settings("The decoder", codec, {"type": "SPR", "root_type": "kpt_center"})
    expect_settings("SPR", {"generate_keypoint_heatmaps": False, **codec}, {"generate_keypoint_heatmaps": True})
    rescoring = head.get("rescore_cfg")
    arguments: dict[str, Any] = {}
    if rescoring is not None:
        arguments = {"rescoring_size": RESCORING_SIZE, "rescoring_links": tuple(rescoring["norm_indexes"])}
    displacement_loss = head.get("displacement_loss") or {}
    return DEKRConfig(
        heatmap_channels=head.get("num_heatmap_filters", 32),
        displacement_channels=head.get("num_displacement_filters_per_keypoint", 15),
        num_queries=codec.get("decode_max_instances", 30),
        center_kernel_size=codec.get("decode_nms_kernel", 5),
        heatmap_sigma=tuple(codec.get("sigma") or _automatic_sigmas(codec)),
        background_weight=codec.get("background_weight", 0.1),
        min_diagonal=codec.get("minimal_diagonal_length", 5),
        displacement_beta=float(displacement_loss.get("beta", 1.0)),
        displacement_loss_weight=float(displacement_loss.get("loss_weight", 1.0)),
        **arguments,
        **estimator_arguments(reference, head["num_keypoints"], schema),
    )


def _automatic_sigmas(codec: Mapping[str, Any]) -> tuple[float, float]:
    width, height = codec["heatmap_size"]
    sigma = (width * height) ** 0.5 / 32
    return sigma, sigma // 2


def image_processor_from_reference(reference: Mapping[str, Any]) -> DEKRImageProcessor:
    """Image processor for the reference's settings."""
    test_cfg = reference.get("test_cfg") or {}
    expect_settings("test_cfg", test_cfg, {"nms_joints_thr": None})
    flip_test = test_cfg.get("flip_test", False)
    expect_settings("test_cfg", {"shift_heatmap": False, **test_cfg} if flip_test else {}, {"shift_heatmap": True})
    return DEKRImageProcessor(
        center_threshold=reference["head"]["decoder"].get("decode_thr", 0.01),
        nms_threshold=test_cfg.get("nms_dist_thr", 0.0),
        max_instances=test_cfg.get("max_num_people", 30),
        **bottom_up_processor_arguments(reference),
    )


def convert_state_dict(state_dict: Mapping[str, Tensor], config: DEKRConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names; takes the names from before MMPose 1.0 and those of today.

    In the older checkpoints the first heatmap is that of the centers, and displacements point the other way.
    """
    is_old = any(".offset_conv_layers." in name for name in state_dict)
    renamed = convert_estimator(state_dict, config, RENAMES)
    if is_old:
        for part in ("weight", "bias"):
            heatmaps = renamed[f"head.heatmaps.2.{part}"]
            renamed[f"head.heatmaps.2.{part}"] = torch.cat((heatmaps[1:], heatmaps[:1]))
            renamed[f"head.displacements.3.{part}"] = -renamed[f"head.displacements.3.{part}"]
    return renamed
