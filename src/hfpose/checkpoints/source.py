"""What a checkpoint is converted into: the reference's description of a model, and the functions of its family."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from torch import Tensor

from hfpose.hub.zoo import ModelEntry
from hfpose.keypoints import KeypointSchema, load_schema

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class FamilyConversion(Protocol):
    """What `convert_<family>.py` in a model family's folder offers."""

    MODEL_CLASS: type[PreTrainedModel]

    def config_from_reference(
        self, reference: Mapping[str, Any], schema: KeypointSchema | None
    ) -> PreTrainedConfig: ...

    def image_processor_from_reference(self, reference: Mapping[str, Any]) -> Any: ...

    def convert_state_dict(self, state_dict: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class ModelSource:
    """The reference's description of a model."""

    name: str
    family: str
    reference: Mapping[str, Any]
    schema: KeypointSchema | None

    @classmethod
    def from_entry(cls, entry: ModelEntry) -> ModelSource:
        """The description of a zoo model.

        Raises:
            ConfigError: if its family is not supported.
        """
        entry.require_supported()
        return cls(entry.name, entry.estimator, entry.reference, load_schema(entry.schema) if entry.schema else None)

    @property
    def conversion(self) -> FamilyConversion:
        """The family's functions."""
        return cast(FamilyConversion, importlib.import_module(f"hfpose.models.{self.family}.convert_{self.family}"))
