"""Frames and poses in time."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.compat.mmpose import (
    InstanceData,
    PoseDataSample,
    collate_pose_sequence,
    collect_multi_frames,
    extract_pose_sequence,
)
from hfpose.errors import InputError


def pose(value: float, track_id: int | None = None) -> PoseDataSample:
    sample = PoseDataSample(
        gt_instances=InstanceData(bboxes=np.zeros((1, 4))),
        pred_instances=InstanceData(keypoints=np.full((1, 17, 2), value, np.float32), bboxes=np.ones((1, 4))),
    )
    if track_id is not None:
        sample.track_id = track_id
    return sample


def times(sequence: PoseDataSample) -> list[float]:
    return sequence.pred_instances.keypoints[0, :, 0, 0].tolist()


@pytest.mark.parametrize(
    ("frame", "online", "expected"), [(5, False, [5, 3, 6, 7]), (0, False, [0, 0, 1, 2]), (9, False, [9, 7, 9, 9]), (5, True, [5, 3, 5, 5])]
)  # fmt: skip
def test_frames_around_a_frame(frame, online, expected):
    video = list(range(10))
    assert collect_multi_frames(video, frame, [-2, 0, 1, 2], online=online) == expected


@pytest.mark.parametrize(
    ("frame", "causal", "length", "step", "expected"),
    [
        (5, False, 5, 1, [3, 4, 5, 6, 7]),
        (1, False, 5, 1, [0, 0, 1, 2, 3]),
        (5, False, 5, 2, [1, 3, 5, 7, 9]),
        (8, False, 5, 3, [2, 5, 8, 9, 9]),
        (2, True, 5, 1, [0, 0, 0, 1, 2]),
        (4, False, 1, 1, [4]),
    ],
)
def test_a_sequence_is_padded_with_its_ends(frame, causal, length, step, expected):
    frames = [[pose(i)] for i in range(10)]
    found = extract_pose_sequence(frames, frame, causal, length, step)
    assert [float(each[0].pred_instances.keypoints[0, 0, 0]) for each in found] == expected


def test_poses_person_by_person():
    frames = [[pose(i, 1), pose(10 + i, 2)][:: 1 if i % 2 else -1] for i in range(4)]
    first, second = collate_pose_sequence(frames)
    assert first.pred_instances.keypoints.shape == (1, 4, 17, 2)
    assert (times(first), times(second)) == ([0, 1, 2, 3], [10, 11, 12, 13])
    assert first.gt_instances.bboxes.shape == (1, 4)
    assert frames[-1][0].pred_instances.keypoints.shape == (1, 17, 2)  # what was given is kept
    by_place = collate_pose_sequence(frames, with_track_id=False, target_frame=1)
    assert times(by_place[0]) == [10, 1, 12, 3]


def test_who_is_not_seen_stands_still():
    frames = [[], [pose(1, 1)], [pose(2, 1)], [pose(9, 2)]]
    (one,) = collate_pose_sequence(frames, target_frame=2)
    assert times(one) == [1, 1, 2, 2]
    assert collate_pose_sequence([[pose(1, 1)], []]) == []


def test_there_must_be_frames():
    for call in (lambda: collate_pose_sequence([]), lambda: extract_pose_sequence([], 0, False, 3)):
        with pytest.raises(InputError, match="no frames"):
            call()
