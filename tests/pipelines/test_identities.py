"""Identities over frames, and motions that are smoothed along them."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.pipelines.identities import frame_times
from hfpose.results import PoseOutput
from hfpose.tracking.filters import smooth_clip
from hfpose.tracking.tracker import KeypointSmoother
from walking import FRAME_RATE, walking_pose

NOISE = 0.010  # meters
WRISTS = [9, 10]


def walk_with_noise() -> tuple[np.ndarray, list[PoseOutput]]:
    """A walk (T, 17, 3) in meters, and the results with noise; in each frame somebody without an identity comes first."""
    walk = walking_pose(240, 1.7, 0.0, 0.5)
    noisy = walk + np.random.default_rng(0).normal(0, NOISE, walk.shape)
    outputs = [
        PoseOutput(np.stack((0 * pose, pose)), np.ones((2, 17)), track_ids=[-1, 7], schema=load_schema("coco"))
        for pose in noisy
    ]
    return walk, outputs


def wrist_error(outputs: list[PoseOutput], walk: np.ndarray) -> float:
    return float(np.linalg.norm([o.keypoints[1, WRISTS] for o in outputs] - walk[:, WRISTS], axis=-1).mean())


def test_a_clip_is_smoothed_without_lag() -> None:
    walk, noisy = walk_with_noise()
    smooth = smooth_clip(noisy, np.arange(len(walk)) / FRAME_RATE, 6.0)
    assert wrist_error(smooth, walk) < 0.75 * wrist_error(noisy, walk)
    assert all((output.keypoints[0] == 0).all() for output in smooth)
    online = KeypointSmoother(FRAME_RATE)
    assert wrist_error(smooth, walk) < 0.75 * wrist_error([online.update(output) for output in noisy], walk)


def frames(seconds: list[float | None]) -> list[Frame]:
    video = VideoInfo(20.0, 64, 48, None)
    item = MediaItem(0, "video", "clip")
    return [Frame(item, frame_index=i, video=video, timestamp=each) for i, each in enumerate(seconds)]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ([0.0, 0.1, 0.3], [0.0, 0.1, 0.3]),
        ([0.0, 0.1, 0.1], [0.0, 0.05, 0.1]),
        ([0.0, None, 0.3], [0.0, 0.05, 0.1]),
    ],
)
def test_times_are_those_of_the_file_unless_they_make_no_sense(
    seconds: list[float | None], expected: list[float]
) -> None:
    assert frame_times(frames(seconds)).tolist() == pytest.approx(expected)
