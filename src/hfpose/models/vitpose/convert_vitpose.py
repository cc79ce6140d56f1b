"""From the reference's ViTPose settings and checkpoints to transformers' own ViTPose."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema
from hfpose.models.heatmap.convert_heatmap import heatmap_processor_arguments
from hfpose.models.shared.conversion import RenameRules, expect_settings, keypoint_arguments, rename_state_dict
from hfpose.models.shared.heatmap_head import last_convolution
from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

MODEL_CLASS = VitPoseForPoseEstimation

# Hidden size, layers, heads and feed-forward size of the architectures that the reference calls by name.
ARCHITECTURES = {
    "small": (768, 8, 8, 2304),
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "huge": (1280, 32, 16, 5120),
    "deit-tiny": (192, 12, 3, 768),
    "deit-small": (384, 12, 6, 1536),
    "deit-base": (768, 12, 12, 3072),
}
_SHORT_NAMES = {name[0]: name for name in ("small", "base", "large", "huge")}
_ARCHITECTURE_KEYS = ("embed_dims", "num_layers", "num_heads", "feedforward_channels")

RENAMES: RenameRules = (
    (r"^backbone\.pos_embed$", "backbone.embeddings.position_embeddings"),
    (r"^backbone\.patch_embed\.projection\.", "backbone.embeddings.patch_embeddings.projection."),
    (r"^backbone\.ln1\.", "backbone.layernorm."),
    (r"^backbone\.layers\.(\d+)\.", r"backbone.encoder.layer.\1."),
    (r"(\.layer\.\d+)\.ln1\.", r"\1.layernorm_before."),
    (r"(\.layer\.\d+)\.ln2\.", r"\1.layernorm_after."),
    (
        r"(\.layer\.\d+)\.attn\.qkv\.",
        (r"\1.attention.attention.query.", r"\1.attention.attention.key.", r"\1.attention.attention.value."),
    ),
    (r"(\.layer\.\d+)\.attn\.proj\.", r"\1.attention.output.dense."),
    (r"(\.layer\.\d+)\.ffn\.layers\.0\.0\.", r"\1.mlp.fc1."),
    (r"(\.layer\.\d+)\.ffn\.layers\.1\.", r"\1.mlp.fc2."),
    (r"^head\.deconv_layers\.0\.", "head.deconv1."),
    (r"^head\.deconv_layers\.1\.", "head.batchnorm1."),
    (r"^head\.deconv_layers\.3\.", "head.deconv2."),
    (r"^head\.deconv_layers\.4\.", "head.batchnorm2."),
    (r"^head\.final_layer\.", "head.conv."),
)
_SUPPORTED_BACKBONE: dict[str, Any] = {
    "with_cls_token": False,
    "out_type": "featmap",
    "out_indices": -1,
    "final_norm": True,
    "pre_norm": False,
    "layer_scale_init_value": 0.0,
    "layer_cfgs": {},
}

_POSITIONS = "backbone.embeddings.position_embeddings"


def config_from_reference(reference: Mapping[str, Any], schema: KeypointSchema | None) -> VitPoseConfig:
    """Configuration for the reference's settings of a top-down model of a `VisionTransformer` and a `HeatmapHead`."""
    head = reference["head"]
    expect_settings("The head", head, {"type": "HeatmapHead", "conv_out_channels": None})
    width, height = head["decoder"]["input_size"]
    image_size = _pair(reference["backbone"].get("img_size", 224))
    expect_settings("VisionTransformer", {"img_size": image_size}, {"img_size": (height, width)})
    return VitPoseConfig(
        backbone_config=_backbone_config(reference["backbone"], image_size),
        **_decoder_arguments(reference.get("neck"), head),
        **keypoint_arguments(head["out_channels"], schema),
    )


def _backbone_config(backbone: Mapping[str, Any], image_size: tuple[int, ...]) -> VitPoseBackboneConfig:
    expect_settings("The backbone", {"type": backbone["type"].rsplit(".")[-1]}, {"type": "VisionTransformer"})
    # Earlier versions of the reference said `output_cls_token=False` for `out_type="featmap"`.
    out_type = "cls_token" if backbone.get("output_cls_token", True) else "featmap"
    expect_settings(
        "VisionTransformer", {"with_cls_token": True, "out_type": out_type} | dict(backbone), _SUPPORTED_BACKBONE
    )
    expect_settings("VisionTransformer.patch_cfg", {"padding": 0} | backbone.get("patch_cfg", {}), {"padding": 2})
    hidden_size, layers, heads, feed_forward_size = _architecture(backbone.get("arch", "base"))
    if feed_forward_size % hidden_size:
        raise ConfigError(
            f"VisionTransformer has feedforward_channels={feed_forward_size}, which is no multiple of "
            f"embed_dims={hidden_size}; transformers' ViTPose needs that."
        )
    norm_cfg = backbone.get("norm_cfg", {"type": "LN", "eps": 1e-6})
    expect_settings("VisionTransformer.norm_cfg", norm_cfg, {"type": "LN"})
    depth: dict[str, Any] = {"num_hidden_layers": layers, "out_indices": [layers]}
    return VitPoseBackboneConfig(
        image_size=image_size,
        patch_size=_pair(backbone.get("patch_size", 16)),
        num_channels=backbone.get("in_channels", 3),
        hidden_size=hidden_size,
        num_attention_heads=heads,
        mlp_ratio=feed_forward_size // hidden_size,
        hidden_dropout_prob=backbone.get("drop_rate", 0.0),
        layer_norm_eps=norm_cfg.get("eps", 1e-5),
        qkv_bias=backbone.get("qkv_bias", True),
        **depth,
    )


def _architecture(arch: str | Mapping[str, int]) -> tuple[int, ...]:
    if not isinstance(arch, str):
        if missing := [key for key in _ARCHITECTURE_KEYS if key not in arch]:
            raise ConfigError(f"VisionTransformer.arch lacks {', '.join(missing)}; give a number for each.")
        return tuple(arch[key] for key in _ARCHITECTURE_KEYS)
    name = _SHORT_NAMES.get(arch.lower(), arch.lower())
    if name not in ARCHITECTURES:
        raise ConfigError(f"VisionTransformer.arch={arch!r} is not supported, only {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def _pair(value: int | list[int] | tuple[int, ...]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _decoder_arguments(neck: Mapping[str, Any] | None, head: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments for one of the two decoders that transformers has: "simple" upsamples, "classic" deconvolves."""
    final_layer = last_convolution(head)
    deconv_channels = head.get("deconv_out_channels", (256, 256, 256)) or ()
    if neck is None:
        classic: dict[str, Any] = {"deconv_out_channels": (256, 256), "deconv_kernel_sizes": (4, 4)}
        expect_settings("HeatmapHead without a neck", dict(head) | {"deconv_out_channels": deconv_channels}, classic)
        expect_settings("HeatmapHead.final_layer", final_layer, {"kernel_size": 1, "padding": 0})
        return {"use_simple_decoder": False}
    simple = {"type": "FeatureMapProcessor", "apply_relu": True, "concat": False, "align_corners": False}
    expect_settings("The neck", {"apply_relu": False} | dict(neck), simple)
    expect_settings("HeatmapHead with a neck", {"deconv_out_channels": deconv_channels}, {"deconv_out_channels": ()})
    expect_settings("HeatmapHead.final_layer", final_layer, {"kernel_size": 3, "padding": 1})
    scale_factor = float(neck.get("scale_factor", 1.0))
    if not scale_factor.is_integer():
        raise ConfigError(f"FeatureMapProcessor.scale_factor={scale_factor} is not supported; give a whole number.")
    return {"use_simple_decoder": True, "scale_factor": int(scale_factor)}


def image_processor_from_reference(reference: Mapping[str, Any]) -> ViTPoseImageProcessor:
    """Image processor for the reference's settings."""
    return ViTPoseImageProcessor(**heatmap_processor_arguments(reference))


def convert_state_dict(state_dict: Mapping[str, Tensor], config: VitPoseConfig) -> dict[str, Tensor]:
    """The reference's tensors under transformers' names, queries, keys and values apart."""
    converted = rename_state_dict(state_dict, RENAMES)
    if _POSITIONS in converted:
        converted[_POSITIONS] = _with_class_slot(converted[_POSITIONS], _count_patches(config))
    return converted


def _count_patches(config: VitPoseConfig) -> int:
    backbone = config.backbone_config
    assert isinstance(backbone, VitPoseBackboneConfig)
    (height, width), (patch_height, patch_width) = _pair(backbone.image_size), _pair(backbone.patch_size)
    return (height // patch_height) * (width // patch_width)


def _with_class_slot(positions: Tensor, patches: int) -> Tensor:
    """Position embeddings (1, 1 + patches, C) with zeros in the slot of the class token, which the network lacks.

    transformers adds that slot to every patch. The reference has none, and drops one that a checkpoint holds.
    """
    if positions.ndim != 3 or positions.shape[1] not in (patches, patches + 1):
        return positions  # of another model: loading it says so
    return torch.cat((torch.zeros_like(positions[:, :1]), positions[:, -patches:]), dim=1)
