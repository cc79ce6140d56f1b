"""Networks on Nvidia's GPUs as CUDA graphs, all of whose kernels start at once instead of one by one from Python."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

BATCH_SIZES = (1, 4, 8, 16, 32, 64, 128, 256)
"""A graph is of one batch size; others are padded to the next one, and larger batches run without a graph.

A batch of 4 takes hardly longer than one of 1, while cuDNN looks for seconds for what computes one of a new size.
"""

MOST_GRAPHS = 32
"""Of a network, for inputs of so many sizes; what comes in more runs without."""

# Runs in which libraries choose their algorithms, which they cannot do while a graph is captured.
_WARM_UP = 3
# To begin a capture waits for the whole device, which must not capture another one then.
_CAPTURING = threading.Lock()

Capture = Callable[[Callable[..., Any], Mapping[str, Tensor]], Callable[[], Any]]
# Inputs that stay where they are, and what computes outputs of them.
_Graph = tuple[dict[str, Tensor], Callable[[], Any]]


def capture_cuda_graph(network: Callable[..., Any], inputs: Mapping[str, Tensor]) -> Callable[[], Any]:
    """What computes the outputs of a network again, in the same memory, from what `inputs` (of any shape) hold by
    then."""
    device = next(iter(inputs.values())).device
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            network(**inputs)
    current.wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    # Other threads may go on to use the device.
    with _CAPTURING, torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = network(**inputs)

    def replay() -> Any:
        graph.replay()
        return outputs

    return replay


class GraphedNetwork:
    """Calls a network by way of a graph for each batch size, made when that comes for the second time.

    Args:
        network: takes tensors by name, batch first, and returns a `ModelOutput` of such; in evaluation mode, with
            weights that stay as they are. What cannot be captured, since it looks at values, is called itself.
        capture: see `capture_cuda_graph`.
    """

    def __init__(self, network: Callable[..., Any], capture: Capture = capture_cuda_graph) -> None:
        self.network = network
        self._capture = capture
        self._lock = threading.Lock()  # several threads may call
        self._seen: set[Any] = set()
        self._graphs: dict[Any, _Graph | None] = {}
        self._done: torch.cuda.Event | None = None  # what was computed last, on whichever stream

    def __call__(self, **inputs: Any) -> Any:
        if not torch.is_inference_mode_enabled() or not all(isinstance(value, Tensor) for value in inputs.values()):
            return self.network(**inputs)
        count = len(next(iter(inputs.values())))
        size = next((size for size in BATCH_SIZES if 0 < count <= size), None)
        if size is None:
            return self.network(**inputs)
        key = (size, *((name, value.shape[1:], value.dtype) for name, value in inputs.items()))
        with self._lock:
            if key not in self._graphs and (key not in self._seen or len(self._graphs) == MOST_GRAPHS):
                self._seen.add(key)
                return _first(self.network(**_padded(inputs, size)), count)
            if key not in self._graphs:
                self._graphs[key] = self._graph(_padded(inputs, size))
            graph = self._graphs[key]
            return self.network(**inputs) if graph is None else self._replay(*graph, inputs, count)

    def _graph(self, inputs: dict[str, Tensor]) -> _Graph | None:
        try:
            return inputs, self._capture(self.network, inputs)
        except RuntimeError:
            return None

    def _replay(
        self, own: Mapping[str, Tensor], replay: Callable[[], Any], given: Mapping[str, Tensor], count: int
    ) -> Any:
        """Outputs for the `count` inputs that are `given`, by way of the graph's `own` ones."""
        device = next(iter(own.values())).device
        stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        if stream is not None and self._done is not None:
            stream.wait_event(self._done)
        for name, value in given.items():
            own[name][:count].copy_(value, non_blocking=True)
        outputs = replay()
        found = _first(outputs, count)
        self._done = None if stream is None else stream.record_event()
        return found


def _padded(inputs: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Batches (n, ...) by name as ones of `size` in memory of their own, in the same order, with the last one as often
    as needed."""
    return {
        name: torch.cat((value, value[-1:].expand(size - len(value), *value.shape[1:])))
        for name, value in inputs.items()
    }


def _first(outputs: Any, count: int) -> Any:
    """The first `count` of the outputs, in memory of their own."""
    return type(outputs)(**{name: value[:count].clone() for name, value in outputs.items()})
