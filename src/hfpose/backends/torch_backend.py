"""Stages that torch computes."""

from __future__ import annotations

from typing import Any

import torch

from hfpose.backends.base_backend import Runner
from hfpose.backends.cuda_graphs import GraphedNetwork
from hfpose.backends.fuse import inference_copy
from hfpose.backends.op_replay import RecordedNetwork
from hfpose.models.auto import FAMILIES
from hfpose.models.shared.devices import accelerate_hook

# Families whose modules `inference_copy` knows.
_KNOWN_TYPES = {*(family.model_type for family in FAMILIES), "vitpose"}


class TorchRunner(Runner):
    """A copy of the model that is made for inference: on Nvidia's GPUs as CUDA graphs, else with small batches
    replayed.

    The copy exists from the first call on and is private: the model stays as it was loaded, to be saved, moved or
    trained.

    Args:
        model: of a family of ours; others, models in training, and those that accelerate has spread over devices, are
            run as they are.
        inner_dtype: floating point type of the copy between its first layer and its head; None: the model's.
    """

    name = "torch"

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self._is_copied else torch.contiguous_format

    def __call__(self, **inputs: Any) -> Any:
        if self._is_copied:
            return self.current(**inputs)
        self.refresh()
        return self.model(**inputs)

    def _make(self) -> RecordedNetwork | GraphedNetwork:
        network = inference_copy(self.model, self.inner_dtype)
        return GraphedNetwork(network) if self.model.device.type == "cuda" else RecordedNetwork(network)

    @property
    def _is_copied(self) -> bool:
        is_known = self.model.config.model_type in _KNOWN_TYPES
        return is_known and not self.model.training and accelerate_hook(self.model) is None
