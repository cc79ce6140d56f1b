from __future__ import annotations

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame, MediaItem
from hfpose.pipelines.box_following import BoxFollower, is_person_lost
from hfpose.pipelines.options import CallOptions
from hfpose.results import PoseOutput

ITEM = MediaItem(0, "video", "clip")


def frame(index: int | None, item: MediaItem = ITEM) -> Frame:
    return Frame(item, np.zeros((100, 200, 3), np.uint8), frame_index=index)


def person(left: float, score: float = 0.9) -> PoseOutput:
    """Keypoints over a box of 40 x 40 pixels from (left, 20)."""
    corners = np.array([[left, 20.0], [left + 40, 60.0]])
    keypoints = np.concatenate([corners, np.repeat(corners.mean(0)[None], 15, axis=0)])
    return PoseOutput(
        keypoints=keypoints[None],
        keypoint_scores=np.full((1, 17), score),
        boxes=np.array([[left, 20, left + 40, 60]]),
        box_scores=np.array([0.8]),
        schema=load_schema("coco"),
        image_size=(200, 100),
    )


def test_the_detector_looks_at_every_nth_frame() -> None:
    follower, looked = BoxFollower(3), []
    for index in range(7):
        looked.append(follower.boxes(frame(index)) is None)
        follower.update(person(20), detected=looked[-1])
    assert looked == [True, False, False, True, False, False, True]


def test_boxes_are_larger_than_the_keypoints_and_move_on() -> None:
    follower = BoxFollower(9)
    assert follower.boxes(frame(0)) is None
    follower.update(person(20), detected=True)
    boxes, scores = follower.boxes(frame(1)) or ((), ())
    np.testing.assert_allclose(boxes, [[15, 15, 65, 65]])
    np.testing.assert_allclose(scores, [0.8])
    follower.update(person(30), detected=False)
    boxes, _ = follower.boxes(frame(2)) or ((), ())
    np.testing.assert_allclose(boxes, [[35, 15, 85, 65]])


def test_images_other_videos_and_people_outside_ask_for_the_detector() -> None:
    follower = BoxFollower(9)
    for before, after in (
        (frame(None), frame(None)),
        (frame(0), frame(0, MediaItem(1, "video", "other"))),
    ):
        follower.boxes(before)
        follower.update(person(20), detected=True)
        assert follower.boxes(after) is None
    follower.boxes(frame(0))
    follower.update(person(-80), detected=True)
    assert follower.boxes(frame(1)) is None


def test_unlikely_keypoints_are_a_person_who_was_lost() -> None:
    assert is_person_lost(person(20, score=0.2)) and not is_person_lost(person(20))


def test_detect_every_is_checked() -> None:
    with pytest.raises(InputError, match="detect_every is 0"):
        CallOptions(detect_every=0)
