import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.internet.configuration_internet import NUM_HANDS, InterNetConfig
from hfpose.models.internet.image_processing_internet import InterNetImageProcessor
from hfpose.models.internet.modeling_internet import InterNetForHandPose
from hfpose.models.shared.conversion import RenameRules, expect_settings, top_down_arguments

MODEL_CLASS = InterNetForHandPose


def _upsampler(match: re.Match[str]) -> str:
    hand, number = match.groups()
    # Every third module is a ReLU, which has no tensors.
    layer = ("conv", "norm")[int(number) % 3]
    return f"head.{hand}_hand.upsamplers.{int(number) // 3}.{layer}."


_RENAMES: RenameRules = (
    # Checkpoints from before version 1 of the reference.
    (r"^keypoint_head\.", "head."),
    (r"^head\.(right|left)_hand_head\.deconv_layers\.(\d+)\.", _upsampler),
    (r"^head\.(right|left)_hand_head\.final_layer\.", r"head.\1_hand.projection."),
    (r"^head\.root_head\.fc\.(\d+)\.", lambda match: f"head.root_depth.layers.{int(match[1]) // 2}."),
    (r"^head\.hand_type_head\.fc\.(\d+)\.", lambda match: f"head.hand_type.layers.{int(match[1]) // 2}."),
)
convert_state_dict = partial(convert_estimator, renames=_RENAMES)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> InterNetConfig:
    """Configuration for the reference's settings of a top-down model with an `InternetHead`."""
    head, decoder = reference["head"], reference["head"]["decoder"]
    expect_settings("The head", head, {"type": "InternetHead"})
    expect_settings("The codec", decoder, {"type": "Hand3DHeatmap", "joint_indices": None})
    keypoint_head, root_head, type_head = (
        head[name] for name in ("keypoint_head_cfg", "root_head_cfg", "hand_type_head_cfg")
    )
    expect_settings("hand_type_head_cfg", type_head, {"num_labels": NUM_HANDS})
    expect_settings("keypoint_head_cfg", keypoint_head, {"final_layer": {"kernel_size": 1}})
    depth_size = keypoint_head.get("depth_size", 64)
    num_keypoints = NUM_HANDS * keypoint_head["out_channels"] // depth_size
    return InterNetConfig(
        upsample_sizes=tuple(keypoint_head.get("deconv_out_channels", (256, 256, 256))),
        upsample_kernel_sizes=tuple(keypoint_head.get("deconv_kernel_sizes", (4, 4, 4))),
        depth_size=depth_size,
        root_depth_size=root_head.get("heatmap_size", 64),
        root_depth_hidden_sizes=tuple(root_head.get("hidden_dims", (512,))),
        hand_type_hidden_sizes=tuple(type_head.get("hidden_dims", (512,))),
        **estimator_arguments(reference, num_keypoints, schema or load_schema("interhand3d")),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> InterNetImageProcessor:
    """Image processor for the reference's settings."""
    decoder = reference["head"]["decoder"]
    return InterNetImageProcessor(
        depth_bound=float(decoder.get("heatmap3d_depth_bound", 400.0)),
        root_depth_bound=float(decoder.get("root_depth_bound", 400.0)),
        root_depth_size=decoder.get("root_heatmap_size", 64),
        **top_down_arguments(reference, decoder.get("image_size", (256, 256))),
    )
