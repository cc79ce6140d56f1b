from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.edpose.configuration_edpose import EDPoseConfig
from hfpose.models.edpose.image_processing_edpose import EDPoseImageProcessor
from hfpose.models.edpose.modeling_edpose import EDPoseForPoseEstimation
from hfpose.models.shared.conversion import (
    CHANNEL_MAPPER,
    RenameRules,
    activation_name,
    expect_settings,
    expect_transformer_layer,
    expect_whole_inputs,
    normalization_arguments,
    pipeline_step,
)

MODEL_CLASS = EDPoseForPoseEstimation

_NORMS = {
    "encoder": ("attention_norm", "feed_forward_norm"),
    "decoder": ("self_attention_norm", "cross_attention_norm", "feed_forward_norm"),
}
# What attention has where nothing is said.
_ATTENTION = {"num_heads": 8, "num_levels": 4, "num_points": 4}
_NECK_PARTS = {"conv": "0", "gn": "1"}
_PREDICTIONS = {"bbox": "boxes", "class": "classes", "pose": "places"}
RENAMES: RenameRules = (
    # Not used or said twice: the labels of the queries that are denoised in training, the decoder's second names of
    # the prediction layers, and the further names of the one layer that refines the sizes of keypoints.
    (r"^head\.(label_enc\.|decoder\.(bbox|class|pose|pose_hw)_embed\.|out_head\.pose_hw_embed\.(?!0\.))", ()),
    (r"^neck\.convs\.(\d+)\.(conv|gn)\.", lambda match: f"neck.levels.{match[1]}.{_NECK_PARTS[match[2]]}."),
    (r"^neck\.extra_convs\.(\d+)\.(conv|gn)\.", lambda match: f"neck.halvings.{match[1]}.{_NECK_PARTS[match[2]]}."),
    (r"^head\.level_embed$", "level_features"),
    (
        r"^head\.(encoder|decoder)\.layers\.(\d+)\.norms\.(\d)\.",
        lambda match: f"{match[1]}.layers.{match[2]}.{_NORMS[match[1]][int(match[3])]}.",
    ),
    (r"^head\.(encoder|decoder)\.", r"\1."),
    (r"^encoder\.layers\.", "encoder."),
    (r"^(encoder\.\d+)\.self_attn\.", r"\1.attention."),
    (r"^(decoder\.layers\.\d+)\.self_attn\.attn\.", r"\1.self_attention."),
    (r"^(decoder\.layers\.\d+)\.cross_attn\.", r"\1.cross_attention."),
    (r"\.ffn\.layers\.(?:0\.)?(\d)\.", r".feed_forward.layers.\1."),
    (r"^decoder\.ref_point_head\.", "decoder.box_positions."),
    (r"^decoder\.keypoint_embed\.", "decoder.keypoint_features."),
    (r"^decoder\.hw\.", "decoder.keypoint_sizes."),
    (r"^head\.out_head\.pose_hw_embed\.0\.", "decoder.sizes."),
    (r"^head\.out_head\.(bbox|class|pose)_embed\.", lambda match: f"decoder.{_PREDICTIONS[match[1]]}."),
    (r"^head\.memory_trans_fc\.", "proposal_projection."),
    (r"^head\.memory_trans_norm\.", "proposal_norm."),
    (r"^head\.enc_out_class_embed\.", "proposal_classes."),
    (r"^head\.enc_out_bbox_embed\.", "proposal_boxes."),
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> EDPoseConfig:
    """Configuration for the reference's settings of a model with an `EDPoseHead`."""
    head, neck = reference["head"], reference.get("neck") or {}
    expect_settings("The head", head, {"type": "EDPoseHead", "as_two_stage": True})
    expect_settings("The neck", {"type": neck.get("type")}, {"type": "ChannelMapper"})
    expect_settings("ChannelMapper", CHANNEL_MAPPER | dict(neck), {"kernel_size": 1, "act_cfg": None})
    norm = dict(neck.get("norm_cfg") or {})
    norm["type"] = "GroupNorm" if norm.get("type") == "GN" else norm.get("type")
    expect_settings("ChannelMapper.norm_cfg", norm, {"type": "GroupNorm", "eps": 1e-5})
    encoder, decoder = head["encoder"]["layer_cfg"], head["decoder"]["layer_cfg"]
    for part, layer in (("encoder", encoder), ("decoder", decoder)):
        expect_transformer_layer(f"EDPoseHead.{part}", layer)
        activation = activation_name(layer["ffn_cfg"].get("act_cfg", "ReLU"))
        expect_settings(f"EDPoseHead.{part}'s ffn_cfg", {"act_cfg": activation}, {"act_cfg": "relu"})
    attention = _ATTENTION | encoder["self_attn_cfg"]
    size = attention["embed_dims"]
    expect_settings("EDPoseHead.decoder", head["decoder"], {"embed_dims": size, "query_dim": 4})
    for name, keys in (("self_attn_cfg", ("embed_dims", "num_heads")), ("cross_attn_cfg", attention)):
        expected = {key: attention[key] for key in keys}
        expect_settings(f"EDPoseHead.decoder's {name}", _ATTENTION | decoder[name], expected)
    positions = head["positional_encoding"]
    expect_settings("positional_encoding", positions, {"num_pos_feats": size // 2, "normalize": True, "scale": None})
    if positions.get("temperatureH") != positions.get("temperatureW"):
        raise ConfigError(
            f"positional_encoding has temperatureH={positions.get('temperatureH')} and temperatureW="
            f"{positions.get('temperatureW')}; expected the same for both."
        )
    feed_forward = encoder["ffn_cfg"]["feedforward_channels"]
    expect_settings("EDPoseHead.decoder's ffn_cfg", decoder["ffn_cfg"], {"feedforward_channels": feed_forward})
    return EDPoseConfig(
        hidden_size=size,
        num_attention_heads=attention["num_heads"],
        num_points=attention["num_points"],
        num_feature_levels=head.get("num_feature_levels", 4),
        num_norm_groups=neck["norm_cfg"]["num_groups"],
        intermediate_size=feed_forward,
        num_encoder_layers=head["encoder"]["num_layers"],
        num_decoder_layers=head["decoder"]["num_layers"],
        num_box_layers=head["decoder"].get("num_box_decoder_layers", 2),
        num_queries=head.get("num_queries", 100),
        num_instances=head["decoder"].get("num_group", 100),
        num_classes=head["out_head"]["num_classes"],
        position_temperature=float(positions.get("temperatureH", 10_000)),
        **estimator_arguments(reference, head["num_keypoints"], schema),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> EDPoseImageProcessor:
    """Image processor for the reference's settings."""
    resize = pipeline_step(reference, "BottomupRandomChoiceResize")
    if len(resize.get("scales") or ()) != 1:
        raise ConfigError(
            "The model's test_pipeline has no BottomupRandomChoiceResize step with one scale, so the size of its "
            "input is unknown. Use a config whose test_pipeline or val_pipeline has one."
        )
    expect_settings(
        "BottomupRandomChoiceResize", {"backend": "cv2", **resize}, {"backend": "pillow", "keep_ratio": True}
    )
    expect_settings("test_cfg", reference.get("test_cfg") or {}, {"flip_test": False, "multiscale_test": False})
    expect_whole_inputs(reference["data_preprocessor"], 1)
    shortest, longest = sorted(resize["scales"][0])
    decoder = reference["head"].get("data_decoder") or {}
    return EDPoseImageProcessor(
        size={"shortest_edge": shortest, "longest_edge": longest},
        max_instances=decoder.get("num_select", 100),
        **normalization_arguments(reference["data_preprocessor"]),
    )


def convert_state_dict(state_dict: Mapping[str, Tensor], config: EDPoseConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names, without those that inference does not use."""
    last = config.num_decoder_layers - config.num_box_layers
    first_places = (rf"^decoder\.places\.{last}\.", "decoder.first_places.")
    return convert_estimator(state_dict, config, (*RENAMES, first_places))
