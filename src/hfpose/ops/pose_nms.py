"""Leaving out people that were found twice, judged by their keypoints."""

from __future__ import annotations

import numpy as np

from hfpose.results import PoseOutput

_NEAR = 0.05  # share of a pose's diagonal within which keypoints count as the same
_MAX_INSTANCES = 30


def suppress_similar_poses(output: PoseOutput) -> PoseOutput:
    """The result without the people whose keypoints mostly lie on those of a person with a higher box score.

    Two are the same person where more than a third of their keypoints are within a twentieth of the pose's diagonal;
    at most 30 people are kept, best first. Source: `mmpose.evaluation.functional.nearby_joints_nms`, as MMPose's
    inferencer calls it.
    """
    if output.num_instances < 2:
        return output
    keypoints = output.keypoints
    scores = output.keypoint_scores.mean(1) if output.box_scores is None else output.box_scores
    return output.select(unlike_poses(keypoints, scores, _NEAR, keypoints.shape[1] // 3)[:_MAX_INSTANCES])


def unlike_poses(keypoints: np.ndarray, scores: np.ndarray, near: float, most: int) -> list[int]:
    """Indices of the poses that stay when of those that are the same the best alone does, best first.

    Source: `mmpose.evaluation.functional.nearby_joints_nms`.

    Args:
        keypoints: (N, K, 2).
        scores: (N,).
        near: share of a pose's diagonal within which a keypoint of another pose counts as the same.
        most: two poses are the same where more keypoints than this are.
    """
    if len(keypoints) == 0:
        return []
    diagonals = np.linalg.norm(keypoints.max(1) - keypoints.min(1), axis=-1)
    distances = np.linalg.norm(keypoints[:, None] - keypoints[None], axis=-1)  # (N, N, K)
    same = (distances < near * diagonals[:, None, None]).sum(-1) > most
    kept: list[int] = []
    done: set[int] = set()
    for pose in np.argsort(scores)[::-1].tolist():
        if pose in done:
            continue
        group = np.flatnonzero(same[pose])
        # Its own keypoints need not be near themselves where a pose has no extent.
        best = int(group[np.argmax(scores[group])]) if len(group) else pose
        if best not in done:
            kept.append(best)
            done.update(group.tolist())
            done.add(best)
    return kept
