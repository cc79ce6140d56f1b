"""ONNX Runtime with torch tensors in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfpose.backends.extras import require
from hfpose.backends.onnx_providers import providers
from hfpose.errors import ConfigError, InputError

_TYPES: dict[str, tuple[torch.dtype, type[np.generic]]] = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(int64)": (torch.int64, np.int64),
    "tensor(bool)": (torch.bool, np.bool_),
}


class OnnxSession:
    """A network in an ONNX file, ready to run.

    Inputs are read where torch has them, and outputs are written to memory that torch allocates: nothing is copied
    where inputs are contiguous. Threads are as many as torch has when the session is made. They wait actively inside
    of a run only, so that between runs the processor is free.

    Args:
        path: the file. Dimensions that vary have names there, and those of outputs come from inputs.
        device: one that `onnx_providers.providers` knows. Inputs and outputs are there with `"cpu"` and `"cuda"`, else
            on the CPU.
        dtype: float32, or float16 for what lies between the first convolution and the head.
        cache: folder for what a provider compiles. None compiles every time.

    Raises:
        ConfigError: if ONNX Runtime is not installed, cannot run on the device, or cannot read the file.
    """

    def __init__(
        self, path: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, cache: Path | None = None
    ) -> None:
        onnxruntime = require("onnxruntime", 'backend="onnxruntime"')
        kind = device.partition(":")[0]
        self.device = torch.device(device if kind == "cuda" else "cpu")
        is_half = dtype == torch.float16
        chosen = providers(device, onnxruntime.get_available_providers(), is_half, cache)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors: what is not optimal is no news to a user
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.enable_mem_pattern = kind != "directml"  # which refuses it
        if cache is not None and kind in ("tensorrt", "coreml"):
            cache.mkdir(parents=True, exist_ok=True)
        graph = half_precision_graph(path) if is_half and kind != "tensorrt" else str(path)  # which casts by itself
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=chosen)
        except Exception as error:  # its exceptions have no common class but this
            raise ConfigError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error} Write the file again with "
                "`hfpose export`, or update onnxruntime."
            ) from error
        self.input_names = tuple(value.name for value in self._session.get_inputs())
        self.output_names = tuple(value.name for value in self._session.get_outputs())

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name.

        Args:
            inputs: by name, on the session's device.

        Raises:
            InputError: for inputs of another shape than the file's.
        """
        binding = self._session.io_binding()
        place = (self.device.type, self.device.index or 0)
        sizes: dict[str, int] = {}
        kept = []  # so that a copy lives as long as the run
        for value in self._session.get_inputs():
            dtype, numpy_type = _TYPES[value.type]
            tensor = inputs[value.name].to(dtype).contiguous()
            kept.append(tensor)
            sizes |= _sizes(value, tensor)
            binding.bind_input(value.name, *place, numpy_type, tuple(tensor.shape), tensor.data_ptr())
        outputs = {}
        for value in self._session.get_outputs():
            dtype, numpy_type = _TYPES[value.type]
            shape = _output_shape(value.shape, sizes)
            if shape is None:
                binding.bind_output(value.name)  # to memory on the CPU, when the size is known
                continue
            tensor = outputs[value.name] = torch.empty(shape, dtype=dtype, device=self.device)
            binding.bind_output(value.name, *place, numpy_type, shape, tensor.data_ptr())
        self._session.run_with_iobinding(binding)
        for name, value in zip(self.output_names, binding.get_outputs(), strict=True):
            if name not in outputs:
                outputs[name] = torch.from_numpy(value.numpy()).to(self.device)
        return {name: outputs[name] for name in self.output_names}


def _sizes(value: Any, tensor: Tensor) -> dict[str, int]:
    """Size of each named dimension of an input."""
    expected: Sequence[int | str] = value.shape
    fits = len(expected) == tensor.ndim and all(
        isinstance(side, str) or side == given for side, given in zip(expected, tensor.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"{value.name} has shape {tuple(tensor.shape)}, but the exported network takes {tuple(expected)}. An ONNX "
            'file is for one size of images; use that of its image processor, or backend="torch".'
        )
    return {side: given for side, given in zip(expected, tensor.shape, strict=True) if isinstance(side, str)}


def half_precision_graph(path: Path) -> bytes:
    """The graph in a file with what lies between the first convolution and the head in float16; inputs and outputs
    stay."""
    onnx = require("onnx", "Computing in float16")
    float16 = require("onnxruntime.transformers.float16", "Computing in float16")
    graph = onnx.load(str(path))
    first = next((node.name for node in graph.graph.node if node.op_type == "Conv"), "")
    kept = [node.name for node in graph.graph.node if node.name == first or "/head/" in node.name]
    half = float16.convert_float_to_float16(graph, keep_io_types=True, node_block_list=kept)
    # Some versions cast a value once for each of its readers, by one name.
    nodes = {tuple(node.output): node for node in half.graph.node}
    del half.graph.node[:]
    half.graph.node.extend(nodes.values())
    return bytes(half.SerializeToString())


def _output_shape(expected: Sequence[int | str], sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """Shape of an output, whose dimensions are numbers, names of the inputs' or such as `height / 4`; None for another
    name."""
    shape = []
    for side in expected:
        name, _, stride = str(side).partition(" / ")
        size = side if isinstance(side, int) else sizes.get(name)
        if size is None:
            return None
        shape.append(size // int(stride or 1))
    return tuple(shape)
