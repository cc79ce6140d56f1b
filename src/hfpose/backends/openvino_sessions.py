"""OpenVINO with torch tensors in and out."""

from __future__ import annotations

import hashlib
import json
import mmap
import shutil
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfpose.backends.extras import require
from hfpose.backends.graph_files import in_cache, write_description
from hfpose.errors import ConfigError, InputError

_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}
_TYPES = {"f32": torch.float32, "i64": torch.int64, "boolean": torch.bool}
# Parts of a batch that are computed side by side: more would be small ones on processors with many cores.
_MOST_STREAMS = 4
_IMAGES = "pixel_values"


class OpenVinoSession:
    """A network in a graph file, compiled for a device of OpenVINO.

    Inputs are read where torch has them, without a copy where they are contiguous float32 on the CPU, images channels
    last. Numbers of images and of frames may change from call to call, without compiling again. Several threads may
    call, each with memory of its own. Threads that compute are as many as torch has when the session is made.

    One image goes to a network of a fixed size, in which all threads share each layer. Of a batch each thread computes
    a part of its own, without waiting for others after each layer, and what they cannot share evenly goes one by one.
    For batches the network is loaded a second time, at the first one.

    Args:
        path: an ONNX file, or the `.xml` of OpenVINO's own format.
        device: `"cpu"`, `"gpu"`, `"gpu.1"` or `"npu"`.
        dtype: float32, or what inner layers compute in; inputs, outputs and what comes after the last large layer stay
            float32.
        cache: beginning of the names of the folders for compiled networks, which are made again if they are damaged.
            None compiles every time.

    Raises:
        ConfigError: if OpenVINO is not installed, has no such device, cannot compute in `dtype` there, or cannot read
            the file.
    """

    def __init__(
        self, path: Path, device: str = "cpu", dtype: torch.dtype = torch.float32, cache: Path | None = None
    ) -> None:
        self._openvino: Any = require("openvino", 'backend="openvino"')
        self._core, self._device = self._openvino.Core(), device.upper()
        _check_device(self._core, self._device, dtype)
        self._path, self._cache = path, cache
        self._settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _PRECISIONS[dtype]}
        self._streams = 1
        if self._device == "CPU":
            # Pinned threads of several processes would crowd on the same cores.
            self._settings |= {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "ENABLE_CPU_PINNING": False}
            self._streams = min(torch.get_num_threads(), _MOST_STREAMS)
        self._networks: dict[bool, Any] = {}  # by whether it is for one image
        self._mapped: list[Any] = []  # files that networks read their weights from
        self._loading = threading.Lock()
        self._requests = threading.local()
        network = self._network(is_single=True)
        self._types = {_name(port): _TYPES[port.element_type.type_name] for port in network.inputs}
        self._shapes = {_name(port): self._shape_of_batches(port) for port in network.inputs}
        self.input_names = tuple(self._types)
        self.output_names = tuple(_name(port) for port in network.outputs)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name.

        Args:
            inputs: by name, on the CPU.

        Raises:
            InputError: for inputs of another shape than the file's.
        """
        for name in self.input_names:
            _check_shape(name, inputs[name], self._shapes[name])
        arrays = [_as_array(name, inputs[name].detach().to("cpu", dtype)) for name, dtype in self._types.items()]
        count = len(arrays[0])
        alone = count % self._streams if count > self._streams else int(count == 1)
        shared = count - alone
        requests = [
            *self._compute([array[:shared] for array in arrays], min(shared, self._streams), is_single=False),
            *self._compute([array[shared:] for array in arrays], alone, is_single=True),
        ]
        # The memory of outputs is the requests', which the next call writes to.
        return {
            name: torch.from_numpy(np.concatenate([request.get_output_tensor(index).data for request in requests]))
            for index, name in enumerate(self.output_names)
        }

    def _compute(self, arrays: Sequence[np.ndarray], parts: int, is_single: bool) -> list[Any]:
        """Requests that have computed so many equal parts of a batch, in their order."""
        requests = self._requests_of(parts, is_single)
        for part, request in enumerate(requests):
            for index, array in enumerate(arrays):
                values = np.split(array, parts)[part]
                request.set_input_tensor(index, self._openvino.Tensor(values, shared_memory=True))
            request.start_async()
        for request in requests:
            request.wait()
        return requests

    def _requests_of(self, count: int, is_single: bool) -> list[Any]:
        """So many requests, which belong to the thread that calls."""
        made: list[Any] = vars(self._requests).setdefault("single" if is_single else "batch", [])
        made += [self._network(is_single).create_infer_request() for _ in range(count - len(made))]
        return made[:count]

    def _network(self, is_single: bool) -> Any:
        """The network for one image, or for as many as there are."""
        settings = {**self._settings, "PERFORMANCE_HINT": "LATENCY" if is_single else "THROUGHPUT"}
        if self._device == "CPU" and not is_single:
            settings["NUM_STREAMS"] = self._streams
        with self._loading:
            if is_single not in self._networks:
                try:
                    self._networks[is_single] = self._load(settings, is_single)
                except RuntimeError as error:
                    raise ConfigError(
                        f"OpenVINO {self._openvino.__version__} cannot load {self._path}: {error} Write the file "
                        "again with `hfpose export`, or update openvino."
                    ) from error
            return self._networks[is_single]

    def _load(self, settings: dict[str, Any], is_single: bool) -> Any:
        """The compiled network of the cache, without reading the file; else a new one, which is stored there."""
        if self._cache is None or "EXPORT_IMPORT" not in _abilities(self._core, self._device):
            return self._core.compile_model(self._read(is_single), self._device, settings)
        facts = [self._openvino.__version__, self._core.get_property(self._device, "FULL_DEVICE_NAME"), settings]
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
        folder = self._cache.with_name(f"{self._cache.name}-{key}")
        blob = folder / "network.blob"
        with in_cache(folder, "The compiled network") as is_there:
            if is_there:
                with suppress(RuntimeError):  # of a network that another build of OpenVINO has compiled
                    return self._import(blob, settings)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            network = self._core.compile_model(self._read(is_single), self._device, settings)
            blob.write_bytes(network.export_model().getbuffer())
            write_description(folder, [blob])
            return network

    def _import(self, blob: Path, settings: dict[str, Any]) -> Any:
        """The network in a file, which is mapped: it may read weights from there later on."""
        with blob.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        content = self._openvino.Tensor(np.frombuffer(mapped, np.uint8), shared_memory=True)
        self._mapped.append(content)
        network = self._core.import_model(content, self._device, settings)
        if hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # most were converted, and need no memory in the file's form too
        return network

    def _read(self, is_single: bool) -> Any:
        """The network as the file has it, but for images channels last; and of a fixed size for one image."""
        model = self._core.read_model(str(self._path))
        layouts = require("openvino.preprocess", 'backend="openvino"').PrePostProcessor(model)
        for index, port in enumerate(model.inputs):
            if _name(port) == _IMAGES:
                layouts.input(index).tensor().set_layout(self._openvino.Layout("NHWC"))
                layouts.input(index).model().set_layout(self._openvino.Layout("NCHW"))
        model = layouts.build()
        shapes = {port: list(port.partial_shape) for port in model.inputs}
        if is_single and all(size.is_static for shape in shapes.values() for size in shape[1:]):
            model.reshape({port: self._openvino.PartialShape([1, *shape[1:]]) for port, shape in shapes.items()})
        return model

    def _shape_of_batches(self, port: Any) -> Any:
        """What an input may have, images channels first."""
        _, *sizes = port.partial_shape
        if _name(port) == _IMAGES:
            sizes = [sizes[-1], *sizes[:-1]]
        return self._openvino.PartialShape([-1, *sizes])


def _abilities(core: Any, device: str) -> list[str]:
    return list(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))


def _check_device(core: Any, device: str, dtype: torch.dtype) -> None:
    found = core.available_devices
    names = {*found, *(name.split(".")[0] for name in found)}
    if device not in names:
        raise ConfigError(f"OpenVINO has no device {device} on this machine, which has {', '.join(found)}.")
    wanted = {torch.float32: "FP32", torch.bfloat16: "BF16", torch.float16: "FP16"}.get(dtype)
    able = _abilities(core, device)
    if wanted not in able and dtype != torch.float32:
        raise ConfigError(
            f"OpenVINO computes on {core.get_property(device, 'FULL_DEVICE_NAME')} in {', '.join(able)}, not in "
            f'{dtype}. Use dtype="auto" or "float32".'
        )


def _name(port: Any) -> str:
    """Name of an input or output, which OpenVINO may have given the names of the operations before it too."""
    return str(port.node.get_friendly_name()).split("/sink_port_")[0]


def _as_array(name: str, tensor: Tensor) -> np.ndarray:
    """An input in the order that networks take it in: images (B, C, H, W) as (B, H, W, C)."""
    array: np.ndarray = (tensor.permute(0, 2, 3, 1) if name == _IMAGES else tensor).contiguous().numpy()
    return array


def _check_shape(name: str, tensor: Tensor, expected: Any) -> None:
    if not expected.compatible(type(expected)(list(tensor.shape))):
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}, but the exported network takes {expected}, where ? may be any "
            'number. A graph is for one size of images; use that of its image processor, or backend="torch".'
        )
