"""Swin Transformer: attention inside of windows, which every second block shifts by half of their size.

Source: Liu et al., 2021, https://arxiv.org/abs/2103.14030; `mmpose.models.backbones.SwinTransformer`. Unlike
transformers' network of this name, windows keep their size on feature maps that are smaller, as in the reference.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.backbones.hrformer import window_offsets
from hfpose.models.shared.attention import attend
from hfpose.models.shared.configuration import Numbers, StagedBackboneConfig
from hfpose.models.shared.conversion import RenameRules, expect_settings, layer_norm_eps, rename_state_dict
from hfpose.models.shared.convolution import activation_layer
from hfpose.models.shared.drop_path import DropPath, drop_path_rates
from hfpose.models.shared.staged_backbone import StagedBackbone

MASKED = -100.0  # what is added to attention between cells that are no neighbors


@strict
class SwinBackboneConfig(StagedBackboneConfig):
    r"""
    Configuration of [`SwinBackbone`]. The defaults are those of Swin-T.

    Args:
        patch_size: side in pixels of the patches that the stem embeds.
        embed_size: channels of the first stage; each stage doubles them.
        depths: blocks of each stage.
        num_heads: attention heads of each stage.
        window_size: side in cells of a window.
        mlp_ratio: channels inside of feed-forward layers relative to those outside.
        qkv_bias: whether queries, keys and values have biases.
        drop_path_rate: share of samples that skip the last block in training; the share rises linearly from 0.
        layer_norm_eps: epsilon of layer normalizations.
    """

    model_type = "swin_backbone"

    hidden_act: str = "gelu"
    patch_size: int = 4
    embed_size: int = 96
    depths: Numbers = (2, 2, 6, 2)
    num_heads: Numbers = (3, 6, 12, 24)
    window_size: int = 7
    mlp_ratio: float | int = 4
    qkv_bias: bool = True
    drop_path_rate: float = 0.1
    layer_norm_eps: float = 1e-5

    @property
    def num_stages(self) -> int:
        return len(self.depths)


def split_patches(hidden_state: Tensor, size: int) -> Tensor:
    """(B, H, W, C) to patches (B, H / size, W / size, size, size, C)."""
    return hidden_state.unflatten(2, (-1, size)).unflatten(1, (-1, size)).transpose(2, 3)


def pad_to_multiple(hidden_state: Tensor, size: int) -> Tensor:
    """(B, H, W, C) with zeros below and to the right, up to multiples of `size`."""
    height, width = hidden_state.shape[1:3]
    return F.pad(hidden_state, (0, 0, 0, -width % size, 0, -height % size))


class SwinPatchEmbedding(nn.Module):
    """Image (B, C, H, W) to embedded patches (B, h, w, embed_size)."""

    def __init__(self, config: SwinBackboneConfig) -> None:
        super().__init__()
        self.size = config.patch_size
        self.projection = nn.Conv2d(config.num_channels, config.embed_size, self.size, self.size)
        self.norm = nn.LayerNorm(config.embed_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values: Tensor) -> Tensor:
        height, width = pixel_values.shape[2:]
        padded = F.pad(pixel_values, (0, -width % self.size, 0, -height % self.size))
        return self.norm(self.projection(padded).permute(0, 2, 3, 1))


class SwinPatchMerging(nn.Module):
    """Four neighbors (B, H, W, C) to one cell (B, H / 2, W / 2, 2 * C)."""

    def __init__(self, config: SwinBackboneConfig, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels, eps=config.layer_norm_eps)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, hidden_state: Tensor) -> Tensor:
        patches = split_patches(pad_to_multiple(hidden_state, 2), 2)
        return self.reduction(self.norm(patches.permute(0, 1, 2, 5, 3, 4).flatten(3)))


class SwinAttention(nn.Module):
    """Attention between the cells of each window, with a bias for each offset between two of them.

    Args:
        channels: of the stage.
        num_heads: of the stage.
        shift: by how many cells the windows are shifted to the lower right.
    """

    position_index: Tensor

    def __init__(self, config: SwinBackboneConfig, channels: int, num_heads: int, shift: int) -> None:
        super().__init__()
        self.config = config
        size = self.window_size = config.window_size
        self.num_heads, self.shift = num_heads, shift
        self.qkv = nn.Linear(channels, 3 * channels, bias=config.qkv_bias)
        self.projection = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.zeros((2 * size - 1) ** 2, num_heads))
        self.register_buffer("position_index", window_offsets(size), persistent=False)

    def forward(self, hidden_state: Tensor) -> tuple[Tensor, Tensor | None]:
        height, width = hidden_state.shape[1:3]
        padded = pad_to_multiple(hidden_state, self.window_size)
        if self.shift:
            padded = padded.roll((-self.shift, -self.shift), (1, 2))
        windows = split_patches(padded, self.window_size)  # (B, rows, columns, size, size, C)
        attended, weights = self._attend(windows.flatten(3, 4).flatten(1, 2), padded.shape[1:3])
        attended = attended.unflatten(2, windows.shape[3:5]).unflatten(1, windows.shape[1:3])
        attended = attended.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        if self.shift:
            attended = attended.roll((self.shift, self.shift), (1, 2))
        return attended[:, :height, :width], weights

    def _attend(self, windows: Tensor, shape: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Attention in windows (B, windows, cells, C) of a feature map of that height and width.

        The heads of all windows are side by side: what is added to their scores is the same for all of B.
        """
        split = self.qkv(windows).unflatten(3, (3, self.num_heads, -1)).permute(3, 0, 1, 4, 2, 5)
        query, key, value = split.flatten(2, 3).unbind()
        places = self.window_size**2
        bias = self.position_bias[self.position_index.flatten()].view(places, places, -1).permute(2, 0, 1)
        bias = bias + self._mask(shape, bias) if self.shift else bias.repeat(windows.shape[1], 1, 1, 1)
        context, weights = attend(self, self.config, query, key, value, bias.flatten(0, 1)[None])
        context = context.unflatten(2, (-1, self.num_heads)).transpose(1, 2)
        return self.projection(context.flatten(3)), weights

    def _mask(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """(windows, 1, cells, cells): keeps what the shift brought together from attending to each other."""
        bands = []
        for length in shape:
            places = torch.arange(length, device=like.device)
            bands.append((places >= length - self.window_size).int() + (places >= length - self.shift).int())
        regions = split_patches((3 * bands[0][:, None] + bands[1])[None, :, :, None], self.window_size).flatten(3)
        regions = regions.flatten(0, 2)
        apart = regions[:, None, :, None] != regions[:, None, None, :]
        return apart.to(like.dtype) * MASKED


class SwinBlock(GradientCheckpointingLayer):
    """Attention, then a feed-forward layer, each with a residual connection."""

    def __init__(self, config: SwinBackboneConfig, stage: int, shift: int, drop_path_rate: float) -> None:
        super().__init__()
        channels, eps = config.embed_size * 2**stage, config.layer_norm_eps
        hidden = int(channels * config.mlp_ratio)
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attention = SwinAttention(config, channels, config.num_heads[stage], shift)
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, hidden), activation_layer(config.hidden_act), nn.Linear(hidden, channels)
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden_state: Tensor) -> Tensor:
        hidden_state = hidden_state + self.drop_path(self.attention(self.norm1(hidden_state))[0])
        return hidden_state + self.drop_path(self.feed_forward(self.norm2(hidden_state)))


class SwinStage(nn.Module):
    """Blocks, before which all but the first stage halve the resolution."""

    def __init__(self, config: SwinBackboneConfig, stage: int, rates: Sequence[float]) -> None:
        super().__init__()
        self.merging = SwinPatchMerging(config, config.embed_size * 2 ** (stage - 1)) if stage else nn.Identity()
        self.blocks = nn.Sequential(
            *(SwinBlock(config, stage, config.window_size // 2 * (i % 2), rate) for i, rate in enumerate(rates))
        )

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.blocks(self.merging(hidden_state))


class SwinBackbone(StagedBackbone):
    """Swin Transformer; feature maps at strides 4 (stem), 4, 8, 16 and 32, those of stages normalized."""

    config: SwinBackboneConfig
    config_class = SwinBackboneConfig
    _no_split_modules = ["SwinBlock"]
    _supports_flash_attn = False  # it takes no bias
    _can_record_outputs = {"attentions": SwinAttention}

    def __init__(self, config: SwinBackboneConfig) -> None:
        super().__init__(config)
        self.stem = SwinPatchEmbedding(config)
        rates = drop_path_rates(config.drop_path_rate, config.depths)
        self.stages = nn.ModuleList(SwinStage(config, i, rates[i]) for i in range(config.num_stages))
        channels = [config.embed_size * 2**stage for stage in range(config.num_stages)]
        self.num_features = [config.embed_size, *channels]
        widths = dict(zip(self.stage_names[1:], channels, strict=True))
        self.output_norms = nn.ModuleDict(
            {
                name: nn.LayerNorm(width, eps=config.layer_norm_eps)
                for name, width in widths.items()
                if name in self.out_features
            }
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SwinAttention):
            init.trunc_normal_(module.position_bias, std=0.02)
            init.copy_(module.position_index, window_offsets(module.window_size))  # files hold none

    def stage_outputs(self, pixel_values: Tensor) -> Sequence[Tensor]:
        outputs = []
        for name, hidden_state in zip(self.stage_names, super().stage_outputs(pixel_values), strict=True):
            if name in self.output_norms:
                hidden_state = self.output_norms[name](hidden_state)
            outputs.append(hidden_state.permute(0, 3, 1, 2).contiguous())
        return outputs


RENAMES: RenameRules = (
    (r"^patch_embed\.", "stem."),
    (r"^norm(\d+)\.", lambda match: f"output_norms.stage{int(match[1]) + 1}."),
    (r"^stages\.(\d+)\.downsample\.", lambda match: f"stages.{int(match[1]) + 1}.merging."),
    (r"\.attn\.w_msa\.relative_position_bias_table$", ".attention.position_bias"),
    (r"\.attn\.w_msa\.qkv\.", ".attention.qkv."),
    (r"\.attn\.w_msa\.proj\.", ".attention.projection."),
    (r"\.ffn\.layers\.0\.0\.", ".feed_forward.0."),
    (r"\.ffn\.layers\.1\.", ".feed_forward.2."),
)


def convert_state_dict(state_dict: Mapping[str, Tensor], config: SwinBackboneConfig) -> dict[str, Tensor]:
    """The reference's tensors under our names, without the table of indices, which follows from the window's size."""
    used = {name: tensor for name, tensor in state_dict.items() if not name.endswith(".relative_position_index")}
    return rename_state_dict(used, RENAMES)


def config_from_reference(backbone: Mapping[str, Any]) -> SwinBackboneConfig:
    """Configuration for the reference's `SwinTransformer` settings."""
    patch_size = backbone.get("patch_size", 4)
    depths = tuple(backbone.get("depths", (2, 2, 6, 2)))
    expect_settings(
        "SwinTransformer",
        backbone,
        {"qk_scale": None, "patch_norm": True, "use_abs_pos_embed": False, "act_cfg": {"type": "GELU"}}
        | {"strides": (patch_size, *[2] * (len(depths) - 1)), "drop_rate": 0.0, "attn_drop_rate": 0.0},
    )
    arguments: dict[str, Any] = {
        "out_indices": [index + 1 for index in backbone.get("out_indices", range(len(depths)))]
    }
    return SwinBackboneConfig(
        num_channels=backbone.get("in_channels", 3),
        patch_size=patch_size,
        embed_size=backbone.get("embed_dims", 96),
        depths=depths,
        num_heads=tuple(backbone.get("num_heads", (3, 6, 12, 24))),
        window_size=backbone.get("window_size", 7),
        mlp_ratio=backbone.get("mlp_ratio", 4),
        qkv_bias=backbone.get("qkv_bias", True),
        drop_path_rate=backbone.get("drop_path_rate", 0.1),
        layer_norm_eps=layer_norm_eps(backbone.get("norm_cfg", {"type": "LN"})),
        **arguments,
    )
