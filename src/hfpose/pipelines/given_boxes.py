"""Boxes that a caller gives with the images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set, Sized
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfpose.errors import InputError
from hfpose.media.frames import Frame
from hfpose.media.sources import Source
from hfpose.models.shared.top_down import check_image_boxes
from hfpose.results import PoseOutput

NO_BOXES = object()
"""Stands where a caller's boxes end before the images do."""

ImageBoxes = tuple[np.ndarray, np.ndarray]
"""Boxes (N, 4) x1, y1, x2, y2 of one image and their scores (N,)."""


@dataclass(frozen=True)
class UsableImage:
    """A frame that can be used, with the boxes (N, 4) that the caller gave, if any."""

    frame: Frame
    image: np.ndarray
    boxes: np.ndarray | None

    @property
    def whole(self) -> ImageBoxes:
        """The image as a box (1, 4) and its score (1,)."""
        height, width = self.image.shape[:2]
        return np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32)


def boxes_per_image(boxes: Any, source: Source) -> Any:
    """One list of boxes per image, from what a call was given for a source.

    Raises:
        InputError: if there are boxes for another number of images, or one image's are no numbers.
    """
    plain = _plain_boxes(boxes) if source.is_single else boxes
    if not isinstance(plain, Iterable) or isinstance(plain, (str, bytes, Mapping, Set)):
        raise InputError(f"boxes is {boxes!r}; expected one list of boxes [x1, y1, x2, y2] per image.")
    if source.is_single and plain is not boxes:
        return [plain]
    if source.is_single and isinstance(boxes, Sequence | np.ndarray):
        holds_a_list = len(boxes) > 0 and np.ndim(boxes[0]) != 1
        if holds_a_list and len(boxes) != 1:
            raise InputError(f"Got boxes for {len(boxes)} images, but one image.")
        return boxes if holds_a_list else [boxes]
    if isinstance(boxes, Sized) and source.num_frames not in (None, len(boxes)):
        raise InputError(
            f"Got boxes for {len(boxes)} images, but there are {source.num_frames}. "
            "Give one list of boxes [x1, y1, x2, y2] per image, an empty one where there is no instance."
        )
    return boxes


def _plain_boxes(boxes: Any) -> Any:
    """Boxes of one image as numbers: those of a result of ours, or of what detectors of supervision, Ultralytics and
    transformers give, and one box alone as a list of it.

    Raises:
        InputError: for other dicts, such as annotations, whose `bbox` is x, y, width, height in COCO's format.
    """
    if isinstance(boxes, PoseOutput):
        return np.zeros((0, 4)) if boxes.boxes is None else boxes.boxes
    boxes = getattr(boxes, "xyxy", boxes)
    if isinstance(boxes, Mapping) and "boxes" in boxes:
        boxes = boxes["boxes"]
    if isinstance(boxes, torch.Tensor):
        boxes = boxes.detach().cpu().numpy()
    if isinstance(boxes, Sequence) and boxes and all(isinstance(each, Mapping) and "box" in each for each in boxes):
        return [[each["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for each in boxes]
    if isinstance(boxes, Sequence) and boxes and isinstance(boxes[0], Mapping) and "boxes" not in boxes[0]:
        keys = ", ".join(map(repr, boxes[0]))
        raise InputError(f"A box is a dict with the keys {keys}; give the numbers [x1, y1, x2, y2] of each.")
    is_box = isinstance(boxes, (Sequence, np.ndarray)) and len(boxes) == 4 and all(np.isscalar(side) for side in boxes)
    return [boxes] if is_box and not isinstance(boxes, str) else boxes


def check_frame(frame: Frame, boxes: Any) -> UsableImage | str:
    """The image of a frame with the boxes that were given for it, or what is wrong with either."""
    if frame.image is None or frame.error is not None:
        return frame.error or "There is no image."
    if boxes is NO_BOXES:
        return "No boxes were given for this image; give one list of boxes per image."
    if boxes is None:
        return UsableImage(frame, frame.image, None)
    try:
        checked = check_image_boxes(_plain_boxes(boxes))
        _check_on_image(checked, frame.image)
    except InputError as error:
        return str(error)
    return UsableImage(frame, frame.image, checked)


def _check_on_image(boxes: np.ndarray, image: np.ndarray) -> None:
    height, width = image.shape[:2]
    outside = (boxes[:, 2:] <= 0).any(1) | (boxes[:, 0] >= width) | (boxes[:, 1] >= height)
    if outside.any():
        first = int(outside.argmax())
        raise InputError(
            f"Box {first} is {boxes[first].tolist()} and lies outside the image of {width}x{height} pixels. "
            "Boxes are x1, y1, x2, y2 in pixels of the image as it is shown."
        )
    relative = ((boxes >= 0) & (boxes <= 1)).all(1)
    if relative.any() and max(width, height) > 1:
        raise InputError(
            f"Box {int(relative.argmax())} is {boxes[relative.argmax()].tolist()}, parts of an image. Multiply by its "
            f"width and height, {width} and {height}: boxes are x1, y1, x2, y2 in pixels."
        )
