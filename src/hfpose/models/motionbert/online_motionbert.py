"""MotionBERT for frames that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting, MotionBertLayer


class _Run(NamedTuple):
    """People of a batch who have neighboring rows of memory and as many frames in it, and what is there of each layer.

    Args:
        people: R of the batch.
        new: (2, R, K, num_heads, L, C) where keys and values of the new frames are to be written, of each layer.
        seen: (R * K * num_heads, T, C) keys of all frames of the first layer, values, keys of the second, and so on.
    """

    people: slice
    new: Sequence[Tensor]
    seen: Sequence[Tensor]


class OnlineMotionBert:
    """Lifts new frames with what is kept of the frames before them, for the cost of the new ones.

    Kept are the keys and values that temporal attention has of the frames of each person, in a row of a memory.
    The frames before do not see the new ones, so the result is near to that of the whole clip. The two streams of a
    block do the same in another order and are computed side by side, with their weights in one tensor and norms folded
    into the projections after them: a small network spends most of its time between its operations.

    Args:
        model: in evaluation mode; its weights are copied.
        most: frames of a person at most.

    Attributes:
        lengths: frames in each row of the memory; who sets it to fewer forgets the last of them.
    """

    def __init__(self, model: MotionBertForPoseLifting, most: int) -> None:
        config = model.config
        heads, layers = config.num_attention_heads, 2 * config.num_hidden_layers
        shape = (layers, 2, 0, int(config.num_labels or 0), heads, most, config.hidden_size // heads)
        self.lengths: list[int] = []
        self._model = model
        self._memory = torch.empty(shape, device=model.device, dtype=model.dtype)
        self._blocks = [_Block(block, 2 * number) for number, block in enumerate(model.backbone.layers)]

    def add_row(self) -> int:
        """Make room for one more person; returns the row of memory."""
        more = self._memory.new_empty((*self._memory.shape[:2], 1, *self._memory.shape[3:]))
        self._memory = torch.cat((self._memory, more), dim=2)
        self.lengths.append(0)
        return len(self.lengths) - 1

    @torch.inference_mode()
    def __call__(self, keypoints_2d: Tensor, rows: Sequence[int], wanted: slice = slice(None)) -> Tensor:
        """Coordinates (B, wanted, K, 3) on the CPU, in units of the network, of new frames of each of B people.

        Args:
            keypoints_2d: (B, L, K, C), see `MotionBertForPoseLifting.forward`.
            rows: of memory with the frames before, of each person, to which the new ones are added.
            wanted: frames of the L whose coordinates are asked for; others end at the attention of the last layers.
        """
        keypoints_2d = keypoints_2d.to(self._memory)
        backbone, runs = self._model.backbone, self._runs(rows, keypoints_2d.shape[1])
        hidden_state = backbone.embeddings(keypoints_2d, [self.lengths[row] for row in rows])
        for block in self._blocks[:-1]:
            hidden_state = block(hidden_state, runs)
        hidden_state = self._blocks[-1](hidden_state, runs, wanted)
        for row in rows:
            self.lengths[row] += keypoints_2d.shape[1]
        return self._model.head(backbone.norm(hidden_state)).float().cpu()

    def _runs(self, rows: Sequence[int], length: int) -> list[_Run]:
        runs: list[_Run] = []
        for _, group in groupby(enumerate(rows), lambda pair: (pair[1] - pair[0], self.lengths[pair[1]])):
            (index, row), *others = group
            first, count = self.lengths[row], len(others) + 1
            seen = self._memory[:, :, row : row + count, ..., : first + length, :]
            people, new = slice(index, index + count), seen[..., first:, :].unbind()
            runs.append(_Run(people, new, seen.flatten(2, 4).flatten(0, 1).unbind()))
        return runs


class _Block:
    """A `MotionBertDualStreamBlock` over (B, L, K, C); temporal attention has the numbers `index` and `index + 1`."""

    def __init__(self, block: Any, index: int) -> None:
        one, other = block.spatial_first, block.temporal_first
        self._layers = [
            _LayerPair(one.spatial, other.temporal, index),
            _LayerPair(one.temporal, other.spatial, index + 1),
        ]
        self._block = block

    def __call__(self, hidden_state: Tensor, runs: Sequence[_Run], wanted: slice | None = None) -> Tensor:
        streams = self._layers[0](hidden_state.expand(2, -1, -1, -1, -1), runs)
        return self._block.fuse(*self._layers[1](streams, runs, wanted).unbind())


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
        self._query_key_value.scale_queries(self._num_heads)
        self._output = _LinearPair([layer.attention.output for layer in pair])
        self._fc1 = _LinearPair([layer.mlp.fc1 for layer in pair], [layer.mlp_norm for layer in pair])
        self._fc2 = _LinearPair([layer.mlp.fc2 for layer in pair])

    def __call__(self, streams: Tensor, runs: Sequence[_Run], wanted: slice | None = None) -> Tensor:
        heads = self._query_key_value(streams.flatten(1, 3)).view(*streams.shape[:4], 3, self._num_heads, -1)
        contexts = torch.stack(
            [
                _among_frames(each, runs, self._index) if over_frames else _among_joints(each)
                for each, over_frames in zip(heads.unbind(), self._over_frames, strict=True)
            ]
        )
        if wanted is not None:
            streams, contexts = streams[:, :, wanted], contexts[:, :, wanted]
        shape, streams = streams.shape, streams.flatten(1, 3)
        streams = streams + self._output(contexts.reshape(streams.shape))
        return (streams + self._fc2(self._activation(self._fc1(streams)))).view(shape)


class _LinearPair:
    """Two linear layers, each over one of two streams (2, R, C), after a norm of the streams or none.

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

    def scale_queries(self, num_heads: int) -> None:
        """Fold what attention multiplies its queries by, the first third of the outputs, into the weights."""
        size = self._weight.shape[1]
        self._weight[..., :size] *= (size // num_heads) ** -0.5
        self._bias[..., :size] *= (size // num_heads) ** -0.5

    def __call__(self, streams: Tensor) -> Tensor:
        if self._eps is not None:
            streams = F.layer_norm(streams, streams.shape[-1:], eps=self._eps)
        return torch.baddbmm(self._bias, streams, self._weight)


def _among_joints(heads: Tensor) -> Tensor:
    """Attention (B, L, K, num_heads, C) of each frame's joints.

    Args:
        heads: (B, L, K, 3, num_heads, C) queries, scaled, with keys and values.
    """
    query, key, value = heads.flatten(0, 1).permute(2, 0, 3, 1, 4).unbind()
    context = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return context.transpose(1, 2).view(*heads.shape[:3], *heads.shape[4:])


def _among_frames(heads: Tensor, runs: Sequence[_Run], index: int) -> Tensor:
    """The same of each joint's new frames to these and all frames before, where layer `index` has seen them."""
    contexts = []
    for people, new, seen in runs:
        own = heads[people].permute(3, 0, 2, 4, 1, 5)  # (3, R, K, num_heads, L, C)
        new[index].copy_(own[1:])
        key, value = seen[2 * index : 2 * index + 2]
        weights = torch.bmm(own[0].flatten(0, 2), key.mT).softmax(-1)  # faster than a fused kernel for one query
        contexts.append(torch.bmm(weights, value).view(own.shape[1:]))
    return (contexts[0] if len(contexts) == 1 else torch.cat(contexts)).permute(0, 3, 1, 2, 4)
