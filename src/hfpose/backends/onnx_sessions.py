"""ONNX Runtime with torch tensors in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfpose.backends.extras import require
from hfpose.errors import ConfigError, InputError

_TYPES: dict[str, tuple[torch.dtype, type[np.generic]]] = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(int64)": (torch.int64, np.int64),
    "tensor(bool)": (torch.bool, np.bool_),
}


class OnnxSession:
    """A network in an ONNX file, ready to run.

    Inputs are read where torch has them, and outputs are written to memory that torch allocates: nothing is copied where
    inputs are contiguous. Threads are as many as torch has when the session is made. They wait actively inside of a run
    only, so that between runs the processor is free.

    Args:
        path: the file. Dimensions that vary have names there, and those of outputs come from inputs.
        device: where the inputs are; an accelerator needs a build of ONNX Runtime for it.

    Raises:
        ConfigError: if ONNX Runtime is not installed, cannot run on the device, or cannot read the file.
    """

    def __init__(self, path: Path, device: torch.device | str = "cpu") -> None:
        onnxruntime = require("onnxruntime", 'backend="onnxruntime"')
        self.device = torch.device(device)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors: what is not optimal is no news to a user
        options.add_session_config_entry("session.force_spinning_stop", "1")
        providers = [_provider(self.device, onnxruntime.get_available_providers())]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # its exceptions have no common class but this
            raise ConfigError(
                f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error} Write the file anew with "
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
            shape = tuple(_output_size(side, sizes) for side in value.shape)
            tensor = outputs[value.name] = torch.empty(shape, dtype=dtype, device=self.device)
            binding.bind_output(value.name, *place, numpy_type, shape, tensor.data_ptr())
        self._session.run_with_iobinding(binding)
        return outputs


def _sizes(value: Any, tensor: Tensor) -> dict[str, int]:
    """Size of each named dimension of an input."""
    expected: Sequence[int | str] = value.shape
    fits = len(expected) == tensor.ndim and all(
        isinstance(side, str) or side == given for side, given in zip(expected, tensor.shape, strict=True)
    )
    if not fits:
        raise InputError(
            f"{value.name} has shape {tuple(tensor.shape)}, but the exported network takes {tuple(expected)}. An ONNX file "
            'is for one size of images; use that of its image processor, or backend="torch".'
        )
    return {side: given for side, given in zip(expected, tensor.shape, strict=True) if isinstance(side, str)}


def _provider(device: torch.device, available: Sequence[str]) -> Any:
    """What of ONNX Runtime computes on a device, with its options."""
    if device.type == "cpu":
        return "CPUExecutionProvider"
    if device.type == "cuda" and "CUDAExecutionProvider" in available:
        return "CUDAExecutionProvider", {"device_id": device.index or 0}
    raise ConfigError(
        f'backend="onnxruntime" cannot run on {device}: the onnxruntime that is installed offers '
        f'{", ".join(available)}. Use device="cpu", for CUDA install onnxruntime-gpu instead, or use '
        'backend="torch".'
    )


def _output_size(side: int | str, sizes: Mapping[str, int]) -> int:
    """Size of a dimension of an output: a number, the name of one of the inputs', or such as `height / 4`."""
    if isinstance(side, int):
        return side
    name, _, stride = side.partition(" / ")
    return sizes[name] // int(stride or 1)
