from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.image_processing_motionbert import MotionBertImageProcessor
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from hfpose.models.shared.conversion import RenameRules, expect_settings, keypoint_arguments, rename_state_dict

MODEL_CLASS = MotionBertForPoseLifting

_RENAMES: RenameRules = (
    (r"^backbone\.temp_embed$", "backbone.embeddings.temporal_embeddings"),
    (r"^backbone\.spat_embed$", "backbone.embeddings.spatial_embeddings"),
    (r"^backbone\.joints_embed\.", "backbone.embeddings.projection."),
    (r"^backbone\.attn_regress\.(\d+)\.", r"backbone.layers.\1.fusion."),
    (r"^backbone\.blocks_st\.(\d+)\.", r"backbone.layers.\1.spatial_first."),
    (r"^backbone\.blocks_ts\.(\d+)\.", r"backbone.layers.\1.temporal_first."),
    (r"_first\.(norm1|attn|norm2|mlp)_s\.", r"_first.spatial.\1."),
    (r"_first\.(norm1|attn|norm2|mlp)_t\.", r"_first.temporal.\1."),
    (r"\.norm1\.", ".attention_norm."),
    (r"\.norm2\.", ".mlp_norm."),
    (r"\.attn\.qkv\.", ".attention.query_key_value."),
    (r"\.attn\.proj\.", ".attention.output."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.2\.", ".mlp.fc2."),
    (r"^head\.pre_logits\.fc\.", "head.representation."),
    (r"^head\.fc\.", "head.regressor."),
)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None = None) -> MotionBertConfig:
    """Configuration for the reference's `DSTFormer` with a `MotionRegressionHead`."""
    backbone, head = reference["backbone"], reference["head"]
    expect_settings("The backbone", backbone, {"type": "DSTFormer", "qk_scale": None})
    expect_settings("The head", head, {"type": "MotionRegressionHead", "out_channels": 3})
    hidden_size = backbone.get("feat_size", 256)
    if head.get("in_channels", 256) != hidden_size or head.get("embedding_size", 512) <= 0:
        raise ConfigError(
            f"The head takes in_channels={head.get('in_channels', 256)} and makes "
            f"embedding_size={head.get('embedding_size', 512)}; expected in_channels={hidden_size}, as many as the "
            "backbone gives, and an embedding_size above 0."
        )
    return MotionBertConfig(
        num_channels=backbone["in_channels"],
        max_frames=backbone.get("seq_len", 243),
        hidden_size=hidden_size,
        num_hidden_layers=backbone.get("depth", 5),
        num_attention_heads=backbone.get("num_heads", 8),
        mlp_ratio=backbone.get("mlp_ratio", 4),
        qkv_bias=backbone.get("qkv_bias", True),
        use_attention_fusion=backbone.get("att_fuse", True),
        hidden_dropout_prob=backbone.get("drop_rate", 0.0),
        attention_probs_dropout_prob=backbone.get("attn_drop_rate", 0.0),
        representation_size=head.get("embedding_size", 512),
        **keypoint_arguments(backbone.get("num_keypoints", 17), schema or load_schema("h36m")),
    )


def image_processor_from_reference(reference: Mapping[str, Any]) -> MotionBertImageProcessor:
    """Processor for the reference's `MotionBERTLabel` codec."""
    codec = reference["head"].get("decoder") or {}
    # `remove_root`, `save_index` and `mode` change nothing of what the reference's codec decodes.
    expect_settings("The codec", {"concat_vis": False, **codec}, {"type": "MotionBERTLabel", "concat_vis": True})
    test_cfg = reference.get("test_cfg") or {}
    expect_settings("test_cfg", test_cfg, {"shift_coords": True})
    return MotionBertImageProcessor(
        root_index=codec.get("root_index", 0),
        zero_root=codec.get("rootrel", False),
        flip_test=bool(test_cfg.get("flip_test", False)),
    )


def convert_state_dict(state_dict: Mapping[str, Tensor], config: MotionBertConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names; names that are not known stay as they are."""
    return rename_state_dict(state_dict, _RENAMES)
