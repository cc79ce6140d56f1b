"""Boxes that follow people from the keypoints of the frame before, so that the detector can look at fewer frames."""

from __future__ import annotations

import numpy as np

from hfpose.media.frames import Frame, MediaItem
from hfpose.ops.boxes import are_on_image
from hfpose.pipelines.given_boxes import ImageBoxes
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import boxes_around

BOX_SCALE = 1.25
"""Of the extent of a person's keypoints, so that the box holds the rest of the person and how far they get in a
frame."""
_LEAST_SCORE = 0.3
"""Mean score of the keypoints below which a person counts as lost; keypoints below it do not count for the box."""


class BoxFollower:
    """Says when the detector has to look, and where people are in the frames between.

    A box is the extent of the keypoints of the frame before, 1.25 times as large, moved on as far as the person moved
    from the frame before that.

    Args:
        detect_every: the detector looks at every so many frames of a video, and at each image.
    """

    def __init__(self, detect_every: int) -> None:
        self._detect_every = detect_every
        self._item: MediaItem | None = None
        self._age = 0  # frames since the detector looked
        self._last: PoseOutput | None = None
        self._shift = np.zeros((0, 2), np.float32)  # (N, 2) of the people of the last frame, in pixels per frame

    def boxes(self, frame: Frame) -> ImageBoxes | None:
        """Boxes (N, 4) and their scores (N,) for the next frame; None where the detector has to look."""
        last, goes_on = self._last, frame.frame_index is not None and frame.item == self._item
        self._item = frame.item
        self._age += 1
        if not goes_on or last is None or self._age >= self._detect_every:
            return None
        boxes = boxes_around(last.keypoints, last.keypoint_scores > _LEAST_SCORE, BOX_SCALE) + np.tile(self._shift, 2)
        scores = np.ones(len(boxes), np.float32) if last.box_scores is None else last.box_scores
        return (boxes, scores) if are_on_image(boxes, last.image_size or (np.inf, np.inf)).all() else None

    def update(self, output: PoseOutput, detected: bool) -> None:
        """Take over what was found in the frame."""
        last = self._last
        moved = np.zeros((output.num_instances, 2), np.float32)
        if not detected and last is not None:
            moved = (output.keypoints - last.keypoints).mean(1)
        self._last, self._shift = output, moved
        self._age = 0 if detected else self._age


def is_person_lost(output: PoseOutput) -> bool:
    """Whether the keypoints of a person who was followed are unlikely, so that the detector has to look at once."""
    return bool((output.keypoint_scores.mean(1) < _LEAST_SCORE).any())
