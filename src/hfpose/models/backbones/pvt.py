"""Pyramid Vision Transformer, versions 1 and 2: attention to a coarser view of the feature map.

Source: Wang et al., 2021, https://arxiv.org/abs/2102.12122 and https://arxiv.org/abs/2106.13797;
`mmpose.models.backbones.PyramidVisionTransformer` and `PyramidVisionTransformerV2`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.shared.attention import attend
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import (
    RenameRules,
    expect_settings,
    layer_norm_eps,
    out_indices,
    rename_state_dict,
)
from hfpose.models.shared.convolution import DropPath, activation_layer, drop_path_rates
from hfpose.models.shared.staged_backbone import StagedBackbone


@strict
class PVTBackboneConfig(StagedBackboneConfig):
    """Configuration of [`PVTBackbone`]. The defaults are those of PVT-Small. The stem does nothing.

    Args:
        embed_size: channels of an attention head.
        num_heads: attention heads of each stage.
        depths: blocks of each stage.
        patch_sizes, strides, paddings: of the convolution that each stage begins with.
        reduction_ratios: by how much coarser is what each stage attends to.
        mlp_ratios: channels inside of the feed-forward layers of each stage relative to those outside.
        image_size: side in pixels of the square images that the position embeddings were made for.
        has_position_embeddings: whether each stage begins with position embeddings, resized to its feature map
            (version 1).
        depthwise_feed_forward: whether feed-forward layers hold a 3x3 convolution of each channel (version 2).
        has_output_norms: whether a normalization follows each stage (version 2).
        drop_path_rate: share of samples that skip the last block in training; the share rises linearly from 0.
    """

    model_type = "pvt_backbone"

    hidden_act: str = "gelu"
    embed_size: int = 64
    num_heads: Numbers = (1, 2, 5, 8)
    depths: Numbers = (3, 4, 6, 3)
    patch_sizes: Numbers = (4, 2, 2, 2)
    strides: Numbers = (4, 2, 2, 2)
    paddings: Numbers = (0, 0, 0, 0)
    reduction_ratios: Numbers = (8, 4, 2, 1)
    mlp_ratios: Numbers = (8, 8, 4, 4)
    qkv_bias: bool = True
    image_size: int = 224
    has_position_embeddings: bool = True
    depthwise_feed_forward: bool = False
    has_output_norms: bool = False
    drop_path_rate: float = 0.1
    layer_norm_eps: float = 1e-6


class PVTLayerNorm(nn.LayerNorm):
    """Normalizes the channels of feature maps (B, C, H, W)."""

    def forward(self, hidden_state: Tensor) -> Tensor:
        return super().forward(hidden_state.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class PVTAttention(nn.Module):
    """Attention of each cell of a feature map (B, C, H, W) to patches of it."""

    def __init__(self, config: PVTBackboneConfig, channels: int, stage: int) -> None:
        super().__init__()
        self.config = config
        self.num_heads, ratio = config.num_heads[stage], config.reduction_ratios[stage]
        self.query = nn.Linear(channels, channels, bias=config.qkv_bias)
        self.key_value = nn.Linear(channels, 2 * channels, bias=config.qkv_bias)
        self.projection = nn.Linear(channels, channels)
        self.reduction = nn.Conv2d(channels, channels, ratio, ratio) if ratio > 1 else nn.Identity()
        self.norm = PVTLayerNorm(channels, eps=config.layer_norm_eps) if ratio > 1 else nn.Identity()

    def forward(self, hidden_state: Tensor) -> tuple[Tensor, Tensor | None]:
        coarse = self.norm(self.reduction(hidden_state)).flatten(2).transpose(1, 2)
        query = self.query(hidden_state.flatten(2).transpose(1, 2)).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        key, value = self.key_value(coarse).unflatten(2, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        context, weights = attend(self, self.config, query, key, value)
        return self.projection(context.flatten(2)).transpose(1, 2).unflatten(2, hidden_state.shape[2:]), weights


class PVTBlock(GradientCheckpointingLayer):
    """Attention, then a feed-forward layer, each with a residual connection."""

    def __init__(self, config: PVTBackboneConfig, channels: int, stage: int, drop_path_rate: float) -> None:
        super().__init__()
        hidden, eps = channels * config.mlp_ratios[stage], config.layer_norm_eps
        self.norm1 = PVTLayerNorm(channels, eps=eps)
        self.attention = PVTAttention(config, channels, stage)
        self.norm2 = PVTLayerNorm(channels, eps=eps)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.depthwise = (
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden) if config.depthwise_feed_forward else nn.Identity()
        )
        self.activation = activation_layer(config.hidden_act)
        self.project = nn.Conv2d(hidden, channels, 1)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden_state: Tensor) -> Tensor:
        hidden_state = hidden_state + self.drop_path(self.attention(self.norm1(hidden_state))[0])
        update = self.project(self.activation(self.depthwise(self.expand(self.norm2(hidden_state)))))
        return hidden_state + self.drop_path(update)


class PVTStage(nn.Module):
    """Patches embedded, then blocks."""

    def __init__(self, config: PVTBackboneConfig, in_channels: int, stage: int, rates: Sequence[float]) -> None:
        super().__init__()
        channels, eps = config.embed_size * config.num_heads[stage], config.layer_norm_eps
        self.projection = nn.Conv2d(
            in_channels, channels, config.patch_sizes[stage], config.strides[stage], config.paddings[stage]
        )
        self.norm = PVTLayerNorm(channels, eps=eps)
        grid = config.image_size // math.prod(config.patch_sizes[: stage + 1])
        has_positions = config.has_position_embeddings
        self.positions = nn.Parameter(torch.zeros(1, channels, grid, grid)) if has_positions else None
        self.blocks = nn.Sequential(*(PVTBlock(config, channels, stage, rate) for rate in rates))
        self.output_norm = PVTLayerNorm(channels, eps=eps) if config.has_output_norms else nn.Identity()

    def forward(self, hidden_state: Tensor) -> Tensor:
        hidden_state = self.norm(self.projection(hidden_state))
        if self.positions is not None:
            hidden_state = hidden_state + F.interpolate(self.positions, hidden_state.shape[2:], mode="bilinear")
        return self.output_norm(self.blocks(hidden_state))


class PVTBackbone(StagedBackbone):
    """Pyramid Vision Transformer; feature maps at strides 1 (the input), 4, 8, 16 and 32."""

    config: PVTBackboneConfig
    _no_split_modules = ["PVTBlock"]
    _can_record_outputs = {"attentions": PVTAttention}

    def __init__(self, config: PVTBackboneConfig) -> None:
        super().__init__(config)
        self.stem = nn.Identity()
        self.num_features = [config.num_channels, *(config.embed_size * heads for heads in config.num_heads)]
        rates = drop_path_rates(config.drop_path_rate, config.depths)
        self.stages = nn.ModuleList(
            PVTStage(config, self.num_features[stage], stage, rates[stage]) for stage in range(config.num_stages)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PVTStage) and module.positions is not None:
            init.trunc_normal_(module.positions, std=0.02)


RENAMES: RenameRules = (
    (r"^layers\.(\d+)\.0\.", r"stages.\1."),
    (r"^layers\.(\d+)\.2\.", r"stages.\1.output_norm."),
    (r"^layers\.(\d+)\.1\.0\.pos_embed$", r"stages.\1.positions"),
    (r"^layers\.(\d+)\.1\.", r"stages.\1.blocks."),
    (r"\.attn\.attn\.out_proj\.", ".attention.projection."),
    (r"\.attn\.sr\.", ".attention.reduction."),
    (r"\.attn\.", ".attention."),
    (r"\.ffn\.layers\.0\.", ".expand."),
    (r"\.ffn\.layers\.1\.", ".depthwise."),
    (r"\.ffn\.layers\.[34]\.", ".project."),
)
_FIRST_BLOCK = r"^layers\.(\d+)\.1\.(\d+)\."


def convert_state_dict(state_dict: Mapping[str, Tensor], config: PVTBackboneConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names: queries apart from keys and values, positions as feature maps."""
    first_block: RenameRules = ()
    if config.has_position_embeddings:  # which the reference counts as the first block
        first_block = ((_FIRST_BLOCK + "(?!pos_embed)", lambda match: f"layers.{match[1]}.1.{int(match[2]) - 1}."),)
    converted: dict[str, Tensor] = {}
    for name, tensor in rename_state_dict(state_dict, (*first_block, *RENAMES)).items():
        prefix, is_projection, kind = name.partition(".attention.attn.in_proj_")
        if is_projection and tensor.shape[0] % 3 == 0:
            channels = tensor.shape[0] // 3
            converted[f"{prefix}.attention.query.{kind}"] = tensor[:channels]
            converted[f"{prefix}.attention.key_value.{kind}"] = tensor[channels:]
        elif name.endswith(".positions") and tensor.ndim == 3:
            side = math.isqrt(tensor.shape[1])
            is_square = side**2 == tensor.shape[1]
            converted[name] = tensor.transpose(1, 2).unflatten(2, (side, side)) if is_square else tensor
        else:
            converted[name] = tensor
    return converted


def config_from_reference(backbone: Mapping[str, Any]) -> PVTBackboneConfig:
    """Configuration for the reference's settings of a `PyramidVisionTransformer` of version 1 or 2."""
    is_second = backbone["type"] == "PyramidVisionTransformerV2"
    expect_settings(backbone["type"], backbone, {"drop_rate": 0.0, "attn_drop_rate": 0.0, "act_cfg": {"type": "GELU"}})
    depths = tuple(backbone.get("num_layers", (3, 4, 6, 3)))
    names = {
        "num_heads": "num_heads", "strides": "strides", "sr_ratios": "reduction_ratios", "mlp_ratios": "mlp_ratios",
        "patch_sizes": "patch_sizes", "paddings": "paddings",
    }  # fmt: skip
    arguments: dict[str, Any] = {ours: tuple(backbone[name]) for name, ours in names.items() if name in backbone}
    if is_second:
        arguments |= {"patch_sizes": (7, 3, 3, 3), "paddings": (3, 1, 1, 1)}
    return PVTBackboneConfig(
        num_channels=backbone.get("in_channels", 3),
        embed_size=backbone.get("embed_dims", 64),
        depths=depths,
        qkv_bias=backbone.get("qkv_bias", True),
        image_size=backbone.get("pretrain_img_size", 224),
        has_position_embeddings=not is_second and backbone.get("use_abs_pos_embed", True),
        depthwise_feed_forward=is_second or backbone.get("use_conv_ffn", False),
        has_output_norms=is_second or backbone.get("norm_after_stage", False),
        drop_path_rate=backbone.get("drop_path_rate", 0.1),
        layer_norm_eps=layer_norm_eps(backbone.get("norm_cfg", {"type": "LN", "eps": 1e-6})),
        **out_indices(backbone, range(len(depths))),
        **arguments,
    )
