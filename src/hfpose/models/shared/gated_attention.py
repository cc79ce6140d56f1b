"""Gated attention between the tokens of keypoints, as RTMPose, RTMW and RTMO have it.

Source: `mmpose.models.utils.rtmcc_block.RTMCCBlock`, `mmpose.models.utils.transformer.GAUEncoder`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN

from hfpose.models.shared.drop_path import DropPath


class ScaleNorm(nn.Module):
    """Divides tokens by their root mean square, then scales them all alike (https://arxiv.org/abs/1910.05895)."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.factor = dim**-0.5
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, hidden_state: Tensor) -> Tensor:
        rms = hidden_state.norm(dim=-1, keepdim=True) * self.factor
        return hidden_state / rms.clamp(min=self.eps) * self.weight


class ResidualScale(nn.Module):
    """Scales each channel of a residual connection."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, hidden_state: Tensor) -> Tensor:
        return hidden_state * self.weight


class GatedAttentionUnit(nn.Module):
    """Gated attention between the tokens (B, K, C) of the keypoints (https://arxiv.org/abs/2202.10447).

    Args:
        hidden_size: channels of a token, C.
        attention_size: channels of queries and keys.
        expansion_factor: channels of gates and values, in units of `hidden_size`.
        hidden_act: activation of gates, values, queries and keys.
        dropout: share of the attention that is left out in training.
        drop_path_rate: share of the samples whose update is left out in training.
        num_tokens: K, where queries and keys have a learned position; None for none.
    """

    def __init__(
        self,
        hidden_size: int,
        attention_size: int,
        expansion_factor: float,
        *,
        hidden_act: str = "silu",
        dropout: float = 0.0,
        drop_path_rate: float = 0.0,
        num_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self.value_size = int(hidden_size * expansion_factor)
        self.query_size = attention_size
        self.norm = ScaleNorm(hidden_size)
        self.gate_value_base = nn.Linear(hidden_size, 2 * self.value_size + self.query_size, bias=False)
        # Queries and keys are one projection, each with a scale and an offset of its own.
        self.query_key_weight = nn.Parameter(torch.ones(2, self.query_size))
        self.query_key_bias = nn.Parameter(torch.zeros(2, self.query_size))
        self.position = None if num_tokens is None else nn.Parameter(torch.zeros(num_tokens, self.query_size))
        self.activation = ACT2FN[hidden_act]
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(self.value_size, hidden_size, bias=False)
        self.residual_scale = ResidualScale(hidden_size)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, hidden_state: Tensor) -> Tensor:
        features = self.activation(self.gate_value_base(self.norm(hidden_state)))
        gate, value, base = features.split((self.value_size, self.value_size, self.query_size), dim=-1)
        query, key = (base.unsqueeze(2) * self.query_key_weight + self.query_key_bias).unbind(dim=2)
        if self.position is not None:
            query, key = query + self.position, key + self.position
        scores = query @ key.transpose(1, 2) / self.query_size**0.5
        attention = self.dropout(scores.relu().square())
        update = self.projection(gate * (attention @ value))
        return self.residual_scale(hidden_state) + self.drop_path(update)


def init_gated_attention(module: nn.Module) -> None:
    """Part of `_init_weights` of models with a `GatedAttentionUnit`: the parameters that transformers does not know."""
    if isinstance(module, (ScaleNorm, ResidualScale)):
        init.ones_(module.weight)
    elif isinstance(module, GatedAttentionUnit):
        init.uniform_(module.query_key_weight)
        init.uniform_(module.query_key_bias)
        if module.position is not None:
            init.normal_(module.position)
