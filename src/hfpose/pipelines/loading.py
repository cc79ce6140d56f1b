"""Models and image processors of a pipeline's stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForObjectDetection,
    AutoModelForPoseEstimation,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from hfpose import hub
from hfpose.zoo import Task

_AUTO_MODELS = {"pose": AutoModelForPoseEstimation, "detector": AutoModelForObjectDetection}


@dataclass(frozen=True)
class Stage:
    """A model and the image processor that belongs to it."""

    model: PreTrainedModel
    image_processor: Any

    @property
    def device(self) -> torch.device:
        return self.model.device

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that `from_pretrained` of the model's and the processor's classes read."""
        self.model.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)


def load_stage(
    model: str | Path | PreTrainedModel,
    task: Task,
    image_processor: Any = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    **hub_options: Any,
) -> Stage:
    """The model and image processor that a name, a folder, a repository or a model object stands for.

    Args:
        model: alias, zoo name, hub repository, local folder or a model.
        task: the stage that it is for.
        image_processor: replaces the one that lies beside the model; needed only for a model object that was not
            loaded from a folder or repository.
        device: where to put the model; None leaves a model object where it is.
        dtype: floating point type of the weights; None takes float32, or leaves a model object as it is.
        hub_options: `revision`, `token`, `cache_dir` and the like, for huggingface_hub.

    Raises:
        UnknownModelError: if nothing has that name.
        DownloadError: if it cannot be fetched.
    """
    if isinstance(model, PreTrainedModel):
        place: str | Path = model.name_or_path
        if image_processor is None and not place:
            raise ValueError(
                f"The {type(model).__name__} was not loaded from a folder or repository, so its image processor is "
                "unknown. Give it as `image_processor=...`."
            )
        loaded = model
    else:
        place = hub.resolve(model, task, **hub_options)
        with _quiet_loading():
            loaded = _AUTO_MODELS[task].from_pretrained(place, dtype=dtype or torch.float32, **hub_options)
    processor = image_processor or load_image_processor(place, loaded.config, **hub_options)
    if dtype is not None:
        loaded = loaded.to(dtype if isinstance(dtype, torch.dtype) else getattr(torch, dtype))
    return Stage((loaded.to(device) if device is not None else loaded).eval(), processor)


def load_image_processor(place: str | Path, config: PreTrainedConfig | None = None, **hub_options: Any) -> Any:
    """The image processor of a folder or repository: ours where we have one for the kind of model."""
    config = config or AutoConfig.from_pretrained(place, **hub_options)
    if config.model_type == "vitpose":
        from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

        return ViTPoseImageProcessor.from_pretrained(place, **hub_options)
    return AutoImageProcessor.from_pretrained(place, **hub_options)


def default_device() -> torch.device:
    """The accelerator of this machine if torch sees one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


class _quiet_loading:
    """Keeps transformers from drawing a progress bar for each of several models that load in no time."""

    def __enter__(self) -> None:
        self.was_enabled = transformers_logging.is_progress_bar_enabled()
        transformers_logging.disable_progress_bar()

    def __exit__(self, *_: object) -> None:
        if self.was_enabled:
            transformers_logging.enable_progress_bar()
