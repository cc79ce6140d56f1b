"""HRFormer: HRNet whose blocks are attention within windows and a depthwise convolution.

Source: Yuan et al., 2021, https://arxiv.org/abs/2110.09408; `mmpose.models.backbones.HRFormer`.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from hfpose.models.backbones.hrnet import (
    SEPARABLE_FUSION_RENAMES,
    STAGE_RENAMES,
    HRNetBackbone,
    HRNetBackboneConfig,
    HRNetModule,
    NumbersByStage,
    stage_arguments,
)
from hfpose.models.shared.attention import attend
from hfpose.models.shared.configuration import Numbers
from hfpose.models.shared.conversion import RenameRules, expect_settings
from hfpose.models.shared.convolution import (
    RESIDUAL_RENAMES,
    ConvNormAct,
    DropPath,
    conv_layer,
    drop_path_rates,
    layer_of_pair,
)

LAYER_NORM_EPS = 1e-6


@strict
class HRFormerBackboneConfig(HRNetBackboneConfig):
    """Configuration of [`HRFormerBackbone`]; see [`HRNetBackboneConfig`]. The defaults are those of HRFormer-S.

    Args:
        stage_heads: for each stage the attention heads of each branch.
        window_size: height and width of a window of attention in cells.
        mlp_ratio: factor by which the layer after the attention is wider.
        drop_path_rate: share of samples that skip the last block in training; from the first block on it grows from 0.
    """

    model_type = "hrformer_backbone"

    stage_blocks: NumbersByStage = ((2,), (2, 2), (2, 2, 2), (2, 2, 2, 2))
    stage_modules: Numbers = (1, 1, 4, 2)
    stage_block_types: list[str] | tuple[str, ...] = ("bottleneck", "hrformerblock", "hrformerblock", "hrformerblock")
    stage_heads: NumbersByStage = ((2,), (1, 2), (1, 2, 4), (1, 2, 4, 8))
    window_size: int = 7
    mlp_ratio: float | int = 4
    drop_path_rate: float = 0.1
    upsample_mode: Literal["nearest", "bilinear"] = "bilinear"


class WindowAttention(nn.Module):
    """Attention between the cells of a window, with a bias for each offset between two of them."""

    position_index: Tensor

    def __init__(self, config: HRFormerBackboneConfig, channels: int, num_heads: int) -> None:
        super().__init__()
        self.config, self.num_heads = config, num_heads
        window_size = self.window_size = config.window_size
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)
        self.position_bias = nn.Parameter(torch.zeros((2 * window_size - 1) ** 2, num_heads))
        self.register_buffer("position_index", window_offsets(window_size), persistent=False)

    def forward(self, hidden_state: Tensor) -> tuple[Tensor, Tensor | None]:
        """
        Args:
            hidden_state: (B, h, w, C); windows are laid around its center, and cells outside of it are zero.
        """
        batch, height, width, channels = hidden_state.shape
        size = self.window_size
        rows, columns = math.ceil(height / size), math.ceil(width / size)
        top, left = (rows * size - height) // 2, (columns * size - width) // 2
        right, bottom = columns * size - width - left, rows * size - height - top
        padded = F.pad(hidden_state, (0, 0, left, right, top, bottom))
        windows = padded.view(batch, rows, size, columns, size, channels).transpose(2, 3)
        tokens = windows.reshape(batch * rows * columns, size * size, channels)
        split = self.query_key_value(tokens).unflatten(-1, (3, self.num_heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.position_bias[self.position_index.flatten()].view(size * size, size * size, -1).permute(2, 0, 1)
        context, weights = attend(self, self.config, query, key, value, bias[None])
        windows = self.projection(context.flatten(2)).view(batch, rows, columns, size, size, channels).transpose(2, 3)
        padded = windows.reshape(batch, rows * size, columns * size, channels)
        return padded[:, top : top + height, left : left + width], weights


def window_offsets(size: int) -> Tensor:
    """For each two cells of a window the index of their offset (size * size, size * size)."""
    cells = torch.arange(size, device="cpu")  # whatever device the model is built on
    places = (cells[:, None] * (2 * size - 1) + cells).flatten()
    return places[:, None] + places.flip(0)


class HRFormerBlock(nn.Module):
    """Attention within windows, then a depthwise convolution between two of size 1, both with a shortcut."""

    def __init__(self, config: HRFormerBackboneConfig, channels: int, num_heads: int, drop_path_rate: float) -> None:
        super().__init__()
        eps, hidden = config.batch_norm_eps, int(channels * config.mlp_ratio)
        self.attention_norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.attention = WindowAttention(config, channels, num_heads)
        self.mlp_norm = nn.LayerNorm(channels, eps=LAYER_NORM_EPS)
        self.mlp = nn.Sequential(
            ConvNormAct(channels, hidden, 1, hidden_act="gelu", norm_eps=eps, bias=True),
            ConvNormAct(hidden, hidden, 3, groups=hidden, hidden_act="gelu", norm_eps=eps, bias=True),
            ConvNormAct(hidden, channels, 1, hidden_act="gelu", norm_eps=eps, bias=True),
        )
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden_state: Tensor) -> Tensor:
        tokens = hidden_state.permute(0, 2, 3, 1)
        tokens = tokens + self.drop_path(self.attention(self.attention_norm(tokens))[0])
        hidden_state = tokens.permute(0, 3, 1, 2)
        return hidden_state + self.drop_path(self.mlp(self.mlp_norm(tokens).permute(0, 3, 1, 2)))


class HRFormerModule(HRNetModule):
    """An HRNet's module with blocks of attention, and depthwise convolutions where it halves the resolution."""

    def make_branch(self, config: Any, stage: int, module: int, branch: int, in_channels: int) -> nn.Module:
        if config.stage_block_types[stage] == "bottleneck":
            return super().make_branch(config, stage, module, branch, in_channels)
        depths = [
            blocks[0] * modules for blocks, modules in zip(config.stage_blocks, config.stage_modules, strict=True)
        ]
        # The first stage has no blocks of attention.
        rates = drop_path_rates(config.drop_path_rate, depths[1:])[stage - 1]
        first = module * config.stage_blocks[stage][0]
        heads = config.stage_heads[stage][branch]
        return nn.Sequential(
            *(
                HRFormerBlock(config, in_channels, heads, rates[first + i])
                for i in range(config.stage_blocks[stage][branch])
            )
        )

    def make_halving(self, config: Any, in_channels: int, out_channels: int, has_act: bool) -> nn.Module:
        conv, act = conv_layer(config), config.hidden_act if has_act else None
        return nn.Sequential(
            conv(in_channels, in_channels, 3, 2, groups=in_channels, hidden_act=None),
            conv(in_channels, out_channels, 1, hidden_act=act),
        )


class HRFormerBackbone(HRNetBackbone):
    """HRFormer; feature maps at stride 4 (stem and `stage1`), 8, 16 and 32, see `multiscale_output`."""

    config: HRFormerBackboneConfig
    module_class = HRFormerModule
    _supports_flash_attn = False  # it takes no bias
    _can_record_outputs = {"attentions": WindowAttention}

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, WindowAttention):
            init.trunc_normal_(module.position_bias, std=0.02)
            init.copy_(module.position_index, window_offsets(module.window_size))


_MLP_LAYERS = {
    "fc1": "0.conv",
    "norm1": "0.norm",
    "dw3x3": "1.conv",
    "norm2": "1.norm",
    "fc2": "2.conv",
    "norm3": "2.norm",
}
RENAMES: RenameRules = (
    (r"\.relative_position_index$", ()),  # follows from the size of the windows
    *STAGE_RENAMES,
    (r"(\.transition\.\d+)\.([01])\.(?=[a-z])", r"\1.0.\2."),
    (r"(\.transition\.\d+\.\d+)\.([01])\.(?=[a-z])", layer_of_pair),
    *SEPARABLE_FUSION_RENAMES,
    (r"\.ffn\.(\w+)\.", lambda match: f".mlp.{_MLP_LAYERS[match[1]]}."),
    (r"\.norm1\.", ".attention_norm."),
    (r"\.norm2\.", ".mlp_norm."),
    (r"\.attn\.attn\.", ".attention."),
    (r"\.qkv\.", ".query_key_value."),
    (r"\.proj\.", ".projection."),
    (r"\.relative_position_bias_table$", ".position_bias"),
    *RESIDUAL_RENAMES,
)


def config_from_reference(backbone: Mapping[str, Any]) -> HRFormerBackboneConfig:
    """Configuration for the reference's `HRFormer` settings."""
    extra = backbone["extra"]
    expect_settings("HRFormer.extra", extra, {"with_rpe": True, "with_pad_mask": False})
    stages = [extra[f"stage{i}"] for i in range(1, 5)]
    window_size, mlp_ratio = stages[1]["window_sizes"][0], stages[1]["mlp_ratios"][0]
    for stage in stages[1:]:
        count = len(stage["num_channels"])
        expected = {
            "block": "HRFORMERBLOCK",
            "window_sizes": (window_size,) * count,
            "mlp_ratios": (mlp_ratio,) * count,
        }
        expect_settings("HRFormer.extra", stage, expected)
    return HRFormerBackboneConfig(
        stage_heads=[list(stage["num_heads"]) for stage in stages],
        window_size=window_size,
        mlp_ratio=mlp_ratio,
        drop_path_rate=float(extra["drop_path_rate"]),
        upsample_mode=extra.get("upsample", {}).get("mode", "bilinear"),
        **stage_arguments(backbone),
    )
