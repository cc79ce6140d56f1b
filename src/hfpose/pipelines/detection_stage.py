"""The stage that finds boxes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig

from hfpose.errors import InputError
from hfpose.models.shared.detection import DetectionImageProcessor, Detections
from hfpose.models.shared.devices import to_device
from hfpose.ops.boxes import nms
from hfpose.pipelines.stage import Stage

# `mmpose.evaluation.nms` counts the pixels of a box, its right and lower edge included.
PIXEL_OFFSET = 1.0
MAX_NAMES_IN_ERROR = 20


class BoxDetector:
    """Boxes of some classes of any object detection model.

    Args:
        stage: the model with its image processor: ours, or any that transformers' `AutoModelForObjectDetection` loads.
        labels: ids or names of the classes to keep; None keeps all.

    Raises:
        InputError: if the model has no such class.
    """

    def __init__(self, stage: Stage, labels: Iterable[int | str] | None = None) -> None:
        self.stage = stage
        self.label_ids = None if labels is None else label_ids(stage.model.config, labels)

    @torch.inference_mode()
    def detections(self, images: Sequence[np.ndarray], box_threshold: float = 0.0) -> list[Detections]:
        """What the model finds in each RGB image (H, W, 3), uint8, of all classes, as its own image processor selects
        it, with scores above `box_threshold`."""
        processor = self.stage.image_processor
        sizes = [image.shape[:2] for image in images]
        if isinstance(processor, DetectionImageProcessor):
            inputs: Mapping[str, Any] = {"pixel_values": processor.pixel_values(images, self.stage.memory_format)}
            return processor.detections(self.stage.run(**self._on_device(inputs)), box_threshold, sizes)
        inputs = processor(list(images), return_tensors="pt", input_data_format="channels_last")
        results = processor.post_process_object_detection(
            self.stage.run(**self._on_device(inputs)), threshold=box_threshold, target_sizes=torch.tensor(sizes)
        )
        return [_as_arrays(result) for result in results]

    def _on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What an image processor made, where the model takes it."""
        device, dtype = self.stage.device, self.stage.dtype
        return {
            name: to_device(value, device, dtype) if isinstance(value, torch.Tensor) else value
            for name, value in inputs.items()
        }

    def select(self, found: Iterable[Detections], nms_threshold: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of what `detections` gives the boxes of the classes to keep, without those that overlap.

        Args:
            nms_threshold: of two boxes with a greater IoU the one with the lower score is removed, whatever their
                classes.

        Returns:
            For each image boxes (N, 4) x1, y1, x2, y2 in pixels and scores (N,), best first.
        """
        return [self._select(detections, nms_threshold) for detections in found]

    def _select(self, found: Detections, nms_threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """The boxes (N, 4) of the classes to keep, and their scores (N,), best first."""
        boxes, scores, labels = found
        # A box without area cannot be cropped.
        wanted = (boxes[:, 2:] > boxes[:, :2]).all(1)
        if self.label_ids is not None:
            wanted &= np.isin(labels, self.label_ids)
        boxes, scores = boxes[wanted], scores[wanted]
        keep = nms(boxes, scores, nms_threshold, offset=PIXEL_OFFSET)
        return boxes[keep], scores[keep]


def _as_arrays(result: Mapping[str, torch.Tensor]) -> Detections:
    """What another processor found in an image."""
    boxes, scores = (result[name].float().cpu().numpy() for name in ("boxes", "scores"))
    return Detections(boxes.reshape(-1, 4), scores, result["labels"].cpu().numpy())


def label_ids(config: PreTrainedConfig, labels: Iterable[int | str] | int | str) -> list[int]:
    """Ids of the classes that are given by id or by name, several or one.

    Raises:
        InputError: if the model has no such class; it suggests near names.
    """
    names = {int(index): str(name) for index, name in (config.id2label or {}).items()}
    given = [labels] if isinstance(labels, (int, str)) else labels
    return [index for label in given for index in _ids_of(label, names)]


def _ids_of(label: int | str, names: Mapping[int, str]) -> list[int]:
    """Ids of one class, or of all that have the same name."""
    if not isinstance(label, str):
        found = [int(label)] if int(label) in names else []
    else:
        found = [index for index, name in names.items() if name.casefold() == label.casefold()]
    if found:
        return found
    known = ", ".join(f"{index} {name}" for index, name in list(names.items())[:MAX_NAMES_IN_ERROR])
    rest = len(names) - MAX_NAMES_IN_ERROR
    near = difflib.get_close_matches(str(label), names.values())
    raise InputError(
        f"The detector has no class {label!r}.{f' Did you mean {near[0]!r}?' if near else ''} "
        f"It tells apart: {known}{f' and {rest} more' if rest > 0 else ''}."
    )
