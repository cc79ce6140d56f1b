from collections.abc import Mapping
from functools import partial
from typing import Any

from hfpose.keypoints import KeypointSchema
from hfpose.models.backbones import convert_estimator, estimator_arguments
from hfpose.models.rtmo.configuration_rtmo import RTMOConfig
from hfpose.models.rtmo.image_processing_rtmo import RTMOImageProcessor
from hfpose.models.rtmo.modeling_rtmo import RTMOForPoseEstimation
from hfpose.models.shared.conversion import (
    CHANNEL_MAPPER,
    CONVOLUTION_RENAMES,
    SCHEMA_SIGMAS,
    RenameRules,
    activation_name,
    batch_norm_eps,
    expect_settings,
    expect_transformer_layer,
    layer_arguments,
    letterbox_arguments,
)
from hfpose.models.shared.gated_attention import GATED_ATTENTION_RENAMES, gated_attention_arguments

MODEL_CLASS = RTMOForPoseEstimation

_PREDICTIONS = {"cls": "score", "bbox": "box", "kpt_vis": "visibility", "pose": "pose", "kpt_reg": "offset"}
RENAMES: RenameRules = (
    SCHEMA_SIGMAS,
    *CONVOLUTION_RENAMES,
    (r"^neck\.input_proj\.", "encoder.input_convs."),
    (r"^neck\.projector\.convs\.", "encoder.out_convs."),
    (r"^neck\.sincos_pos_enc\.dim_t$", "encoder.transformer.positions.periods"),
    (r"^neck\.encoder\.0\.layers\.(\d+)\.", r"encoder.transformer.layers.\1."),
    (r"\.self_attn\.attn\.in_proj_(?=\w+$)", (".attention.query.", ".attention.key.", ".attention.value.")),
    (r"\.self_attn\.attn\.out_proj\.", ".attention.output."),
    (r"\.ffn\.layers\.0\.0\.", ".fc1."),
    (r"\.ffn\.layers\.1\.", ".fc2."),
    (r"\.norms\.0\.", ".attention_norm."),
    (r"\.norms\.1\.", ".mlp_norm."),
    (r"^neck\.lateral_convs\.", "encoder.lateral_convs."),
    (r"^neck\.fpn_blocks\.", "encoder.top_down_blocks."),
    (r"^neck\.downsample_convs\.", "encoder.downsamples."),
    (r"^neck\.pan_blocks\.", "encoder.bottom_up_blocks."),
    (r"_blocks\.(\d+)\.conv1\.", r"_blocks.\1.main_conv."),
    (r"_blocks\.(\d+)\.conv2\.", r"_blocks.\1.short_conv."),
    (r"_blocks\.(\d+)\.conv3\.", r"_blocks.\1.final_conv."),
    (r"\.bottlenecks\.(\d+)\.branch_([13])x[13]\.", r".blocks.\1.branch\2."),
    (r"^head\.head_module\.conv_cls\.", "head.score_branch."),
    (r"^head\.head_module\.conv_pose\.", "head.pose_branch."),
    (
        r"^head\.head_module\.out_(\w+?)\.(\d+)\.",
        lambda match: f"head.{_PREDICTIONS[match[1]]}_predictions.{match[2]}.",
    ),
    (r"^head\.dcc\.spe\.dim_t$", "classifier.positions.periods"),
    (r"^head\.dcc\.pos_enc$", "classifier.attention.position"),
    (r"^head\.dcc\.pose_to_kpts\.0\.", "classifier.tokens."),
    (r"^head\.dcc\.pose_to_kpts\.1\.", "classifier.token_norm."),
    (r"^head\.dcc\.([xy])_fc\.", r"classifier.\1_encoding."),
    (r"^head\.dcc\.sigma_fc\.0\.", "classifier.spread."),
    (r"^head\.dcc\.sigma_fc\.2\.scale$", "classifier.spread_scale"),
    *GATED_ATTENTION_RENAMES,
    (r"^head\.dcc\.", "classifier."),
)
convert_state_dict = partial(convert_estimator, renames=RENAMES)

_LEVEL_STRIDES = (8, 16, 32)


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> RTMOConfig:
    """Configuration for the reference's settings of a model with an `RTMOHead`."""
    head = reference["head"]
    return RTMOConfig(
        **_encoder_arguments(reference["neck"]),
        **_head_arguments(head, reference["neck"]),
        **_classifier_arguments(head["dcc_cfg"], head["head_module_cfg"]),
        **_training_arguments(head),
        **_suppression_arguments(reference.get("test_cfg") or {}),
        **estimator_arguments(reference, head["num_keypoints"], schema),
    )


def _encoder_arguments(neck: Mapping[str, Any]) -> dict[str, Any]:
    expect_settings(
        "HybridEncoder",
        neck,
        {"type": "HybridEncoder", "use_encoder_idx": (2,), "spe_learnable": False, "feat_strides": _LEVEL_STRIDES},
    )
    layers = layer_arguments(neck, "SiLU", eps=1e-5)
    expect_settings("HybridEncoder", layers, {"batch_norm_eps": 1e-5})
    attention, mlp = neck["encoder_cfg"]["self_attn_cfg"], neck["encoder_cfg"]["ffn_cfg"]
    hidden_size = neck.get("hidden_dim", 256)
    expect_settings("HybridEncoder.self_attn_cfg", attention, {"embed_dims": hidden_size, "dropout": 0.0})
    expect_settings("HybridEncoder.ffn_cfg", mlp, {"embed_dims": hidden_size, "ffn_drop": 0.0})
    expect_transformer_layer("HybridEncoder.encoder_cfg", neck["encoder_cfg"])
    projector = neck["projector"]
    expect_settings("The projector", projector, {"type": "ChannelMapper"})
    expect_settings("ChannelMapper", CHANNEL_MAPPER | dict(projector), {"kernel_size": 1, "act_cfg": None})
    expect_settings("ChannelMapper", {"batch_norm_eps": batch_norm_eps(projector)}, {"batch_norm_eps": 1e-5})
    return {
        "hidden_size": hidden_size,
        "num_encoder_layers": neck.get("num_encoder_layers", 1),
        "num_attention_heads": attention["num_heads"],
        "intermediate_size": mlp["feedforward_channels"],
        "encoder_act": activation_name(mlp.get("act_cfg", "ReLU")),
        "position_temperature": float(neck.get("pe_temperature", 10000)),
        "fusion_size": int(hidden_size * neck.get("widen_factor", 1.0)),
        "num_fusion_blocks": round(3 * neck.get("deepen_factor", 1.0)),
        "fusion_act": layers["hidden_act"],
    }


def _head_arguments(head: Mapping[str, Any], neck: Mapping[str, Any]) -> dict[str, Any]:
    module = head["head_module_cfg"]
    widen = module.get("widen_factor", 1.0)
    strides = tuple(head.get("featmap_strides", (16, 32)))
    levels = tuple(range(len(_LEVEL_STRIDES)))[-len(strides) :]
    expect_settings("HybridEncoder", neck, {"output_indices": levels})
    expect_settings("RTMOHead", {"featmap_strides": strides}, {"featmap_strides": _LEVEL_STRIDES[-len(strides) :]})
    head_size = int(module["in_channels"] * widen)
    points = {"type": "MlvlPointGenerator", "centralize_points": True, "strides": strides}
    expect_settings("RTMOHead", head, {"type": "RTMOHead", "num_classes": 1})
    expect_settings("RTMOHead.prior_generator", {"centralize_points": False, **head["prior_generator"]}, points)
    # The score branch is as wide as what it is given.
    expect_settings(
        "RTMOHeadModule",
        {"cls_feat_channels": int(module.get("cls_feat_channels", 256) * widen)},
        {"cls_feat_channels": head_size},
    )
    expect_settings("RTMOHeadModule", module, {"num_classes": 1})
    expect_settings("ChannelMapper", neck["projector"], {"out_channels": 2 * head_size, "num_outs": len(strides)})
    groups = module.get("num_groups", 8)
    return {
        "head_size": head_size,
        "pose_branch_size": groups * int(widen * module.get("channels_per_group", 36)),
        "num_pose_groups": groups,
        "num_head_layers": module.get("stacked_convs", 2),
        "strides": strides,
        "pose_size": module["pose_vec_channels"],
        **layer_arguments(module, "SiLU"),
    }


def _classifier_arguments(classifier: Mapping[str, Any], module: Mapping[str, Any]) -> dict[str, Any]:
    gau = classifier["gau_cfg"]
    expect_settings("DCC", classifier, {"in_channels": module["pose_vec_channels"]})
    expect_settings("DCC.gau_cfg", {"pos_enc": "none", **gau}, {"pos_enc": "add", "bias": False, "eps": 1e-5})
    return {
        "token_size": classifier["feat_channels"],
        "num_bins": tuple(classifier["num_bins"]),
        "bin_size": classifier.get("spe_channels", 128),
        "bin_temperature": float(classifier.get("spe_temperature", 300.0)),
        **gated_attention_arguments(gau),
    }


def _training_arguments(head: Mapping[str, Any]) -> dict[str, Any]:
    assigner = head.get("assigner") or {}
    expect_settings("SimOTAAssigner", assigner, {"type": "SimOTAAssigner", "dynamic_k_indicator": "oks"})
    return {
        "box_padding": float(head.get("bbox_padding", 1.25)),
        "assigns_by_keypoints": bool(assigner.get("use_keypoints_for_center", False)),
        "overlap_power": float(head.get("overlaps_power", 1.0)),
    }


def _suppression_arguments(test_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Which anchor points may become instances; the image processor looks at these alone."""
    return {
        "num_candidates": min(test_cfg.get("nms_pre", 0) or RTMOConfig.num_candidates, RTMOConfig.num_candidates),
        "nms_threshold": float(test_cfg.get("nms_thr", RTMOConfig.nms_threshold)),
    }


def image_processor_from_reference(reference: Mapping[str, Any]) -> RTMOImageProcessor:
    """Image processor for the reference's settings."""
    return RTMOImageProcessor(**letterbox_arguments(reference))
