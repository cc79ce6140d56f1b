"""Gated attention between the tokens of keypoints, as RTMPose, RTMW and RTMO have it.

Source: `mmpose.models.utils.rtmcc_block.RTMCCBlock`, `mmpose.models.utils.transformer.GAUEncoder`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.activations import ACT2FN

from hfpose.models.shared.configuration import EstimatorConfig
from hfpose.models.shared.conversion import RenameRules, activation_name
from hfpose.models.shared.convolution import DropPath

_EPS = 1e-5  # of ScaleNorm


class GatedAttentionConfig(EstimatorConfig):
    """Configuration of an estimator with a [`GatedAttentionUnit`]; see [`EstimatorConfig`].

    Args:
        attention_size: size of queries and keys of the unit.
        expansion_factor: size of its values relative to the size of a keypoint's token.
        attention_act: activation of the unit.
        attention_dropout: dropout of its attention weights in training.
        drop_path_rate: share of samples that skip it in training.
    """

    attention_size: int = 128
    expansion_factor: float | int = 2
    attention_act: str = "silu"
    attention_dropout: float = 0.0
    drop_path_rate: float = 0.0


class ScaleNorm(nn.Module):
    """Divides tokens by their root mean square, then scales them all alike (https://arxiv.org/abs/1910.05895)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.factor = dim**-0.5
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, hidden_state: Tensor) -> Tensor:
        rms = hidden_state.norm(dim=-1, keepdim=True) * self.factor
        return hidden_state / rms.clamp(min=_EPS) * self.weight


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
        num_tokens: K, where queries and keys have a learned position; None for none.
    """

    def __init__(self, config: GatedAttentionConfig, hidden_size: int, num_tokens: int | None = None) -> None:
        super().__init__()
        self.value_size = int(hidden_size * config.expansion_factor)
        self.query_size = config.attention_size
        self.norm = ScaleNorm(hidden_size)
        self.gate_value_base = nn.Linear(hidden_size, 2 * self.value_size + self.query_size, bias=False)
        # Queries and keys are one projection, each with a scale and an offset of its own.
        self.query_key_weight = nn.Parameter(torch.ones(2, self.query_size))
        self.query_key_bias = nn.Parameter(torch.zeros(2, self.query_size))
        self.position = None if num_tokens is None else nn.Parameter(torch.zeros(num_tokens, self.query_size))
        self.activation = ACT2FN[config.attention_act]
        self.dropout = nn.Dropout(config.attention_dropout)
        self.projection = nn.Linear(self.value_size, hidden_size, bias=False)
        self.residual_scale = ResidualScale(hidden_size)
        self.drop_path = DropPath(config.drop_path_rate)

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
    """Part of `_init_weights` of models with a `GatedAttentionUnit`: the parameters that transformers does not
    know."""
    if isinstance(module, (ScaleNorm, ResidualScale)):
        init.ones_(module.weight)
    elif isinstance(module, GatedAttentionUnit):
        init.uniform_(module.query_key_weight)
        init.uniform_(module.query_key_bias)
        if module.position is not None:
            init.normal_(module.position)


# Reference name -> our name.
GATED_ATTENTION_RENAMES: RenameRules = (
    (r"\.gau\.ln\.g$", ".attention.norm.weight"),
    (r"\.gau\.uv\.", ".attention.gate_value_base."),
    (r"\.gau\.o\.", ".attention.projection."),
    (r"\.gau\.gamma$", ".attention.query_key_weight"),
    (r"\.gau\.beta$", ".attention.query_key_bias"),
    (r"\.gau\.res_scale\.scale$", ".attention.residual_scale.weight"),
)


def gated_attention_arguments(gau_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration arguments for the reference's `gau_cfg`."""
    return {
        "attention_size": gau_cfg.get("s", 128),
        "expansion_factor": gau_cfg.get("expansion_factor", 2),
        "attention_act": activation_name(gau_cfg.get("act_fn", "SiLU")),
        "attention_dropout": gau_cfg.get("dropout_rate", 0.0),
        "drop_path_rate": gau_cfg.get("drop_path", 0.0),
    }
