"""MotionBERT for frames that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting, MotionBertLayer


class SeenFrames:
    """Keys and values that temporal attention has of the frames of a person, in memory that stays where it is.

    Args:
        model: that sees them.
        most: frames at most.
    """

    def __init__(self, model: MotionBertForPoseLifting, most: int) -> None:
        config = model.config
        heads, layers = config.num_attention_heads, 2 * config.num_hidden_layers
        shape = (layers, 2, int(config.num_labels or 0), heads, most, config.hidden_size // heads)
        self._values = torch.empty(shape, device=model.device, dtype=model.dtype)
        self.length = 0

    def add(self, layer: int, new: Tensor) -> Tensor:
        """Keys and values (2, K, num_heads, T, C) of all frames, the last L of which are `new` (2, K, num_heads, L, C)."""
        end = self.length + new.shape[-2]
        self._values[layer, ..., self.length : end, :] = new
        return self._values[layer, ..., :end, :]


class OnlineMotionBert:
    """Lifts new frames with what is kept of the frames before them, for the cost of the new ones.

    The frames before do not see the new ones, so the result is near to that of the whole clip. The two streams of a block
    do the same in another order and are computed side by side, with their weights in one tensor and norms folded into the
    projections after them: a small network spends most of its time between its operations.

    Args:
        model: in evaluation mode; its weights are copied.
    """

    def __init__(self, model: MotionBertForPoseLifting) -> None:
        self.model = model
        self._blocks = [_Block(block, 2 * number) for number, block in enumerate(model.backbone.layers)]

    @torch.inference_mode()
    def __call__(self, keypoints_2d: Tensor, seen: Sequence[SeenFrames]) -> Tensor:
        """Coordinates (B, L, K, 3), in units of the network, of L new frames of each of B people.

        Args:
            keypoints_2d: (B, L, K, C), see `MotionBertForPoseLifting.forward`.
            seen: the frames before, of each person, to which the new ones are added.
        """
        backbone = self.model.backbone
        hidden_state = backbone.embeddings(keypoints_2d, [each.length for each in seen])
        for block in self._blocks:
            hidden_state = block(hidden_state, seen)
        for each in seen:
            each.length += keypoints_2d.shape[1]
        return self.model.head(backbone.norm(hidden_state))


class _Block:
    """A `MotionBertDualStreamBlock` over (B, L, K, C); temporal attention has the numbers `index` and `index + 1`."""

    def __init__(self, block: Any, index: int) -> None:
        one, other = block.spatial_first, block.temporal_first
        self._layers = [
            _LayerPair(one.spatial, other.temporal, index),
            _LayerPair(one.temporal, other.spatial, index + 1),
        ]
        self._block = block

    def __call__(self, hidden_state: Tensor, seen: Sequence[SeenFrames]) -> Tensor:
        streams = hidden_state.expand(2, *hidden_state.shape)
        for layer in self._layers:
            streams = layer(streams, seen)
        return self._block.fuse(*streams)


class _LayerPair:
    """Two `MotionBertLayer`s, one among joints and one among frames, each over one of two streams (2, B, L, K, C)."""

    def __init__(self, first: MotionBertLayer, second: MotionBertLayer, index: int) -> None:
        pair = (first, second)
        self._over_frames = [layer.over_frames for layer in pair]
        self._index = index
        self._num_heads, self._activation = first.attention.num_heads, first.mlp.activation
        self._query_key_value = _LinearPair(
            [layer.attention.query_key_value for layer in pair], [layer.attention_norm for layer in pair]
        )
        self._output = _LinearPair([layer.attention.output for layer in pair])
        self._fc1 = _LinearPair([layer.mlp.fc1 for layer in pair], [layer.mlp_norm for layer in pair])
        self._fc2 = _LinearPair([layer.mlp.fc2 for layer in pair])

    def __call__(self, streams: Tensor, seen: Sequence[SeenFrames]) -> Tensor:
        heads = self._query_key_value(streams).unflatten(-1, (3, self._num_heads, -1)).movedim(4, 1)
        contexts = [
            _among_frames(each, seen, self._index) if over_frames else _among_joints(each)
            for each, over_frames in zip(heads, self._over_frames, strict=True)
        ]
        streams = streams + self._output(torch.stack(contexts).flatten(-2))
        return streams + self._fc2(self._activation(self._fc1(streams)))


class _LinearPair:
    """Two linear layers, each over one of two streams (2, B, L, K, C), after a norm of the streams or none.

    A norm's weight and bias are folded into the layer: its product with them is that of a normalized value alone.
    """

    def __init__(self, linears: Sequence[nn.Linear], norms: Sequence[nn.LayerNorm] = ()) -> None:
        weight = torch.stack([linear.weight.detach().t() for linear in linears])  # (2, C, out)
        zeros = weight.new_zeros(weight.shape[-1])
        bias = torch.stack([zeros if linear.bias is None else linear.bias.detach() for linear in linears])[:, None]
        self._eps = norms[0].eps if norms else None
        if norms:
            bias = torch.stack([norm.bias.detach() for norm in norms])[:, None] @ weight + bias
            weight = torch.stack([norm.weight.detach() for norm in norms])[..., None] * weight
        self._weight, self._bias = weight.contiguous(), bias

    def __call__(self, streams: Tensor) -> Tensor:
        rows = streams.flatten(1, 3)
        if self._eps is not None:
            rows = F.layer_norm(rows, rows.shape[-1:], eps=self._eps)
        return torch.baddbmm(self._bias, rows, self._weight).unflatten(1, streams.shape[1:4])


def _among_joints(heads: Tensor) -> Tensor:
    """Attention (B, L, K, num_heads, C) of each frame's joints; `heads` (3, B, L, K, num_heads, C) as `_among_frames`."""
    query, key, value = heads.flatten(1, 2).transpose(2, 3)
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2).unflatten(0, heads.shape[1:3])


def _among_frames(heads: Tensor, seen: Sequence[SeenFrames], index: int) -> Tensor:
    """The same of each joint's new frames to all frames that are `seen`, to which their keys and values are added."""
    contexts = []
    for query_key_value, frames in zip(heads.permute(1, 0, 3, 4, 2, 5), seen, strict=True):  # (3, K, num_heads, L, C)
        key, value = frames.add(index, query_key_value[1:]).flatten(1, 2)  # (K * num_heads, T, C)
        query = query_key_value[0].flatten(0, 1) * key.shape[-1] ** -0.5
        contexts.append((query @ key.mT).softmax(-1) @ value)  # faster than a fused kernel for one query
    return torch.stack(contexts).unflatten(1, heads.shape[3:5]).permute(0, 3, 1, 2, 4)
