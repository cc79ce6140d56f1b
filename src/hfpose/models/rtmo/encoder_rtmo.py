"""RTMO's neck: a transformer layer on the coarsest feature map, then fusion of the maps down and up.

Source: RT-DETR (Zhao et al., 2023, https://arxiv.org/abs/2304.08069); `mmpose.models.necks.HybridEncoder`,
`mmpose.models.utils.reparam_layers.RepVGGBlock`, `mmpose.models.utils.transformer`.
"""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.rtmo.configuration_rtmo import RTMOConfig
from hfpose.models.shared.attention import attend
from hfpose.models.shared.convolution import ConvNormAct, activation_layer
from hfpose.models.shared.csp import aggregate_paths
from hfpose.models.shared.dense_prediction import by_level


class ExactBuffers(nn.Module):
    """Keeps its buffers in float32 where the model goes to another type: positions need all digits."""

    def fresh_buffers(self) -> dict[str, Tensor]:
        """The buffers (n,) of a new model by name."""
        raise NotImplementedError

    def register_buffers(self) -> None:
        """Make the buffers."""
        for name, value in self.fresh_buffers().items():
            self.register_buffer(name, value)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, value in before.items():
            after = self._buffers[name]
            if value is not None and after is not None and after.dtype != value.dtype:
                self._buffers[name] = value.to(after.device)
        return self


class SinePositions(ExactBuffers):
    """Cosines and sines of numbers, in float32.

    Args:
        temperature: the longest period is this times the shortest.
    """

    periods: Tensor

    def __init__(self, size: int, temperature: float) -> None:
        super().__init__()
        self.size, self.temperature = size, temperature
        self.register_buffers()

    def fresh_buffers(self) -> dict[str, Tensor]:
        exponents = torch.arange(self.size // 2, dtype=torch.float32) / (self.size // 2)
        return {"periods": self.temperature**exponents}

    def forward(self, positions: Tensor) -> Tensor:
        """Encodings (..., size) of positions (...)."""
        phases = positions[..., None] / self.periods
        return torch.cat((phases.cos(), phases.sin()), dim=-1)


class RTMOSelfAttention(nn.Module):
    """Multi-head attention of tokens (B, L, C), with positions for queries and keys alone."""

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, tokens: Tensor, positions: Tensor) -> tuple[Tensor, Tensor | None]:
        # A trace would make the size of the batch a number with `unflatten`.
        heads = (*tokens.shape[:2], self.config.num_attention_heads, -1)
        placed = tokens + positions
        query, key, value = (
            projection(given).reshape(heads).transpose(1, 2)
            for projection, given in ((self.query, placed), (self.key, placed), (self.value, tokens))
        )
        context, weights = attend(self, self.config, query, key, value)
        return self.output(context.flatten(2)), weights


class RTMOEncoderLayer(GradientCheckpointingLayer):
    """Attention between tokens (B, L, C), then a feed-forward network, each with a residual connection and a
    normalization."""

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__()
        self.attention = RTMOSelfAttention(config)
        self.attention_norm = nn.LayerNorm(config.hidden_size)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.encoder_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.mlp_norm = nn.LayerNorm(config.hidden_size)

    def forward(self, tokens: Tensor, positions: Tensor) -> Tensor:
        tokens = self.attention_norm(tokens + self.attention(tokens, positions)[0])
        return self.mlp_norm(tokens + self.fc2(self.activation(self.fc1(tokens))))


class RTMOTransformer(nn.Module):
    """Transformer layers over the cells of a feature map (B, C, h, w)."""

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__()
        self.positions = SinePositions(config.hidden_size // 2, float(config.position_temperature))
        self.layers = nn.ModuleList(RTMOEncoderLayer(config) for _ in range(config.num_encoder_layers))

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[-2:]
        tokens, positions = features.flatten(2).transpose(1, 2), self._grid(height, width, features)
        for layer in self.layers:
            tokens = layer(tokens, positions)
        return tokens.transpose(1, 2).reshape(features.shape)

    def _grid(self, height: int, width: int, features: Tensor) -> Tensor:
        """Encodings (1, h * w, C) of all cells, first along y, then along x."""
        rows, columns = (torch.arange(side, dtype=torch.float32, device=features.device) for side in (height, width))
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return torch.cat([self.positions(axis.flatten()) for axis in (y, x)], dim=-1)[None].to(features.dtype)


class RepVGGBlock(nn.Module):
    """A 3x3 and a 1x1 convolution side by side, each with its normalization (https://arxiv.org/abs/2101.03697)."""

    def __init__(self, channels: int, hidden_act: str) -> None:
        super().__init__()
        self.branch3 = ConvNormAct(channels, channels, 3, hidden_act=None)
        self.branch1 = ConvNormAct(channels, channels, 1, hidden_act=None)
        self.activation = activation_layer(hidden_act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.activation(self.branch3(hidden_state) + self.branch1(hidden_state))


class RTMOFusion(GradientCheckpointingLayer):
    """Two feature maps, concatenated, become one: through RepVGG blocks, and around them."""

    def __init__(self, config: RTMOConfig) -> None:
        super().__init__()
        size, act = config.fusion_size, config.fusion_act
        self.main_conv = ConvNormAct(2 * config.hidden_size, size, 1, hidden_act=act)
        self.short_conv = ConvNormAct(2 * config.hidden_size, size, 1, hidden_act=act)
        self.blocks = nn.Sequential(*(RepVGGBlock(size, act) for _ in range(config.num_fusion_blocks)))
        is_whole = size == config.hidden_size
        self.final_conv = nn.Identity() if is_whole else ConvNormAct(size, config.hidden_size, 1, hidden_act=act)

    def forward(self, hidden_state: Tensor) -> Tensor:
        return self.final_conv(self.blocks(self.main_conv(hidden_state)) + self.short_conv(hidden_state))


class RTMOEncoder(nn.Module):
    """Feature maps (B, 2 * head_size, h, w) for the head.

    Args:
        channels: of the feature maps of the backbone, finest first.
    """

    def __init__(self, config: RTMOConfig, channels: Sequence[int]) -> None:
        super().__init__()
        size, act = config.hidden_size, config.fusion_act
        self.input_convs = nn.ModuleList(ConvNormAct(width, size, 1, hidden_act=None) for width in channels)
        self.transformer = RTMOTransformer(config)
        # Both lists of the way down start at the coarsest level.
        steps = range(len(channels) - 1)
        self.lateral_convs = nn.ModuleList(ConvNormAct(size, size, 1, hidden_act=act) for _ in steps)
        self.top_down_blocks = nn.ModuleList(RTMOFusion(config) for _ in steps)
        self.downsamples = nn.ModuleList(ConvNormAct(size, size, 3, stride=2, hidden_act=act) for _ in steps)
        self.bottom_up_blocks = nn.ModuleList(RTMOFusion(config) for _ in steps)
        self.out_convs = nn.ModuleList(
            ConvNormAct(size, 2 * config.head_size, 1, hidden_act=None) for _ in config.strides
        )

    def forward(self, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        *finer, coarse = by_level(self.input_convs, feature_maps)
        outputs = aggregate_paths(
            [*finer, self.transformer(coarse)],
            self.lateral_convs,
            self.top_down_blocks,
            self.downsamples,
            self.bottom_up_blocks,
        )
        return by_level(self.out_convs, outputs[len(outputs) - len(self.out_convs) :])
