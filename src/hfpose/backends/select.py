"""The backend that a name stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hfpose.backends.auto_backend import AutoRunner, default_backend
from hfpose.backends.base_backend import Backend, Runner, check_backend
from hfpose.backends.extras import is_installed
from hfpose.backends.processor_cores import limit_threads
from hfpose.backends.torch_backend import TorchRunner
from hfpose.errors import ConfigError

GRAPH_DEVICES: dict[Backend, tuple[str, ...]] = {
    "openvino": ("gpu", "npu"),
    "onnxruntime": ("tensorrt", "coreml", "directml"),
}
"""Devices that a backend has a name for and torch has none; the model is on the CPU then."""


def make_runner(
    model: PreTrainedModel,
    image_processor: Any,
    backend: Backend,
    is_private: bool,
    graph_folder: Path | None = None,
    inner_dtype: torch.dtype | None = None,
    graph_device: str | None = None,
    weights: Path | None = None,
) -> Runner | None:
    """What runs a model; None where it is to be called itself.

    Args:
        is_private: whether only the pipeline has the model. With torch, a model of the caller's is called itself.
        graph_folder: an exported folder, where the model has no weights but those.
        inner_dtype: what inner layers compute in, whatever the type of the weights; None: in that.
        graph_device: one of `GRAPH_DEVICES`; None: where the model is.
        weights: file that the model's weights have just been mapped from; None: they may be others.

    Raises:
        ConfigError: for an unknown backend, one that cannot run this model, or one that lacks a package or compiler.
        CheckpointError: if a graph is damaged or computes something else than the model.
    """
    check_backend(backend)
    limit_threads()
    if backend == "auto":
        backend = default_backend()
    if backend == "auto" and graph_folder is not None:
        backend = "openvino" if is_installed("openvino") else "onnxruntime"
    if backend == "auto":
        return AutoRunner(model, image_processor, inner_dtype, weights) if is_private else None
    if backend in ("onnxruntime", "openvino"):
        from hfpose.backends.graph_backend import GraphRunner

        return GraphRunner(model, image_processor, backend, inner_dtype, graph_folder, graph_device, weights)
    if graph_folder is not None:
        raise ConfigError(
            f"{graph_folder} has its weights as a graph alone, which backend={backend!r} cannot read. Use "
            'backend="onnxruntime" or "openvino", or the model that was exported.'
        )
    if backend == "compile":
        from hfpose.backends.compile_backend import CompiledRunner

        return CompiledRunner(model)
    return TorchRunner(model, inner_dtype) if is_private else None
