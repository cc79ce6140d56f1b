"""Networks as the plain list of what they computed, which runs without a walk through their modules.

Small networks spend a good part of their time between their operations, in Python. What a network calls for inputs of one
shape is the same every time, so it can be written down once. The operations are the same ones in the same order, and so are
the results, to the last bit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.overrides import TorchFunctionMode
from transformers.utils import ModelOutput

# Recording takes as long as a dozen runs, which inputs of a shape that is seen once or twice do not repay.
_RUNS_BEFORE_RECORDING = 2
# In larger batches the time between operations does not show.
_LARGEST_BATCH = 4
# Shapes that are kept in mind.
_MOST_SHAPES = 16

_Key = tuple[Any, ...]
_Recording = Callable[..., tuple[Tensor, ...]]


class RecordedNetwork:
    """Calls a network, and from its third call for small inputs of the same shape on what it did instead.

    Args:
        network: takes tensors by name and returns a `ModelOutput` that depends on nothing else; in evaluation mode, with
            weights that stay as they are.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network
        self._runs: Counter[_Key] = Counter()
        self._recordings: dict[_Key, Callable[..., Any]] = {}

    def __call__(self, **inputs: Any) -> Any:
        if not _can_be_recorded(inputs):
            return self.network(**inputs)
        key = tuple((name, value.shape, value.stride(), value.dtype) for name, value in inputs.items())
        recording = self._recordings.get(key)
        if recording is not None:
            return recording(**inputs)
        outputs = self.network(**inputs)
        if key in self._runs or len(self._runs) < _MOST_SHAPES:
            self._runs[key] += 1
            if self._runs[key] == _RUNS_BEFORE_RECORDING:
                self._recordings[key] = _record(self.network, inputs, outputs) or self.network
        return outputs


def _can_be_recorded(inputs: Mapping[str, Any]) -> bool:
    if not torch.is_inference_mode_enabled() or torch.is_autocast_enabled("cpu"):
        return False
    return all(
        isinstance(value, Tensor) and value.device.type == "cpu" and 0 < len(value) <= _LARGEST_BATCH
        for value in inputs.values()
    )


def _record(network: Callable[..., Any], inputs: Mapping[str, Tensor], outputs: Any) -> Callable[..., Any] | None:
    """What a network does with inputs like these, whose outputs are known; None where that cannot be recorded."""
    if not isinstance(outputs, ModelOutput) or not all(isinstance(value, Tensor) for value in outputs.values()):
        return None
    from torch.fx.experimental.proxy_tensor import make_fx

    kind, output_names, input_names = type(outputs), tuple(outputs), tuple(inputs)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        with _OwnUpsampling():
            found = network(**dict(zip(input_names, values, strict=True)))
        return tuple(found[name] for name in output_names)

    try:
        recording = make_fx(run)(*inputs.values())
    except Exception:  # where a network looks at values, and whatever else torch cannot follow
        return None
    _compute_constants(recording)
    # Attributes of the object itself are found at once, weights of a module only after a search.
    vars(recording).update([*recording.named_parameters(), *recording.named_buffers()])

    def replay(**values: Tensor) -> ModelOutput:
        found = recording(*(values[name] for name in input_names))
        return kind(**dict(zip(output_names, found, strict=True)))

    again = replay(**inputs)
    # Torch records a few operations by others that round differently.
    return replay if all(torch.equal(again[name], outputs[name]) for name in output_names) else None


class _OwnUpsampling(TorchFunctionMode):
    """Records upsampling as the one operation that it is; torch would record a slow equivalent."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not nn.functional.interpolate:
            return func(*args, **kwargs)
        options = {name: value for name, value in kwargs.items() if value not in (None, False)}
        factor = options.pop("scale_factor", None)
        if (
            len(args) != 1
            or args[0].ndim != 4
            or not isinstance(factor, (int, float))
            or options != {"mode": "nearest"}
        ):
            raise NotImplementedError("only upsampling to the nearest pixel by a factor is recorded")
        size = [int(side * factor) for side in args[0].shape[-2:]]
        return torch.ops.aten.upsample_nearest2d.default(args[0], size, float(factor), float(factor))


def _compute_constants(recording: GraphModule) -> None:
    """Replace what does not depend on the inputs by its value."""
    graph: Graph = recording.graph
    steps = [node for node in graph.nodes if node.op == "call_function"]
    if any(_writes_into_tensors(node) for node in steps):
        return
    values: dict[Node, Any] = {node: getattr(recording, node.target) for node in graph.nodes if node.op == "get_attr"}
    for node in steps:
        if all(argument in values for argument in node.all_input_nodes):
            args, kwargs = torch.fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = node.target(*args, **kwargs)
    for number, node in enumerate(step for step in steps if isinstance(values.get(step), Tensor)):
        name = f"_constant_value{number}"
        recording.register_buffer(name, values[node])
        with graph.inserting_before(node):
            node.replace_all_uses_with(graph.get_attr(name))
    graph.eliminate_dead_code()
    recording.delete_all_unused_submodules()
    recording.recompile()


def _writes_into_tensors(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable
