"""Layers of ED-Pose's transformer.

Source: deformable attention is Zhu et al., 2020, https://arxiv.org/abs/2010.04159; `mmcv.ops.MultiScaleDeformableAttention`,
`mmpose.models.heads.transformer_heads.transformers`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_layers import GradientCheckpointingLayer

from hfpose.models.edpose.configuration_edpose import EDPoseConfig
from hfpose.models.shared.convolution import MLP

BOX_TEMPERATURE = 10_000.0  # of the sines that tell the decoder where a box is
_EPS = 1e-3  # of the inverse of the sigmoid

Shapes = Sequence[tuple[int, int]]  # (height, width) of the feature maps


class EDPoseDeformableAttention(nn.Module):
    """Each query takes a weighted sum over places of its own choice in all feature maps.

    Args:
        config: of the model.
    """

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        self.heads, self.levels, self.points = config.num_attention_heads, config.num_feature_levels, config.num_points
        places = self.heads * self.levels * self.points
        self.sampling_offsets = nn.Linear(config.hidden_size, 2 * places)
        self.attention_weights = nn.Linear(config.hidden_size, places)
        self.value_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.output_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, query: Tensor, value: Tensor, is_padding: Tensor, references: Tensor, shapes: Shapes) -> Tensor:
        """
        Args:
            query: (B, Q, C) with their positions added.
            value: (B, P, C) the cells of all feature maps.
            is_padding: (B, P).
            references: (B, Q, levels, 2) x and y, or (B, Q, levels, 4) with width and height; 0 to 1 in each map.
            shapes: of the feature maps.

        Returns:
            (B, Q, C)
        """
        values = self.value_proj(value).masked_fill(is_padding[..., None], 0).unflatten(-1, (self.heads, -1))
        offsets = self.sampling_offsets(query).unflatten(-1, (self.heads, self.levels, self.points, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.heads, -1)).softmax(-1)
        references = references[:, :, None, :, None]  # (B, Q, 1, levels, 1, 2 or 4)
        if references.shape[-1] == 4:
            places = references[..., :2] + offsets / self.points * references[..., 2:] * 0.5
        else:
            sides = torch.tensor([(width, height) for height, width in shapes]).to(offsets)
            places = references + offsets / sides[:, None]
        places = places * 2 - 1
        sampled = []
        for level, (part, (height, width)) in enumerate(
            zip(values.split([height * width for height, width in shapes], dim=1), shapes, strict=True)
        ):
            maps = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, (height, width))  # (B * heads, c, h, w)
            grid = places[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (B * heads, Q, points, 2)
            sampled.append(F.grid_sample(maps, grid.to(maps.dtype), align_corners=False))
        weights = weights.transpose(1, 2).flatten(0, 1)[:, None]  # (B * heads, 1, Q, levels * points)
        summed = (torch.cat(sampled, dim=-1) * weights).sum(-1)  # (B * heads, c, Q)
        return self.output_proj(summed.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2))


class EDPoseEncoderLayer(GradientCheckpointingLayer):
    """Deformable attention among the cells (B, P, C) of all feature maps, and a feed-forward network."""

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.attention = EDPoseDeformableAttention(config)
        self.attention_norm = nn.LayerNorm(size)
        self.feed_forward = MLP(size, config.intermediate_size, size)
        self.feed_forward_norm = nn.LayerNorm(size)

    def forward(
        self, hidden_state: Tensor, positions: Tensor, is_padding: Tensor, references: Tensor, shapes: Shapes
    ) -> Tensor:
        update = self.attention(hidden_state + positions, hidden_state, is_padding, references, shapes)
        hidden_state = self.attention_norm(hidden_state + update)
        return self.feed_forward_norm(hidden_state + self.feed_forward(hidden_state))


class EDPoseDecoderLayer(GradientCheckpointingLayer):
    """Attention among the queries, deformable attention to the cells, and a feed-forward network."""

    def __init__(self, config: EDPoseConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.self_attention = nn.MultiheadAttention(size, config.num_attention_heads, batch_first=True)
        self.self_attention_norm = nn.LayerNorm(size)
        self.cross_attention = EDPoseDeformableAttention(config)
        self.cross_attention_norm = nn.LayerNorm(size)
        self.feed_forward = MLP(size, config.intermediate_size, size)
        self.feed_forward_norm = nn.LayerNorm(size)

    def forward(
        self,
        hidden_state: Tensor,
        positions: Tensor,
        is_hidden: Tensor | None,
        memory: Tensor,
        is_padding: Tensor,
        references: Tensor,
        shapes: Shapes,
    ) -> Tensor:
        """
        Args:
            hidden_state, positions: (B, Q, C).
            is_hidden: (Q, Q) which queries do not see which; None where all see all.
            memory, is_padding, references, shapes: see `EDPoseDeformableAttention`.
        """
        placed = hidden_state + positions
        update, _ = self.self_attention(placed, placed, hidden_state, attn_mask=is_hidden, need_weights=False)
        hidden_state = self.self_attention_norm(hidden_state + update)
        update = self.cross_attention(hidden_state + positions, memory, is_padding, references, shapes)
        hidden_state = self.cross_attention_norm(hidden_state + update)
        return self.feed_forward_norm(hidden_state + self.feed_forward(hidden_state))


def inverse_sigmoid(values: Tensor) -> Tensor:
    """Logits of values from 0 to 1, which are kept a little away from both; any shape."""
    return (values.clamp(min=_EPS) / (1 - values).clamp(min=_EPS)).log()


def sines(values: Tensor, size: int, temperature: float) -> Tensor:
    """(..., size) alternating sines and cosines of values (...), of ever longer periods up to `temperature` times 2 pi."""
    exponents = torch.arange(size // 2, device=values.device, dtype=torch.float32) * 2 / size
    angles = values[..., None].float() / temperature**exponents
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


def cell_positions(is_valid: Tensor, size: int, temperature: float) -> Tensor:
    """Sines (B, h * w, size) of y, then x, of the cells of a map, 0 to 2 pi along its valid part (B, h, w)."""
    parts = []
    for axis in (1, 2):
        counts = is_valid.cumsum(axis, dtype=torch.float32)
        last = counts[:, -1:] if axis == 1 else counts[:, :, -1:]
        parts.append(sines(counts / (last + 1e-6) * 2 * math.pi, size // 2, temperature))
    return torch.cat(parts, dim=-1).flatten(1, 2)


def box_positions(references: Tensor, size: int) -> Tensor:
    """Sines (B, Q, 2 * size) of y, x, width and height of boxes (B, Q, 4): x, y of the center, width, height."""
    x, y, width, height = (sines(values * 2 * math.pi, size // 2, BOX_TEMPERATURE) for values in references.unbind(-1))
    return torch.cat((y, x, width, height), dim=-1)
