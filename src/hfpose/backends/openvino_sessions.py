"""OpenVINO with torch tensors in and out."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.utils import WeakFileLock
from torch import Tensor

from hfpose.backends.extras import require
from hfpose.backends.graph_files import is_intact, write_description
from hfpose.errors import ConfigError, InputError

_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
_TYPES = {"f32": torch.float32, "i64": torch.int64, "boolean": torch.bool}


class OpenVinoSession:
    """A network in a graph file, compiled for a device of OpenVINO.

    Inputs are read where torch has them, without a copy where they are contiguous float32 on the CPU. Numbers of images
    and of frames may change from call to call, which compiles nothing anew. Several threads may call, each with memory of
    its own. Threads that compute are as many as torch has when the session is made.

    Args:
        path: an ONNX file, or the `.xml` of OpenVINO's own format.
        device: as OpenVINO names it: `"CPU"`, `"GPU"`, `"GPU.1"`, `"NPU"`.
        dtype: float32, or what inner layers compute in; inputs, outputs and what comes after the last large layer stay
            float32.
        cache: folder for the compiled network, which is made anew if it is damaged. None compiles every time.

    Raises:
        ConfigError: if OpenVINO is not installed, has no such device, cannot compute in `dtype` there, or cannot read the
            file.
    """

    def __init__(
        self, path: Path, device: str = "CPU", dtype: torch.dtype = torch.float32, cache: Path | None = None
    ) -> None:
        self._openvino: Any = require("openvino", 'backend="openvino"')
        core = self._openvino.Core()
        _check_device(core, device, dtype)
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype]}
        if device == "CPU":
            # Pinned threads of several processes would crowd on the same cores.
            settings |= {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "ENABLE_CPU_PINNING": False}
        try:
            self._network = _compile(core, path, device, settings, cache)
        except RuntimeError as error:
            raise ConfigError(
                f"OpenVINO {self._openvino.__version__} cannot load {path}: {error} Write the file anew with `hfpose "
                "export`, or update openvino."
            ) from error
        self._inputs = {_name(port): (index, port) for index, port in enumerate(self._network.inputs)}
        self.input_names = tuple(self._inputs)
        self.output_names = tuple(_name(port) for port in self._network.outputs)
        self._requests = threading.local()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name.

        Args:
            inputs: by name, on the CPU.

        Raises:
            InputError: for inputs of another shape than the file's.
        """
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._network.create_infer_request()
        for name, (index, port) in self._inputs.items():
            tensor = inputs[name].detach().to("cpu", _TYPES[port.element_type.type_name]).contiguous()
            _check_shape(name, tensor, port.partial_shape)
            request.set_input_tensor(index, self._openvino.Tensor(tensor.numpy(), shared_memory=True))
        request.infer()
        # The memory of outputs is the request's, which the next call writes to.
        return {
            name: torch.from_numpy(request.get_output_tensor(index).data.copy())
            for index, name in enumerate(self.output_names)
        }


def _check_device(core: Any, device: str, dtype: torch.dtype) -> None:
    found = core.available_devices
    names = {*found, *(name.split(".")[0] for name in found)}
    if device not in names:
        raise ConfigError(f"OpenVINO has no device {device} on this machine, which has {', '.join(found)}.")
    wanted = {torch.bfloat16: "BF16", torch.float16: "FP16"}.get(dtype, "FP32")
    able = core.get_property(device, "OPTIMIZATION_CAPABILITIES")
    if wanted not in able and dtype != torch.float32:
        raise ConfigError(
            f"OpenVINO computes on {core.get_property(device, 'FULL_DEVICE_NAME')} in {', '.join(able)}, not in {dtype}. "
            'Use dtype="auto" or "float32".'
        )


def _compile(core: Any, path: Path, device: str, settings: Mapping[str, Any], cache: Path | None) -> Any:
    if cache is None:
        return core.compile_model(str(path), device, dict(settings))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(cache.with_name(f".{cache.name}.lock")):
            if not is_intact(cache):
                shutil.rmtree(cache)
                cache.mkdir()
            network = core.compile_model(str(path), device, {**settings, "CACHE_DIR": str(cache)})
            if not network.get_property("LOADED_FROM_CACHE"):
                write_description(cache, cache.glob("*.blob"))
    except OSError as error:
        raise ConfigError(
            f"The compiled network cannot be stored in {cache}: {error}. Is the disk full, or the folder not writable? "
            "HFPOSE_CACHE names another folder."
        ) from error
    return network


def _name(port: Any) -> str:
    """Name of an input or output, which OpenVINO may have given the names of the operations before it too."""
    return str(port.node.get_friendly_name()).split("/sink_port_")[0]


def _check_shape(name: str, tensor: Tensor, expected: Any) -> None:
    if not expected.compatible(type(expected)(list(tensor.shape))):
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}, but the exported network takes {expected}, where ? may be any number. "
            'A graph is for one size of images; use that of its image processor, or backend="torch".'
        )
