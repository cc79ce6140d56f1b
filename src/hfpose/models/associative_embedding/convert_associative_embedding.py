import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.associative_embedding.configuration_associative_embedding import AssociativeEmbeddingConfig
from hfpose.models.associative_embedding.image_processing_associative_embedding import (
    AssociativeEmbeddingImageProcessor,
)
from hfpose.models.associative_embedding.modeling_associative_embedding import AssociativeEmbeddingForPoseEstimation
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.shared.bottom_up import bottom_up_processor_arguments
from hfpose.models.shared.conversion import RenameRules, expect_settings

MODEL_CLASS = AssociativeEmbeddingForPoseEstimation

RENAMES: RenameRules = (
    (r"^keypoint_head\.", "head."),  # before MMPose 1.0
    (r"^head\.final_layers?\.(0\.)?", "head.projection."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> AssociativeEmbeddingConfig:
    """Configuration for the reference's settings of a bottom-up model with an `AssociativeEmbeddingHead`."""
    head = reference["head"]
    expect_settings("The head", head, {"type": "AssociativeEmbeddingHead", "tag_per_keypoint": True})
    expect_settings("The model", {"neck": reference.get("neck")}, {"neck": None})
    # The reference's head has three deconvolutions where nothing is said.
    layers = {"deconv_out_channels": (256, 256, 256), "conv_out_channels": None, **head}
    expect_settings("AssociativeEmbeddingHead", layers, {"deconv_out_channels": None, "conv_out_channels": None})
    final_layer = {"kernel_size": 1, "padding": 0} | dict(head.get("final_layer") or {})
    kernel = final_layer["kernel_size"]
    expect_settings("AssociativeEmbeddingHead.final_layer", final_layer, {"padding": kernel // 2})
    tag_loss = head.get("tag_loss") or {}
    # The codec draws the targets, the decoder may be set for larger heatmaps.
    codec = reference.get("codec") or head["decoder"]
    return AssociativeEmbeddingConfig(
        tag_size=head.get("tag_dim", 1),
        final_kernel_size=kernel,
        heatmap_sigma=codec.get("sigma") or math.prod(codec["heatmap_size"]) ** 0.5 / 64,
        tag_loss_weight=float(tag_loss.get("loss_weight", 1.0)),
        push_factor=float(tag_loss.get("push_loss_factor", 0.5)),
        **estimator_arguments(reference, head["num_keypoints"], schema),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> AssociativeEmbeddingImageProcessor:
    """Image processor for the reference's settings."""
    test_cfg, decoder = reference.get("test_cfg") or {}, reference["head"]["decoder"]
    expect_settings("test_cfg", test_cfg, {"shift_heatmap": False})
    expect_settings("The decoder", decoder, {"type": "AssociativeEmbedding", "use_udp": False})
    order = decoder.get("decode_keypoint_order") or []
    if sorted(order) != list(range(reference["head"]["num_keypoints"])):
        raise ConfigError(
            f"The decoder's decode_keypoint_order is {order}; expected each of the "
            f"{reference['head']['num_keypoints']} keypoints once."
        )
    return AssociativeEmbeddingImageProcessor(
        keypoint_order=order,
        num_candidates=decoder.get("decode_topk", 30),
        keypoint_threshold=decoder.get("decode_keypoint_thr", 0.1),
        tag_threshold=decoder.get("decode_tag_thr", 1.0),
        nms_kernel_size=decoder.get("decode_nms_kernel", 5),
        center_shift=decoder.get("decode_center_shift", 0.0),
        restore_size=bool(test_cfg.get("restore_heatmap_size", False)),
        max_instances=decoder.get("decode_max_instances"),
        **bottom_up_processor_arguments(reference),
    )
