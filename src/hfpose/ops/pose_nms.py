"""Leaving out people that were found twice, judged by their keypoints."""

from __future__ import annotations

import numpy as np

from hfpose.results import PoseOutput

_NEAR = 0.05  # share of a pose's diagonal within which keypoints count as the same
_MAX_INSTANCES = 30


def suppress_similar_poses(output: PoseOutput) -> PoseOutput:
    """The result without those people most of whose keypoints lie on those of somebody with a higher box score.

    Two are the same person where more than a third of their keypoints are within a twentieth of the pose's diagonal; at
    most 30 people are kept, best first. Source: `mmpose.evaluation.functional.nearby_joints_nms`, as MMPose's inferencer
    calls it.
    """
    if output.num_instances < 2:
        return output
    keypoints = output.keypoints
    scores = output.keypoint_scores.mean(1) if output.box_scores is None else output.box_scores
    diagonals = np.linalg.norm(keypoints.max(1) - keypoints.min(1), axis=-1)
    distances = np.linalg.norm(keypoints[:, None] - keypoints[None], axis=-1)  # (N, N, K)
    near = (distances < _NEAR * diagonals[:, None, None]).sum(-1)
    same = near > keypoints.shape[1] // 3
    kept: list[int] = []
    done: set[int] = set()
    for person in np.argsort(scores)[::-1].tolist():
        if person in done:
            continue
        group = np.flatnonzero(same[person])
        # Its own keypoints need not be near themselves where a pose has no extent.
        best = int(group[np.argmax(scores[group])]) if len(group) else person
        if best not in done:
            kept.append(best)
            done.update(group.tolist())
            done.add(best)
    return output.select(kept[:_MAX_INSTANCES])
