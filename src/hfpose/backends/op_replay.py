"""Networks as the plain list of what they computed, which runs without a walk through their modules.

Small networks spend a good part of their time between their operations, in Python. What a network calls for inputs of
one shape is the same every time, so it can be written down once. The operations are the same ones in the same order,
and so are the results, to the last bit.
"""

from __future__ import annotations

import operator
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_aggregate
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.utils import ModelOutput

# Inputs of a shape that is seen once or twice do not repay the time of recording.
_RUNS_BEFORE_RECORDING = 2
# In larger batches the time between operations does not show.
_LARGEST_BATCH = 4
# Shapes that are kept in mind.
_MOST_SHAPES = 16

_Key = tuple[Any, ...]


class RecordedNetwork:
    """Calls a network, and from its third call for small inputs of the same shape on what it did instead.

    Args:
        network: takes tensors by name and returns a `ModelOutput` that depends on nothing else; in evaluation mode,
            with weights that stay as they are.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        self.network = network
        self._lock = threading.Lock()  # several threads may call
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
        with self._lock:
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
    kind, output_names, input_names = type(outputs), tuple(outputs), tuple(inputs)
    try:
        recording = _Recorder(inputs).record(network)
    except Exception:  # where a network looks at values, and whatever else cannot be followed
        return None
    _compute_constants(recording)
    # Attributes of the object itself are found at once, weights of a module only after a search.
    vars(recording).update([*recording.named_parameters(), *recording.named_buffers()])

    def replay(**values: Tensor) -> ModelOutput:
        found = recording(*(values[name] for name in input_names))
        return kind(**dict(zip(output_names, found, strict=True)))

    again = replay(**inputs)
    # A few operations are made of others that round differently.
    return replay if all(torch.equal(again[name], outputs[name]) for name in output_names) else None


class _Recorder(TorchDispatchMode):
    """Writes down each operation on tensors, and which tensors it takes: an input, a weight, or what came of an
    earlier one.

    Args:
        inputs: of the network, by name.
    """

    def __init__(self, inputs: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._graph = Graph()
        self._weights: dict[str, Tensor] = {}
        self._nodes: dict[int, Node] = {}
        self._seen: list[Tensor] = []  # kept, so that no other tensor gets the identity of one of them
        self._inputs = dict(inputs)
        for name, value in inputs.items():
            self._note(value, self._graph.placeholder(name))

    def record(self, network: Callable[..., Any]) -> GraphModule:
        """The operations of a run of the network, as a module that takes the inputs and returns a tuple of the
        outputs."""
        with self, _OwnUpsampling():
            outputs = network(**self._inputs)
        self._graph.output(tuple(self._node_of(value) for value in outputs.values()))
        return GraphModule(self._weights, self._graph)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        taken = map_aggregate((args, kwargs), self._node_of)
        result = func(*args, **kwargs)
        node = self._graph.call_function(func, *taken)
        if isinstance(result, Tensor):
            self._note(result, node)
        elif isinstance(result, (tuple, list)) and all(isinstance(value, Tensor) for value in result):
            for index, value in enumerate(result):
                self._note(value, self._graph.call_function(operator.getitem, (node, index)))
        else:
            raise NotImplementedError(f"{func} gives no tensor, and what depends on it cannot be recorded")
        return result

    def _note(self, tensor: Tensor, node: Node) -> None:
        self._nodes[id(tensor)] = node
        self._seen.append(tensor)

    def _node_of(self, value: Any) -> Any:
        """The node of a tensor, whatever else it is as it is."""
        if not isinstance(value, Tensor):
            return value
        if id(value) not in self._nodes:
            name = f"_weight{len(self._weights)}"
            self._weights[name] = value
            self._note(value, self._graph.create_node("get_attr", name))
        return self._nodes[id(value)]


class _OwnUpsampling(TorchFunctionMode):
    """Upsampling as the one operation that it is; torch would do a slow equivalent where it is recorded."""

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
