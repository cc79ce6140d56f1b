"""DEKR image processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hfpose.models.shared.bottom_up import BottomUpImageProcessor, check_target_sizes
from hfpose.models.shared.one_stage import Instances
from hfpose.ops.pose_nms import unlike_poses


class DEKRImageProcessor(BottomUpImageProcessor):
    """Images for [`DEKRForPoseEstimation`] and people from its outputs, see [`BottomUpImageProcessor`].

    Args:
        center_threshold: least response of a center.
        nms_threshold: two keypoints are close when their distance is less than this share of the diagonal of a pose.
            Poses most of whose keypoints are close suppress each other. 0 for no suppression.
        kwargs: see [`BottomUpImageProcessor`].
    """

    center_threshold: float = 0.01
    nms_threshold: float = 0.05

    def instances(
        self,
        outputs: Any,
        target_sizes: Tensor | Sequence[tuple[int, int]],
        threshold: float | None = None,
        nms_threshold: float | None = None,
    ) -> list[Instances]:
        """See `OneStageProcessing.instances`; for the meaning of `nms_threshold` see the processor's own."""
        check_target_sizes(outputs["pred_keypoints"], target_sizes)
        closeness = self.nms_threshold if nms_threshold is None else nms_threshold
        keypoints, keypoint_scores, center_scores, pose_scores = (
            outputs[name].float().cpu().numpy()
            for name in ("pred_keypoints", "keypoint_scores", "center_scores", "pose_scores")
        )
        found = []
        for index, size in enumerate(target_sizes):
            kept = np.flatnonzero(center_scores[index] > self.center_threshold)
            if closeness > 0:
                poses, scores = keypoints[index, kept], keypoint_scores[index, kept].mean(1)
                kept = kept[unlike_poses(poses, scores, closeness, poses.shape[1] // 2)[: self.max_instances]]
            scores = (center_scores[index, kept] * pose_scores[index, kept])[:, None] * keypoint_scores[index, kept]
            found.append(self.best_instances(keypoints[index, kept], scores, scores.mean(1), size, threshold))
        return found
