"""Stages that torch computes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from hfpose.backends.base_backend import MAKING
from hfpose.backends.fuse import inference_copy
from hfpose.backends.op_replay import RecordedNetwork
from hfpose.models.auto import FAMILIES
from hfpose.models.shared.devices import accelerate_hook

# Families whose modules `inference_copy` knows.
_KNOWN_TYPES = {*(family.model_type for family in FAMILIES), "vitpose"}


class TorchRunner:
    """A copy of the model that is made for inference.

    The copy exists from the first call on and is private: the model stays as it was loaded, to be saved, moved or trained.

    Args:
        model: of a family of ours; others, models in training, and those that accelerate has spread over devices, are run
            as they are.
        inner_dtype: floating point type of the copy between its first layer and its head; None: the model's.
    """

    name = "torch"

    def __init__(self, model: PreTrainedModel, inner_dtype: torch.dtype | None = None) -> None:
        self.model = model
        self.inner_dtype = inner_dtype
        self._is_known = model.config.model_type in _KNOWN_TYPES
        self._copy: RecordedNetwork | None = None

    @property
    def computing_dtype(self) -> torch.dtype:
        return self.inner_dtype or self.model.dtype

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self._is_copied else torch.contiguous_format

    @property
    def input_dtype(self) -> torch.dtype:
        return self.model.dtype

    def __call__(self, **inputs: Any) -> Any:
        if not self._is_copied:
            self._copy = None
            return self.model(**inputs)
        return (self._copy or self._make_copy())(**inputs)

    def _make_copy(self) -> RecordedNetwork:
        with MAKING:
            if self._copy is None:
                self._copy = RecordedNetwork(inference_copy(self.model, self.inner_dtype))
            return self._copy

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_copy": None}  # made anew where it is loaded

    def refresh(self) -> None:
        self._copy = None

    @property
    def _is_copied(self) -> bool:
        return self._is_known and not self.model.training and accelerate_hook(self.model) is None
