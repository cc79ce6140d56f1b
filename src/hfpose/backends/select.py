"""The backend that a name stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from hfpose.backends.base import Backend, Runner, check_backend
from hfpose.backends.torch_backend import TorchRunner
from hfpose.errors import ConfigError


def make_runner(
    model: PreTrainedModel, image_processor: Any, backend: Backend, is_private: bool, graph_folder: Path | None = None
) -> Runner | None:
    """What runs a model; None where it is to be called itself.

    Args:
        model: a model.
        image_processor: the one that belongs to it.
        backend: how to run it.
        is_private: whether only the pipeline has the model. With torch, a model of the caller's is called itself.
        graph_folder: an exported folder, where the model has no weights but those.

    Raises:
        ConfigError: for an unknown backend, one that cannot run this model, or one that lacks a package or compiler.
    """
    check_backend(backend)
    if backend == "onnxruntime":
        from hfpose.backends.onnx_backend import OnnxRunner

        return OnnxRunner(model, image_processor, graph_folder)
    if graph_folder is not None:
        raise ConfigError(
            f"{graph_folder} has its weights as an ONNX file alone, which backend={backend!r} cannot read. Use "
            'backend="onnxruntime", or the model that was exported.'
        )
    if backend == "compile":
        from hfpose.backends.compile_backend import CompiledRunner

        return CompiledRunner(model)
    return TorchRunner(model) if is_private else None
