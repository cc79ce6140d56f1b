"""The reference's `SwinTransformer` as transformers' own Swin (Liu et al., 2021, https://arxiv.org/abs/2103.14030)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import SwinConfig

from hfpose.models.shared.conversion import (
    RenameRules,
    expect_settings,
    layer_norm_eps,
    out_indices,
    rename_state_dict,
)

RENAMES: RenameRules = (
    (r"^patch_embed\.projection\.", "swin.embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "swin.embeddings.norm."),
    (r"^norm(\d+)\.", lambda match: f"hidden_states_norms.stage{int(match[1]) + 1}."),
    (r"^stages\.(\d+)\.", r"swin.encoder.layers.\1."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (
        r"\.attn\.w_msa\.relative_position_bias_table$",
        ".attention.relative_position_bias.relative_position_bias_table",
    ),
    (r"\.attn\.w_msa\.proj\.", ".attention.o_proj."),
    (r"\.ffn\.layers\.0\.0\.", ".mlp.fc1."),
    (r"\.ffn\.layers\.1\.", ".mlp.fc2."),
    (r"\.attn\.w_msa\.qkv\.", (".attention.q_proj.", ".attention.k_proj.", ".attention.v_proj.")),
    (r"\.relative_position_index$", ()),  # follows from the window's size
)


def convert_state_dict(state_dict: Mapping[str, Tensor], config: SwinConfig) -> dict[str, Tensor]:
    """The reference's tensors under transformers' names."""
    converted = {
        name: _merged_by_place(tensor) if ".downsample." in name else tensor
        for name, tensor in rename_state_dict(state_dict, RENAMES).items()
    }
    # transformers has a last normalization, whose result no backbone gives.
    for kind, fill in (("weight", torch.ones), ("bias", torch.zeros)):
        converted[f"swin.layernorm.{kind}"] = fill(config.hidden_size)
    return converted


def _merged_by_place(tensor: Tensor) -> Tensor:
    """A tensor (..., 4 * C) over the channels of four neighbors, as transformers has them: neighbor by neighbor,
    column by column, where the reference has them channel by channel."""
    return tensor.unflatten(-1, (-1, 2, 2)).transpose(-1, -3).flatten(-3)


def config_from_reference(backbone: Mapping[str, Any]) -> SwinConfig:
    """Configuration for the reference's `SwinTransformer` settings."""
    patch_size = backbone.get("patch_size", 4)
    depths = tuple(backbone.get("depths", (2, 2, 6, 2)))
    expect_settings(
        "SwinTransformer",
        backbone,
        {"qk_scale": None, "patch_norm": True, "use_abs_pos_embed": False, "act_cfg": {"type": "GELU"}}
        | {"strides": (patch_size, *[2] * (len(depths) - 1)), "drop_rate": 0.0, "attn_drop_rate": 0.0},
    )
    eps = layer_norm_eps(backbone.get("norm_cfg", {"type": "LN"}))
    expect_settings("SwinTransformer.norm_cfg", {"eps": eps}, {"eps": 1e-5})
    return SwinConfig(
        num_channels=backbone.get("in_channels", 3),
        patch_size=patch_size,
        embed_dim=backbone.get("embed_dims", 96),
        depths=depths,
        num_heads=tuple(backbone.get("num_heads", (3, 6, 12, 24))),
        window_size=backbone.get("window_size", 7),
        mlp_ratio=backbone.get("mlp_ratio", 4),
        qkv_bias=backbone.get("qkv_bias", True),
        drop_path_rate=backbone.get("drop_path_rate", 0.1),
        **out_indices(backbone, range(len(depths))),
    )
