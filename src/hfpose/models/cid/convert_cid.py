from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.cid.configuration_cid import CIDConfig
from hfpose.models.cid.image_processing_cid import CIDImageProcessor
from hfpose.models.cid.modeling_cid import CIDForPoseEstimation
from hfpose.models.shared.bottom_up import bottom_up_processor_arguments
from hfpose.models.shared.conversion import RenameRules, expect_concatenation, expect_settings

MODEL_CLASS = CIDForPoseEstimation

_ATTENTIONS = {"c": "channel", "s": "spatial"}
RENAMES: RenameRules = (
    # Names from before MMPose 1.0.
    (r"^keypoint_head\.", "head."),
    (r"^head\.keypoint_center_conv\.", "head.iia_module.keypoint_root_conv."),
    (r"^head\.(conv_down|heatmap_conv)\.", r"head.gfd_module.\1."),
    (r"^head\.([cs])_attn\.", lambda match: f"head.gfd_module.{_ATTENTIONS[match[1]]}_attention."),
    (r"^head\.fuse_attn\.", "head.gfd_module.fuse_attention."),
    # Names of today.
    (r"^head\.iia_module\.keypoint_root_conv\.", "head.heatmaps."),
    (r"^head\.gfd_module\.conv_down\.", "head.instances.reduction."),
    (r"^head\.gfd_module\.channel_attention\.atn\.", "head.instances.channel_attention."),
    (r"^head\.gfd_module\.spatial_attention\.atn\.", "head.instances.spatial_features."),
    (r"^head\.gfd_module\.spatial_attention\.conv\.", "head.instances.spatial_attention."),
    (r"^head\.gfd_module\.fuse_attention\.", "head.instances.fusion."),
    (r"^head\.gfd_module\.heatmap_conv\.", "head.instances.heatmaps."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> CIDConfig:
    """Configuration for the reference's settings of a bottom-up model with a `CIDHead`."""
    head, test_cfg = reference["head"], reference.get("test_cfg") or {}
    expect_settings("The head", head, {"type": "CIDHead"})
    expect_concatenation(reference)
    codec = head["decoder"]
    expect_settings("The decoder", codec, {"type": "DecoupledHeatmap", "root_type": "kpt_center"})
    losses = {name: head.get(f"{name}_loss") or {} for name in ("coupled_heatmap", "decoupled_heatmap", "contrastive")}
    for name in ("coupled_heatmap", "contrastive"):
        expect_settings(f"{name}_loss", losses[name], {"loss_weight": 1.0})
    return CIDConfig(
        instance_channels=head["gfd_channels"],
        num_queries=test_cfg.get("max_instances", 30),
        smoothing_kernel_size=test_cfg.get("blur_kernel_size", 3),
        prior_probability=head.get("prior_prob", 0.01),
        heatmap_min_overlap=codec.get("heatmap_min_overlap", 0.7),
        max_training_instances=codec.get("encode_max_instances", 30),
        instance_loss_weight=losses["decoupled_heatmap"].get("loss_weight", 1.0),
        contrastive_temperature=float(losses["contrastive"].get("temperature", 1.0)),
        **estimator_arguments(reference, head["num_keypoints"], schema),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> CIDImageProcessor:
    """Image processor for the reference's settings."""
    test_cfg = reference.get("test_cfg") or {}
    expect_settings("test_cfg", test_cfg, {"shift_heatmap": False})
    codec = reference["head"]["decoder"]
    return CIDImageProcessor(
        center_threshold=test_cfg.get("score_threshold", 0.01),
        smoothing_kernel_size=test_cfg.get("blur_kernel_size", 3),
        stride=codec["input_size"][0] // codec["heatmap_size"][0],
        max_instances=test_cfg.get("max_instances", 30),
        **bottom_up_processor_arguments(reference),
    )
