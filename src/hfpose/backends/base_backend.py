"""What every backend has in common."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfpose.errors import ConfigError
from hfpose.models.shared.devices import accelerate_hook

Backend = Literal["auto", "torch", "compile", "onnxruntime", "openvino"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

# Held while something is made of a model, so that several threads make it once; one runner makes another.
_MAKING = threading.RLock()


def _run_on_one_thread() -> None:
    """Make a forked child able to compute: the threads of its parent's libraries do not exist in it."""
    torch.set_num_threads(1)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(0)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_run_on_one_thread)


class Runner:
    """Computes what a model computes, from what it makes of the model at the first call.

    Args:
        inner_dtype: floating point type of inner layers; None: that of the model's weights.
        weights: file that the model's weights have just been mapped from; None: they may be others.
    """

    name: str
    """The backend that computes."""

    def __init__(
        self, model: PreTrainedModel, inner_dtype: torch.dtype | None = None, weights: Path | None = None
    ) -> None:
        self.model = model
        self.inner_dtype = inner_dtype
        self._weights = weights
        self._made: Any = None
        self._watched: list[Tensor] = []
        self._version = 0

    @property
    def computing_dtype(self) -> torch.dtype:
        """What inner layers compute in."""
        return self.inner_dtype or self.model.dtype

    @property
    def memory_format(self) -> torch.memory_format:
        """The order in memory that `pixel_values` are taken in without a copy."""
        return torch.contiguous_format

    @property
    def input_dtype(self) -> torch.dtype:
        """The floating point type of inputs."""
        return self.model.dtype

    def __call__(self, **inputs: Any) -> Any:
        """Outputs of the model by name, for the inputs that the model's `forward` takes by name."""
        return self.current(**inputs)

    @property
    def made(self) -> Any:
        """What computes."""
        if self._made is None:
            with _MAKING:
                if self._made is None:
                    self._made = self._make()
                    tensors = (*self.model.parameters(), *self.model.buffers())
                    self._watched = [tensor for tensor in tensors if not tensor.is_inference()]
                    self._version = self._count_changes()
        return self._made

    @property
    def current(self) -> Any:
        """What computes; made again where weights of the model have changed in place, as by `load_state_dict`."""
        if self._made is not None and self._count_changes() != self._version:
            with _MAKING:
                if self._count_changes() != self._version:
                    self.refresh()
        return self.made

    def _count_changes(self) -> int:
        """How often weights were written to; torch counts that."""
        return sum([tensor._version for tensor in self._watched])

    def _make(self) -> Any:
        raise NotImplementedError

    def refresh(self) -> None:
        """Forget what was made of the model, whose weights or device have changed."""
        self._made = self._weights = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_made": None, "_watched": []}  # made again where it is loaded


def check_backend(backend: str) -> None:
    """Raises ConfigError for a name that no backend has."""
    if backend not in BACKENDS:
        raise ConfigError(f"Unknown backend {backend!r}; expected {', '.join(map(repr, BACKENDS))}.")


def check_whole(model: PreTrainedModel, backend: Backend) -> None:
    """Raises ConfigError for a model that accelerate has spread over devices or moves, of which no other form is
    made."""
    if accelerate_hook(model) is not None:
        raise ConfigError(
            f"The {type(model).__name__} is spread over devices or comes to one in turns, which backend={backend!r} "
            'cannot follow. Use backend="torch", or a device_map that has room for the whole model on one device.'
        )
