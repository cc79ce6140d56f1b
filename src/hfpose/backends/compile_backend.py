"""Stages that torch.compile has compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hfpose.backends.base_backend import Runner, check_whole
from hfpose.backends.fuse import fold_batch_norms
from hfpose.backends.onnx_graphs import EXPORTABLE_TYPES, varying_dimensions
from hfpose.errors import ConfigError


class CompiledRunner(Runner):
    """Runs what torch.compile makes of a copy of the model for inference.

    The first call with one image and the first with several compile, which takes from seconds to a minute; other
    numbers of images do not. The same holds for frames of clips.

    Args:
        model: any model; those of our families and ViTPose have batch normalizations folded.

    Raises:
        ConfigError: if this machine has no C++ compiler, which the CPU needs.
    """

    name = "compile"

    def __init__(self, model: PreTrainedModel) -> None:
        _check_compiler()
        super().__init__(model)
        self._is_known = model.config.model_type in EXPORTABLE_TYPES

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self._is_known else torch.contiguous_format

    def __call__(self, **inputs: Any) -> Any:
        check_whole(self.model, "compile")
        return self.current(**{name: self._prepared(name, value) for name, value in inputs.items()})

    def _make(self) -> Callable[..., Any]:
        network = fold_batch_norms(self.model) if self._is_known else self.model
        # Freezing makes constants of the weights, so that they are laid out once for what reads them.
        return torch.compile(network, options={"freezing": True})

    def _prepared(self, name: str, value: Any) -> Any:
        """An input with the same strides every time, and the dimensions marked whose size may change."""
        if not isinstance(value, Tensor):
            return value
        if value.ndim == 4 and name == self.model.main_input_name == "pixel_values":
            value = value.contiguous(memory_format=self.memory_format)
        for dimension in varying_dimensions([name])[name]:
            if value.shape[dimension] > 1:  # one is always compiled for itself
                torch._dynamo.maybe_mark_dynamic(value, dimension)
        return value


def _check_compiler() -> None:
    try:
        from torch._inductor.cpp_builder import get_cpp_compiler
        from torch._inductor.exc import InvalidCxxCompiler
    except ImportError:  # not names that torch promises to keep; the first call then tells
        return
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise ConfigError(
            'backend="compile" needs a C++ compiler, and torch finds none on this machine. '
            "Install one (`apt install g++`, `dnf install gcc-c++`, on macOS `xcode-select "
            '--install`), or name yours in the environment variable CXX. Without one use backend="onnxruntime".'
        ) from error
