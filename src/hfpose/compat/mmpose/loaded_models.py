"""Models as `init_model` and `init_detector` return them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from hfpose.hub.resolve import resolve
from hfpose.hub.zoo import Task
from hfpose.pipelines.stage import Stage


class LoadedModel(torch.nn.Module):
    """A model with its image processor, as a module that calls the model.

    Attributes:
        network: the model itself, from the transformers library.
        image_processor: what feeds it and reads its outputs.
    """

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.network = stage.model
        self.image_processor = stage.image_processor

    @property
    def stage(self) -> Stage:
        """The model with its image processor, as pipelines take them."""
        return Stage(self.network, self.image_processor)

    def forward(self, *arguments: Any, **options: Any) -> Any:
        """What the network itself computes."""
        return self.network(*arguments, **options)


def model_folder(config: str | Path, checkpoint: str | Path | None, task: Task) -> Path:
    """Folder of the model of a name or config file, with the weights of a checkpoint or the published ones."""
    if checkpoint is None:
        return resolve(config, task)
    from hfpose.checkpoints.cached import convert_cached

    return convert_cached(config, checkpoint, task)
