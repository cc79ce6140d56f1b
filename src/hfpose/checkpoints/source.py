"""What a checkpoint is converted into: the reference's description of a model, and the functions of its family."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.hub.zoo import ModelEntry
from hfpose.keypoints import KeypointSchema, load_schema

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


class FamilyConversion(Protocol):
    """What `convert_<family>.py` in a model family's folder offers."""

    MODEL_CLASS: type[PreTrainedModel]

    def config_from_reference(self, reference: Mapping[str, Any], schema: KeypointSchema | None) -> PreTrainedConfig:
        """Our configuration for the settings of the reference's model."""

    def image_processor_from_reference(self, reference: Mapping[str, Any]) -> Any:
        """Our image processor for the settings of the reference's model."""

    def convert_state_dict(self, state_dict: Mapping[str, Tensor], config: Any) -> dict[str, Tensor]:
        """The reference's tensors under our names, in the shapes that our model has them."""


@dataclass(frozen=True)
class ModelSource:
    """The reference's description of a model.

    Attributes:
        name: of the model.
        family: its folder below `hfpose.models`.
        reference: the reference's settings.
        schema: keypoints as its config or the zoo has them, None where they say nothing.
        schema_error: why the config's keypoints are not known, where it names some.
    """

    name: str
    family: str
    reference: Mapping[str, Any]
    schema: KeypointSchema | None
    schema_error: ConfigError | None = None

    @classmethod
    def from_entry(cls, entry: ModelEntry) -> ModelSource:
        """The description of a zoo model.

        Raises:
            ConfigError: if its family is not supported.
        """
        entry.require_supported()
        return cls(entry.name, entry.estimator, entry.reference, load_schema(entry.schema) if entry.schema else None)

    @property
    def is_detector(self) -> bool:
        """Whether it finds boxes alone."""
        return "bbox_head" in self.reference

    @property
    def num_keypoints(self) -> int | None:
        """How many keypoints its head finds, where the settings say so plainly."""
        head = self.reference.get("head") or {}
        head = head.get("pose_cfg") or head
        return next((head[key] for key in ("num_keypoints", "num_joints", "out_channels") if key in head), None)

    @property
    def conversion(self) -> FamilyConversion:
        """The family's functions."""
        return cast(FamilyConversion, importlib.import_module(f"hfpose.models.{self.family}.convert_{self.family}"))
