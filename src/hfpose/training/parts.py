"""Which model of a name, folder or pipeline is trained."""

from __future__ import annotations

import inspect

from hfpose.annotations import CocoFile
from hfpose.errors import ConfigError
from hfpose.hub.model_folders import PIPELINE_INDEX
from hfpose.hub.resolve import resolve
from hfpose.hub.zoo import Task, find_entry
from hfpose.pipelines.stage import Stage, load_stage, task_of


def trained_part(model: str, coco: CocoFile, part: str | None = None) -> str:
    """What of a model is trained: `"pose"` or `"detector"`.

    Raises:
        ConfigError: if it is neither, or has no such part.
    """
    if part not in (None, "pose", "detector"):
        raise ConfigError(f"The part is {part!r}; expected 'pose' or 'detector'.")
    found = task_of(model)
    if found == "lifter":
        raise ConfigError(f"{model} lifts 2D keypoints to 3D; `hfpose train` trains pose models and detectors.")
    has_both = find_entry(model, "detector") is not None and find_entry(model, "pose") is not None
    if not has_both and not _is_pipeline(model):
        if part not in (None, found):
            raise ConfigError(f"{model} is a {found} model, so it has no part {part!r}.")
        return found
    if part is not None:
        return part
    return "pose" if any(annotation.get("keypoints") for annotation in coco.annotations) else "detector"


def _is_pipeline(model: str) -> bool:
    return find_entry(model) is None and (resolve(model) / PIPELINE_INDEX).is_file()


def load_part(model: str, part: Task) -> Stage:
    """A model to train, in float32, and its image processor. What runs it outside of training would keep old
    weights."""
    stage = load_stage(model, part)
    if "labels" not in inspect.signature(stage.model.forward).parameters:
        raise ConfigError(
            f"{type(stage.model).__name__} computes no loss, so it cannot be trained. RTMPose, heatmap models, "
            "ViTPose, Sapiens2 and RTMDet can."
        )
    if stage.model.config.model_type == "rtmw3d":
        raise ConfigError(
            "RTMW3D learns from keypoints with a depth, which annotations in COCO's format do not have; train RTMW on "
            "them, or call the model with `labels` (B, K, 3)."
        )
    return Stage(stage.model, stage.image_processor)
