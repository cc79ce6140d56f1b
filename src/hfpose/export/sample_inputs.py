"""Inputs like those that a model meets, to find out which values it computes and how far two forms of it are apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfpose.annotations import PoseInstances, pose_instances, read_coco
from hfpose.errors import ConfigError, InputError
from hfpose.hub.resolve import PACKAGED_SCENES
from hfpose.keypoints import load_schema
from hfpose.media.images import is_image_path, load_image
from hfpose.models.shared.detection import DetectionImageProcessor
from hfpose.models.shared.one_stage import OneStageProcessing
from hfpose.models.vitpose.experts import forward_arguments
from hfpose.ops.boxes import pairwise_iou

_HELD_OUT = 4  # of a folder every fourth image is kept for measuring
_BOX_THRESHOLD, _SAME_BOX = 0.3, 0.5
_CLIP_FRAMES = 27


@dataclass(frozen=True)
class Sample:
    """Inputs of a model by name, and what decoding needs to know of where they come from.

    Args:
        inputs: for one image, clip or the people of an image.
        image_size: (width, height) of the image.
        boxes: (N, 4) of the people, for a pose model.
    """

    inputs: Mapping[str, Tensor]
    image_size: tuple[int, int]
    boxes: np.ndarray | None = None


@dataclass(frozen=True)
class Apart:
    """How far what two forms of a model find is apart.

    Args:
        distances: of each keypoint, or of each side of a box, in pixels; of a lifter in meters.
        scores: differences of scores.
        lost, added: boxes of the one form that have no counterpart in the other, and the reverse.
    """

    distances: np.ndarray
    scores: np.ndarray
    lost: int = 0
    added: int = 0


def make_samples(
    model: PreTrainedModel, image_processor: Any, count: int, folder: Path | None = None, *, to_measure: bool = False
) -> Iterator[Sample]:
    """Samples for a model, of the images that come with hfpose or of those in a folder.

    Args:
        count: how many at most.
        folder: of images; a pose model takes each as a crop. None: the packaged ones.
        to_measure: whether to give others than without.

    Raises:
        InputError: if the folder has too few images.
        ConfigError: for a lifter with a folder.
    """
    if model.main_input_name == "keypoints_2d":
        if folder is not None:
            raise ConfigError("A lifter takes keypoints, so there is nothing to calibrate it with in images.")
        numbers = (number for number in range(len(_packaged_people())) if _is_held_out(number) == to_measure)
        return (_clip(image_processor, number, model.config.max_frames) for number in islice(numbers, count))
    images: Iterator[tuple[np.ndarray, np.ndarray | None]] = (
        _scenes(count, to_measure) if folder is None else _images(folder, count, to_measure)
    )
    return (_image(model, image_processor, image, boxes) for image, boxes in images)


def distance_apart(image_processor: Any, sample: Sample, outputs: ModelOutput, others: ModelOutput) -> Apart:
    """How far what is found in a sample is apart, by the outputs of two forms of a model."""
    if _finds_boxes(image_processor):
        return _boxes_apart(*(_found_boxes(image_processor, sample, each) for each in (outputs, others)))
    if sample.boxes is None:
        first, second = (
            image_processor.post_process_pose_lifting(each["keypoints_3d"], sample.image_size)
            for each in (outputs, others)
        )
        return Apart(np.linalg.norm(first - second, axis=-1).ravel(), np.zeros(0))
    (first, first_scores), (second, second_scores) = (
        image_processor.decode(each, sample.boxes) for each in (outputs, others)
    )
    distances = np.linalg.norm(first[..., :2] - second[..., :2], axis=-1)
    return Apart(distances.ravel(), np.abs(first_scores - second_scores).ravel())


def _is_held_out(number: int) -> bool:
    return number % _HELD_OUT == _HELD_OUT - 1


@lru_cache(maxsize=1)
def _packaged_people() -> PoseInstances:
    """People of the few scenes that come with hfpose, with COCO's keypoints."""
    return pose_instances(read_coco(PACKAGED_SCENES / "annotations.json"), load_schema("coco"))


def _scenes(count: int, to_measure: bool) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Packaged images with the boxes (N, 4) of their people."""
    people = _packaged_people()
    chosen = [number for number in range(len(people.images)) if _is_held_out(number) == to_measure]
    for number in chosen[:count]:
        yield load_image(people.images[number].path), people.boxes[people.image_indices == number]


def _images(folder: Path, count: int, to_measure: bool) -> Iterator[tuple[np.ndarray, None]]:
    paths = sorted(path for path in folder.iterdir() if is_image_path(path)) if folder.is_dir() else []
    if len(paths) < _HELD_OUT:
        raise InputError(
            f"{folder} has {len(paths)} images; calibration needs at least {_HELD_OUT}, of which every "
            f"{_HELD_OUT}th is for measuring. Some dozens that show what the model will see are good."
        )
    chosen = [path for number, path in enumerate(paths) if _is_held_out(number) == to_measure]
    return ((load_image(path), None) for path in chosen[:count])


def _image(model: PreTrainedModel, image_processor: Any, image: np.ndarray, boxes: np.ndarray | None) -> Sample:
    height, width = image.shape[:2]
    if _finds_boxes(image_processor):
        return Sample(dict(image_processor(images=[image], return_tensors="pt")), (width, height))
    boxes = np.array([[0, 0, width, height]], np.float32) if boxes is None else boxes
    pixel_values = image_processor([image], boxes=[boxes], return_tensors="pt")["pixel_values"]
    return Sample(
        {"pixel_values": pixel_values, **forward_arguments(model, len(pixel_values))}, (width, height), boxes
    )


def _clip(image_processor: Any, number: int, max_frames: int) -> Sample:
    """A clip in which a person moves from the pose of one packaged person to that of the next."""
    people = _packaged_people()
    first, second = number % len(people), (number + 1) % len(people)
    share = np.linspace(0, 1, min(_CLIP_FRAMES, max_frames), dtype=np.float32)[:, None, None]
    keypoints, boxes = (
        values[first] * (1 - share) + values[second] * share
        for values in (people.keypoints, people.boxes.reshape(-1, 2, 2))
    )
    width, height = size = people.images[people.image_indices[first]].size or (640, 480)
    inputs = image_processor(
        keypoints, (width, height), boxes=boxes.reshape(-1, 4), schema="coco", return_tensors="pt"
    )
    mask = torch.ones(1, len(keypoints), dtype=torch.bool, device="cpu")
    return Sample({"keypoints_2d": inputs["keypoints_2d"], "frame_mask": mask}, size)


def _finds_boxes(image_processor: Any) -> bool:
    """Whether whole images go in and boxes come out: of detectors, and of models that find people without one."""
    return isinstance(image_processor, (DetectionImageProcessor, OneStageProcessing))


def _found_boxes(image_processor: Any, sample: Sample, outputs: Any) -> tuple[np.ndarray, np.ndarray]:
    width, height = sample.image_size
    if isinstance(image_processor, OneStageProcessing):
        (instances,) = image_processor.instances(outputs, [(height, width)], _BOX_THRESHOLD)
        return instances.boxes, instances.box_scores
    (found,) = image_processor.post_process_object_detection(outputs, _BOX_THRESHOLD, [(height, width)])
    return found["boxes"].numpy(), found["scores"].numpy()


def _boxes_apart(found: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray]) -> Apart:
    (boxes, scores), (other_boxes, other_scores) = found, others
    if not len(boxes) or not len(other_boxes):
        return Apart(np.zeros(0), np.zeros(0), len(boxes), len(other_boxes))
    overlaps = pairwise_iou(boxes, other_boxes)
    best = overlaps.argmax(1)
    same = overlaps.max(1) >= _SAME_BOX
    distances = np.abs(boxes[same] - other_boxes[best[same]]).ravel()
    added = int((overlaps.max(0) < _SAME_BOX).sum())
    return Apart(distances, np.abs(scores[same] - other_scores[best[same]]), int((~same).sum()), added)
