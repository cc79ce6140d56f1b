"""What computes the outputs of a stage's model: torch as it is, torch.compile, or ONNX Runtime."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfpose.backends.fuse import inference_copy
from hfpose.backends.op_replay import RecordedNetwork
from hfpose.errors import ConfigError
from hfpose.models.auto import FAMILIES
from hfpose.models.shared.devices import accelerate_hook

Backend = Literal["torch", "compile", "onnxruntime"]
BACKENDS: tuple[Backend, ...] = ("torch", "compile", "onnxruntime")

# Families whose modules `inference_copy` knows.
_KNOWN_TYPES = {*(family.model_type for family in FAMILIES), "vitpose"}


class Runner(Protocol):
    """Computes what a model computes."""

    @property
    def memory_format(self) -> torch.memory_format:
        """The order in memory that `pixel_values` are taken in without a copy."""

    def __call__(self, **inputs: Any) -> Any:
        """Outputs of the model by name, for the inputs that the model's `forward` takes by name."""


class TorchRunner:
    """A copy of the model that is made for inference, and made anew when the model has changed.

    The copy exists from the first call on and is private: the model stays as it was loaded, to be saved, moved or trained.

    Args:
        model: of a family of ours; others, and models that accelerate has spread over devices, are run as they are.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self._is_known = model.config.model_type in _KNOWN_TYPES
        self._copy: RecordedNetwork | None = None
        self._weights = Weights(model)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self._is_copied else torch.contiguous_format

    def __call__(self, **inputs: Any) -> Any:
        if not self._is_copied:
            self._copy = None
            return self.model(**inputs)
        if self._weights.have_changed() or self._copy is None:
            self._copy = RecordedNetwork(inference_copy(self.model))
        return self._copy(**inputs)

    @property
    def _is_copied(self) -> bool:
        return self._is_known and not self.model.training and accelerate_hook(self.model) is None


class Weights:
    """Tells whether weights are still those that they were when it was last asked.

    Args:
        model: whose weights.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._first: Tensor | None = None
        self._counted: list[Tensor] = []  # those made in inference mode count nothing
        self._seen: tuple[Any, ...] | None = None

    def have_changed(self) -> bool:
        first = next(self._model.parameters(), None)
        if first is None or first is not self._first:
            self._first = first
            tensors = [*self._model.parameters(), *self._model.buffers()]
            self._counted = [tensor for tensor in tensors if not tensor.is_inference()]
        # All weights move together, while each counts for itself how often it was written to.
        place = None if first is None else (first.data_ptr(), first.device, first.dtype)
        seen = (place, sum(map(attrgetter("_version"), self._counted)))
        changed, self._seen = seen != self._seen, seen
        return changed


def check_whole(model: PreTrainedModel, backend: Backend) -> None:
    """Raises ConfigError for a model that accelerate has spread over devices or moves, of which no other form is made."""
    if accelerate_hook(model) is not None:
        raise ConfigError(
            f"The {type(model).__name__} is spread over devices or comes to one by turns, which backend={backend!r} cannot "
            'follow. Use backend="torch", or a device_map that has room for the whole model on one device.'
        )


def make_runner(
    model: PreTrainedModel, image_processor: Any, backend: Backend, is_private: bool, graph_folder: Path | None = None
) -> Runner | None:
    """What runs a model; None where it is to be called itself.

    Args:
        model: a model.
        image_processor: the one that belongs to it.
        backend: how to run it.
        is_private: whether nobody but the pipeline has the model. With torch, a model of the caller's is called itself.
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


def check_backend(backend: str) -> None:
    """Raises ConfigError for a name that no backend has."""
    if backend not in BACKENDS:
        raise ConfigError(f"Unknown backend {backend!r}; expected {', '.join(map(repr, BACKENDS))}.")
