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
from hfpose.zoo import WHOLE_IMAGE, ModelEntry, Task, find_entry, get_entry, list_entries

TASKS = ("pose-estimation",)
DEFAULT_MODEL = "human"


def pipeline(
    task: str = "pose-estimation",
    model: str | Path | PreTrainedModel | None = None,
    *,
    image_processor: Any = None,
    detector: str | Path | PreTrainedModel | None = None,
    detector_labels: Iterable[int | str] | None = None,
    weights: str | Path | None = None,
    detector_weights: str | Path | None = None,
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
        detector_labels: ids or names of the detector's classes to keep. Default: those that the model is made for
            (people, hands, animals, ...) where the detector knows them, else all.
        weights: path or URL of a checkpoint of the reference to use with `model`, which is then a zoo name or the path
            of a config file. It is converted once and kept in the cache.
        detector_weights: the same for `detector`.
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
    entry = None if isinstance(model, PreTrainedModel) else find_entry(str(model), "pose")
    if not isinstance(model, PreTrainedModel):
        model = _folder(model, "pose", weights, revision, token)
        if (model / hub.PIPELINE_INDEX).is_file():
            return PoseEstimationPipeline.from_pretrained(model, device=target, dtype=dtype)
    pose = load_stage(model, "pose", image_processor, device=target, dtype=dtype)
    entry = entry or _entry_with_same_keypoints(pose)
    if detector is None and entry is not None:
        detector = entry.default_detector
    if detector is None or detector == WHOLE_IMAGE:
        return PoseEstimationPipeline(pose, detector=WHOLE_IMAGE if detector else None)
    if not isinstance(detector, PreTrainedModel):
        detector = _folder(detector, "detector", detector_weights, None, token)
    stage = load_stage(detector, "detector", device=target, dtype=dtype)
    if detector_labels is None and entry is not None:
        detector_labels = _default_labels(entry, stage)
    return PoseEstimationPipeline(pose, detector=stage, detector_labels=detector_labels)


def _folder(
    model: str | Path, task: Task, weights: str | Path | None, revision: str | None, token: str | bool | None
) -> Path:
    """Local folder of the model that a name stands for, or a name with a checkpoint beside it."""
    if weights is None:
        return hub.resolve(model, task, revision=revision, token=token)
    from hfpose.checkpoints.cached import convert_cached

    return convert_cached(model, weights, task)


def _default_labels(entry: ModelEntry, detector: Stage) -> list[int] | None:
    """Ids of the detector's classes that the pose model is made for, judged by their names; None where it has none."""
    if entry.detector_labels is None or entry.default_detector in (None, WHOLE_IMAGE):
        return None
    names = get_entry(str(entry.default_detector), "detector").labels
    wanted = {names[index] for index in entry.detector_labels}
    return [int(index) for index, name in (detector.model.config.id2label or {}).items() if name in wanted] or None


def _entry_with_same_keypoints(pose: Stage) -> ModelEntry | None:
    """A zoo model with the keypoints of `pose`, which tells the detector that goes with them."""
    name = schema_for_config(pose.model.config).name
    return next((entry for entry in list_entries("pose") if entry.schema == name and entry.default_detector), None)
