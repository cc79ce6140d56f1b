"""Attention by any of transformers' implementations: eager, sdpa, flash where it is installed."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


class AnyAttention:
    """Base of models whose attention is `attend`, or that have none: they work with every implementation."""

    _supports_sdpa = True
    _supports_flash_attn = True

    @classmethod
    def _can_set_attn_implementation(cls) -> bool:
        # transformers looks for names of functions of its own in the file of the class.
        return True

    def get_input_embeddings(self) -> Any:
        """None: images have no tokens to look up. Quantizers of transformers ask every model."""
        return None


def attend(
    module: nn.Module,
    config: PreTrainedConfig,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor | None]:
    """Attention of queries (N, num_heads, L, C) to keys and values (N, num_heads, M, C), in both directions.

    Args:
        module: that asks for it; it gives both results on, so that transformers can record the weights.
        config: its `_attn_implementation` chooses.
        query, key, value: see above.
        mask: what is added to the scores (N or 1, num_heads or 1, L, M), or what the implementation takes in its
            place.
        dropout: share of the weights that are left out.

    Returns:
        (N, L, num_heads, C), and the weights (N, num_heads, L, M), where the implementation gives them.
    """
    implementation = ALL_ATTENTION_FUNCTIONS.get_interface(config._attn_implementation, _eager_attention)
    scaling = query.shape[-1] ** -0.5
    return implementation(module, query, key, value, mask, dropout=dropout, scaling=scaling, is_causal=False)


def _eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float = 1.0,
    **kwargs: object,
) -> tuple[Tensor, Tensor]:
    """See `attend`."""
    scores = query * scaling @ key.transpose(2, 3)
    weights = F.dropout((scores if mask is None else scores + mask).softmax(-1), dropout, module.training)
    return (weights @ value).transpose(1, 2), weights
