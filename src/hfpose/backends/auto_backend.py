"""The fastest backend that is installed, and the fastest floating point type that costs no accuracy."""

from __future__ import annotations

import inspect
import logging
import os
import platform
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from hfpose.backends.base_backend import Backend, Runner, check_backend
from hfpose.backends.extras import is_installed
from hfpose.backends.onnx_graphs import EXPORTABLE_TYPES
from hfpose.backends.torch_backend import TorchRunner
from hfpose.errors import CheckpointError, ConfigError
from hfpose.models.shared.devices import accelerate_hook
from hfpose.models.shared.lifting import FlippedLifting

logger = logging.getLogger(__name__)

# Families that keep their accuracy with inner layers in half precision, by the measurement in docs/performance.md.
HALF_PRECISION_TYPES = frozenset({"rtmpose", "rtmdet"})
# To write and compile the graph of a larger model takes minutes and gigabytes.
_MOST_PARAMETERS = 200_000_000


def default_backend() -> Backend:
    """What `backend="auto"` stands for: itself, or what the environment variable HFPOSE_BACKEND names."""
    backend = os.environ.get("HFPOSE_BACKEND", "auto")
    check_backend(backend)
    return cast(Backend, backend)


def fastest_dtype(model: PreTrainedModel, device: torch.device) -> torch.dtype:
    """What `dtype="auto"` stands for: the type in which the device computes natively and fastest what lies between the
    first layer and the head; float32 for a family that would lose accuracy.

    The environment variable HFPOSE_DTYPE names another one.
    """
    named = os.environ.get("HFPOSE_DTYPE", "auto")
    if named != "auto":
        found = getattr(torch, named, None)
        if not isinstance(found, torch.dtype):
            raise ConfigError(f"HFPOSE_DTYPE is {named!r}; expected 'auto', 'float32', 'bfloat16' or 'float16'.")
        return found
    if model.config.model_type not in HALF_PRECISION_TYPES:
        return torch.float32
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and computes_bfloat16() else torch.float32


@lru_cache(maxsize=1)
def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for products in bfloat16."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


class AutoRunner(Runner):
    """Runs a model with what is fastest where it is; chooses again once it was moved or cast.

    That is OpenVINO on a CPU, where it is installed, else torch.

    Args:
        model: that a pipeline loaded for itself.
        inner_dtype: what inner layers compute in; None: the type of the model's weights.
        weights: file that the model's weights have just been mapped from; None: they may be others.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        image_processor: Any,
        inner_dtype: torch.dtype | None = None,
        weights: Path | None = None,
    ) -> None:
        super().__init__(model, inner_dtype, weights)
        self._image_processor = image_processor
        _ = self.made  # so that errors appear here

    @property
    def name(self) -> str:  # type: ignore[override]
        """Of the backend that was chosen."""
        return str(self.made.name)

    def __call__(self, **inputs: Any) -> Any:
        return self.made(**inputs)  # which looks for changed weights

    @property
    def memory_format(self) -> torch.memory_format:
        return cast(torch.memory_format, self.made.memory_format)

    @property
    def input_dtype(self) -> torch.dtype:
        return cast(torch.dtype, self.made.input_dtype)

    def _make(self) -> Runner:
        if self._is_for_openvino():
            from hfpose.backends.graph_backend import GraphRunner

            try:
                return GraphRunner(
                    self.model, self._image_processor, "openvino", self.inner_dtype, weights=self._weights
                )
            except (CheckpointError, ConfigError) as error:
                logger.warning("torch runs the %s: %s", type(self.model).__name__, error)
        return TorchRunner(self.model, self.inner_dtype)

    def _is_for_openvino(self) -> bool:
        model = self.model
        has_own_flip_test = "flip_test" in inspect.signature(model.forward).parameters
        return (
            is_installed("openvino")
            and is_installed("onnx")
            and model.device.type == "cpu"
            and accelerate_hook(model) is None
            and model.config.model_type in EXPORTABLE_TYPES
            and (not has_own_flip_test or isinstance(model, FlippedLifting))
            and model.num_parameters() <= _MOST_PARAMETERS
        )
