"""People that were found twice."""

from __future__ import annotations

import numpy as np

from hfpose.ops.pose_nms import suppress_similar_poses
from hfpose.results import PoseOutput

POSE = np.random.default_rng(0).uniform(0, 100, (9, 2))


def result(*poses: np.ndarray, scores: list[float] | None = None) -> PoseOutput:
    count = len(poses)
    return PoseOutput(
        np.reshape(poses, (count, 9, 2)),
        np.linspace(0.2, 0.8, count * 9).reshape(count, 9),
        box_scores=scores,
    )


def kept(output: PoseOutput) -> list[float]:
    return [round(score, 3) for score in suppress_similar_poses(output).box_scores.tolist()]


def test_of_two_poses_in_one_place_the_better_stays():
    assert kept(result(POSE, POSE + 1, POSE + 60, scores=[0.5, 0.9, 0.7])) == [0.9, 0.7]


def test_a_few_keypoints_in_common_are_no_reason():
    other = POSE + 60
    other[:3] = POSE[:3]  # a third of nine is not more than a third
    assert kept(result(POSE, other, scores=[0.5, 0.9])) == [0.9, 0.5]
    other[3] = POSE[3]
    assert kept(result(POSE, other, scores=[0.5, 0.9])) == [0.9]


def test_near_is_measured_by_the_size_of_the_pose():
    assert kept(result(POSE * 0.1, POSE * 0.1 + 1, scores=[0.5, 0.9])) == [0.9, 0.5]


def test_at_most_thirty_stay():
    poses = [POSE + 500 * i for i in range(35)]
    scores = np.linspace(0.1, 0.9, 35).tolist()
    assert kept(result(*poses, scores=scores)) == np.round(sorted(scores)[:4:-1], 3).tolist()


def test_without_box_scores_keypoint_scores_decide():
    assert suppress_similar_poses(result(POSE, POSE)).keypoint_scores.mean() > 0.5


def test_poses_without_extent_and_nobody():
    point = np.zeros((9, 2))
    assert suppress_similar_poses(result(point, point + 50, scores=[0.5, 0.9])).num_instances == 2
    assert suppress_similar_poses(result()).num_instances == 0
