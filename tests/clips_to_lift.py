"""2D results of people who walk, and what lifters make of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hfpose.keypoints import load_schema
from hfpose.pipelines.lifting_stage import TemporalLifter
from hfpose.pipelines.online_lifting import OnlineLifter
from hfpose.results import PoseOutput
from walking import IMAGE_SIZE, walking_pose


def walk(frames: int, place: tuple[float, float] = (300, 400), phase: float = 0.0) -> np.ndarray:
    """COCO keypoints (T, 17, 2) in pixels of someone who walks to the right."""
    pose = walking_pose(frames, 1.7, phase, heading=0.3)[..., :2] * [200, -200] + np.array(place)
    return (pose + np.arange(frames)[:, None, None] * [2.0, 0.0]).astype(np.float32)


def frame(people: dict[int, np.ndarray], scale: float = 1.0, **settings: Any) -> PoseOutput:
    """A 2D result with people (17, 2) by their identity."""
    keypoints = np.array(list(people.values()), np.float32).reshape(-1, 17, 2) * scale
    width, height = IMAGE_SIZE
    defaults: dict[str, Any] = {
        "track_ids": list(people),
        "schema": load_schema("coco"),
        "image_size": (int(width * scale), int(height * scale)),
    }
    return PoseOutput(keypoints=keypoints, keypoint_scores=np.full((len(people), 17), 0.9), **(defaults | settings))


def frames_of(*people: np.ndarray, missing: Sequence[tuple[int, int]] = ()) -> list[PoseOutput]:
    """2D results of people (T, 17, 2); `missing` are pairs of a person and a frame in which they are not seen."""
    return [
        frame({i: person[t] for i, person in enumerate(people) if (i, t) not in missing})
        for t in range(len(people[0]))
    ]


def poses(lifted: Sequence[PoseOutput], track_id: int = 0) -> np.ndarray:
    """Poses (T, 17, 3) of a person over all frames in which they are."""
    rows = [(each, np.flatnonzero(each.track_ids == track_id)) for each in lifted]
    return np.concatenate([output.keypoints[row] for output, row in rows])


def online(lifter: TemporalLifter, frames: Sequence[PoseOutput], lookahead: int = 0) -> list[PoseOutput]:
    """The frames of a stream, each lifted from those before it and so many after it."""
    stream = OnlineLifter(lifter, lookahead)
    pushed = [stream.push(each) for each in frames]
    return [*(each for each in pushed if each is not None), *stream.finish()]
