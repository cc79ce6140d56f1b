"""MotionBERT for frames that come one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import GELUActivation

from hfpose.models.motionbert.modeling_motionbert import (
    MotionBertEmbeddings,
    MotionBertForPoseLifting,
    MotionBertLayer,
)


class _Frames(NamedTuple):
    """What attention among the L new frames of B people reads and writes, for each of J = K * num_heads heads.

    Args:
        query: (B, J, L, C), scaled.
        key_value: (2, B, J, L, C).
        context: (B, J, L, C), to be written.
    """

    query: Tensor
    key_value: Tensor
    context: Tensor


class _Joints(NamedTuple):
    """The same for attention among joints, (B * L, num_heads, K, C) each."""

    query: Tensor
    key: Tensor
    value: Tensor
    context: Tensor


class _Run(NamedTuple):
    """R people of a batch who have neighboring rows of memory and as many frames in it.

    Args:
        frames: theirs, in each of the two streams.
        new: (2, R, J, L, C) where keys and values of the new frames are to be written, of each layer.
        keys: (R * J, C, T) of all frames, of each layer.
        values: (R * J, T, C) the same.
    """

    frames: Sequence[_Frames]
    new: Sequence[Tensor]
    keys: Sequence[Tensor]
    values: Sequence[Tensor]


class _Workspace:
    """What attention reads and writes for L new frames of B people: memory, and views of it that are made once.

    Args:
        shape: B, L and K.
        num_heads: of the attention.
        like: a tensor of the type and on the device, whose last dimension is the hidden size.

    Attributes:
        heads: (2, B * L * K, num_heads * 3 * C) queries, keys and values of both streams.
        contexts: (2, B * L * K, num_heads * C) what attention gives.
        joints: views for each stream.
    """

    def __init__(self, shape: Sequence[int], num_heads: int, like: Tensor) -> None:
        batch, length, joints = self.shape = tuple(shape)
        self.heads = like.new_empty(2, batch * length * joints, 3 * like.shape[-1])
        self.contexts = like.new_empty(2, batch * length * joints, like.shape[-1])
        self.joints, self._frames = [], []
        for heads, context in zip(
            self.heads.view(2, batch, length, joints, num_heads, 3, -1),
            self.contexts.view(2, batch, length, joints, num_heads, -1),
            strict=True,
        ):
            query, key, value = heads.flatten(0, 1).transpose(1, 2).unbind(3)
            self.joints.append(_Joints(query, key, value, context.flatten(0, 1).transpose(1, 2)))
            of_frames = heads.flatten(2, 3).permute(3, 0, 2, 1, 4)
            self._frames.append(_Frames(of_frames[0], of_frames[1:], context.flatten(2, 3).transpose(1, 2)))

    def frames(self, people: slice) -> list[_Frames]:
        """Views for people of the batch, of each stream."""
        if people == slice(0, self.shape[0]):
            return self._frames
        return [
            _Frames(query[people], key_value[:, people], context[people]) for query, key_value, context in self._frames
        ]


class OnlineMotionBert:
    """Lifts new frames with what is kept of the frames before them, for the cost of the new ones.

    Kept are the keys and values that temporal attention has of the frames of each person, in a row of a memory.
    The frames before do not see the new ones, so the result is near to that of the whole clip. A small network spends
    most of its time between its operations, so there are few of them: the two streams of a block do the same in
    another order and are computed side by side, with their weights in one tensor; norms are folded into the
    projections after them, positions and biases are added up before, and views of memory are made once.

    Args:
        model: in evaluation mode; its weights are copied.
        most: frames of a person at most.

    Attributes:
        lengths: frames in each row of the memory; who sets it to fewer forgets the last of them.
    """

    def __init__(self, model: MotionBertForPoseLifting, most: int) -> None:
        config, backbone, head = model.config, model.backbone, model.head
        heads, layers = config.num_attention_heads, 2 * config.num_hidden_layers
        shape = (layers, 2, 0, int(config.num_labels or 0) * heads, most, config.hidden_size // heads)
        self.lengths: list[int] = []
        self._memory = torch.empty(shape, device=model.device, dtype=model.dtype)
        self._positions, self._projection = _embeddings(backbone.embeddings)
        self._blocks = [_Block(block, 2 * number) for number, block in enumerate(backbone.layers)]
        self._representation = _Linears([head.representation], [backbone.norm])
        self._regressor = _Linears([head.regressor])
        self._num_heads, self._workspace = heads, _Workspace((1, 1, 1), heads, self._projection)

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
        batch, length, joints = shape = tuple(keypoints_2d.shape[:3])
        if self._workspace.shape != shape:
            self._workspace = _Workspace(shape, self._num_heads, self._projection)
        runs = self._runs(rows, length)
        hidden_state = self._embed(keypoints_2d, rows)
        for block in self._blocks[:-1]:
            hidden_state = block(hidden_state, self._workspace, runs)
        some = None if range(length)[wanted] == range(length) else wanted
        hidden_state = self._blocks[-1](hidden_state, self._workspace, runs, some)
        for row in rows:
            self.lengths[row] += length
        keypoints_3d = self._regressor(self._representation(hidden_state[None]).tanh())
        return keypoints_3d.view(batch, -1, joints, 3).float().cpu()

    def _embed(self, keypoints_2d: Tensor, rows: Sequence[int]) -> Tensor:
        """Keypoints (B, L, K, C) as (B * L * K, hidden_size), with the positions after the frames of `rows`."""
        length = keypoints_2d.shape[1]
        positions = [self._positions[self.lengths[row] : self.lengths[row] + length].flatten(0, 1) for row in rows]
        added = positions[0] if len(positions) == 1 else torch.cat(positions)
        return torch.addmm(added, keypoints_2d.flatten(0, 2), self._projection)

    def _runs(self, rows: Sequence[int], length: int) -> list[_Run]:
        runs: list[_Run] = []
        for _, group in groupby(enumerate(rows), lambda pair: (pair[1] - pair[0], self.lengths[pair[1]])):
            (index, row), *others = group
            first, count = self.lengths[row], len(others) + 1
            seen = self._memory[:, :, row : row + count, :, : first + length]
            keys, values = seen.flatten(2, 3).unbind(1)
            frames, new = self._workspace.frames(slice(index, index + count)), seen[..., first:, :].unbind()
            runs.append(_Run(frames, new, keys.mT.unbind(), values.unbind()))
        return runs


def _embeddings(embeddings: MotionBertEmbeddings) -> tuple[Tensor, Tensor]:
    """What is added for each frame and joint (T, K, hidden_size), and the matrix (C, hidden_size) for keypoints."""
    projection = embeddings.projection
    positions = embeddings.temporal_embeddings[0] + embeddings.spatial_embeddings + projection.bias
    return positions.detach(), projection.weight.detach().t().contiguous()


class _Block:
    """A `MotionBertDualStreamBlock` over (B * L * K, C), whose layers have the numbers `index` and `index + 1`."""

    def __init__(self, block: Any, index: int) -> None:
        one, other = block.spatial_first, block.temporal_first
        self._layers = [
            _LayerPair(one.spatial, other.temporal, index),
            _LayerPair(one.temporal, other.spatial, index + 1),
        ]
        self._fusion = block.fusion
        if block.fusion is not None:  # the softmax of two is the sigmoid of their difference
            weight, bias = block.fusion.weight.detach(), block.fusion.bias.detach()
            self._weight, self._bias = (weight[0] - weight[1])[:, None], bias[:1] - bias[1:]

    def __call__(
        self, hidden_state: Tensor, workspace: _Workspace, runs: Sequence[_Run], wanted: slice | None = None
    ) -> Tensor:
        streams = self._layers[0](hidden_state.expand(2, -1, -1), workspace, runs)
        return self._fuse(*self._layers[1](streams, workspace, runs, wanted).unbind())

    def _fuse(self, spatial_first: Tensor, temporal_first: Tensor) -> Tensor:
        """What `MotionBertDualStreamBlock.fuse` does."""
        if self._fusion is None:
            return (spatial_first + temporal_first) * 0.5
        share = torch.addmm(self._bias, torch.cat((spatial_first, temporal_first), dim=-1), self._weight).sigmoid()
        return torch.lerp(temporal_first, spatial_first, share)


class _LayerPair:
    """Two `MotionBertLayer`s, among joints and among frames, each over one of two streams (2, B * L * K, C)."""

    def __init__(self, first: MotionBertLayer, second: MotionBertLayer, index: int) -> None:
        pair = (first, second)
        self._over_frames = int(second.over_frames)  # which of the two is among frames
        self._index = index
        self._num_heads, self._activate = first.attention.num_heads, first.mlp.activation.forward
        self._query_key_value = _Linears(
            [layer.attention.query_key_value for layer in pair], [layer.attention_norm for layer in pair]
        )
        size = first.attention.config.hidden_size
        self._query_key_value.scale((size // self._num_heads) ** -0.5, slice(size))  # the queries
        self._query_key_value.split_heads(self._num_heads)
        self._output = _Linears([layer.attention.output for layer in pair])
        self._fc1 = _Linears([layer.mlp.fc1 for layer in pair], [layer.mlp_norm for layer in pair])
        self._fc2 = _Linears([layer.mlp.fc2 for layer in pair])
        if isinstance(first.mlp.activation, GELUActivation):
            self._fc1.scale(0.5**0.5)
            self._fc2.scale(0.5**0.5, bias=False)
            self._activate = _gelu_of_scaled

    def __call__(
        self, streams: Tensor, workspace: _Workspace, runs: Sequence[_Run], wanted: slice | None = None
    ) -> Tensor:
        self._query_key_value(streams, out=workspace.heads)
        _attend_among_joints(workspace.joints[1 - self._over_frames])
        for run in runs:
            _attend_among_frames(run, self._over_frames, self._index)
        contexts = workspace.contexts
        if wanted is not None:
            streams, contexts = (
                each.view(2, *workspace.shape, -1)[:, :, wanted].flatten(1, 3) for each in (streams, contexts)
            )
        streams = self._output(contexts).add_(streams)
        return self._fc2(self._activate(self._fc1(streams))).add_(streams)


class _Linears:
    """S linear layers, each over one of S streams (S, R, C), after a norm of the streams or none.

    A norm's weight and bias are folded into the layer: its product with them is that of a normalized value alone.
    """

    def __init__(self, linears: Sequence[nn.Linear], norms: Sequence[nn.LayerNorm] = ()) -> None:
        weight = torch.stack([linear.weight.detach().t() for linear in linears])  # (S, C, out)
        zeros = weight.new_zeros(weight.shape[-1])
        bias = torch.stack([zeros if linear.bias is None else linear.bias.detach() for linear in linears])[:, None]
        self._eps = norms[0].eps if norms else None
        if norms:
            bias = torch.stack([norm.bias.detach() for norm in norms])[:, None] @ weight + bias
            weight = torch.stack([norm.weight.detach() for norm in norms])[..., None] * weight
        self._weight, self._bias = weight.contiguous(), bias

    def scale(self, factor: float, outputs: slice = slice(None), bias: bool = True) -> None:
        """Multiply what the layers give, or their products alone, without the bias."""
        for values in (self._weight, self._bias)[: 1 + bias]:
            values[..., outputs] *= factor

    def split_heads(self, num_heads: int) -> None:
        """Let each head have its query, key and value side by side, so that the heads of a frame lie in one row."""
        for values in (self._weight, self._bias):
            values.copy_(values.unflatten(-1, (3, num_heads, -1)).transpose(-3, -2).flatten(-3))

    def __call__(self, streams: Tensor, out: Tensor | None = None) -> Tensor:
        if self._eps is not None:
            streams = torch.layer_norm(streams, streams.shape[-1:], None, None, self._eps)
        return torch.baddbmm(self._bias, streams, self._weight, out=out)


def _gelu_of_scaled(values: Tensor) -> Tensor:
    """GELU of √2 times the values, times √2: two operations, which take half as long as torch's own."""
    return torch.addcmul(values, values, values.erf())


def _attend_among_joints(joints: _Joints) -> None:
    """Attention of each frame's joints."""
    query, key, value, context = joints
    context.copy_(F.scaled_dot_product_attention(query, key, value, scale=1.0))


def _attend_among_frames(run: _Run, stream: int, layer: int) -> None:
    """Attention of each joint's new frames to these and all frames before, where the layer has seen them."""
    query, key_value, context = run.frames[stream]
    run.new[layer].copy_(key_value)
    weights = torch.bmm(query.flatten(0, 1), run.keys[layer]).softmax(-1)  # faster than a fused kernel for one query
    context.copy_(torch.bmm(weights, run.values[layer]).view(context.shape))
