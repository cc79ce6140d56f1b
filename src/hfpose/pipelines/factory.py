"""`pipeline(...)`: from names to a pipeline."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hfpose import hub
from hfpose.keypoints import schema_for_config
from hfpose.pipelines.loading import Stage, default_device, load_stage
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.zoo import WHOLE_IMAGE, ModelEntry, find_entry, list_entries

TASKS = ("pose-estimation",)
DEFAULT_MODEL = "human"


def pipeline(
    task: str = "pose-estimation",
    model: str | Path | PreTrainedModel | None = None,
    *,
    image_processor: Any = None,
    detector: str | Path | PreTrainedModel | None = None,
    detector_labels: Iterable[int | str] | None = None,
    device: torch.device | str | int | None = None,
    dtype: torch.dtype | str | None = None,
    revision: str | None = None,
    token: str | bool | None = None,
) -> PoseEstimationPipeline:
    """A pipeline that is ready to be called with pictures.

    Args:
        task: `"pose-estimation"`.
        model: an alias (`"human"`, the default), a zoo name, a hub repository, a folder of a model or of a whole
            pipeline, or a model object.
        image_processor: replaces the one that lies beside the model.
        detector: the same for the object detector, or `"whole_image"` to take each picture as one box. Default: the
            one that goes with the model, judged by its name or, for a model of your own, by its keypoints.
        detector_labels: ids or names of the detector's classes to keep. Default: those that go with the model where
            the detector is its default too, else all.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`, ...; default: the accelerator if there is one, else the CPU.
        dtype: floating point type of the models, such as `"float16"`; default float32.
        revision: branch, tag or commit of the pose model's hub repository.
        token: for the Hub; by default the one that is logged in with.

    Raises:
        ValueError: for an unknown task.
        UnknownModelError: if nothing has the given name; it suggests near ones.
    """
    if task not in TASKS:
        raise ValueError(f"Unknown task {task!r}; hfpose has {', '.join(map(repr, TASKS))}.")
    target = torch.device(device) if device is not None else default_device()
    model = DEFAULT_MODEL if model is None else model
    entry = None
    if not isinstance(model, PreTrainedModel):
        entry = find_entry(str(model), "pose")
        model = hub.resolve(model, "pose", revision=revision, token=token)
        if (model / hub.PIPELINE_INDEX).is_file():
            return PoseEstimationPipeline.from_pretrained(model, device=target, dtype=dtype)
    pose = load_stage(model, "pose", image_processor, device=target, dtype=dtype)
    if detector is None:
        entry = entry or _entry_with_same_keypoints(pose)
        detector = entry.default_detector if entry else None
        if entry and detector_labels is None:
            detector_labels = entry.detector_labels
    stage: Stage | str | None = None
    if detector == WHOLE_IMAGE:
        stage = WHOLE_IMAGE
    elif detector is not None:
        stage = load_stage(detector, "detector", device=target, dtype=dtype, token=token)
    return PoseEstimationPipeline(pose, detector=stage, detector_labels=detector_labels)


def _entry_with_same_keypoints(pose: Stage) -> ModelEntry | None:
    """A zoo model with the keypoints of `pose`, which tells the detector that goes with them."""
    name = schema_for_config(pose.model.config).name
    return next((entry for entry in list_entries("pose") if entry.schema == name and entry.default_detector), None)
