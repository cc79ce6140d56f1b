"""CID image processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from hfpose.models.shared.bottom_up import BottomUpImageProcessor, check_target_sizes, smooth_maps
from hfpose.models.shared.heatmaps import decode_heatmaps
from hfpose.models.shared.one_stage import Instances


class CIDImageProcessor(BottomUpImageProcessor):
    """Images for [`CIDForPoseEstimation`] and people from its outputs, see [`BottomUpImageProcessor`].

    Args:
        center_threshold: minimum score of a center.
        smoothing_kernel_size: cells over which the heatmaps of the instances are smoothed; odd.
        stride: pixels of the network input along a cell of the heatmaps.
        kwargs: see [`BottomUpImageProcessor`].
    """

    center_threshold: float = 0.01
    smoothing_kernel_size: int = 3
    stride: int = 4

    def instances(
        self,
        outputs: Any,
        target_sizes: Tensor | Sequence[tuple[int, int]],
        threshold: float | None = None,
        nms_threshold: float | None = None,
    ) -> list[Instances]:
        """See `OneStageProcessing.instances`; there is no suppression, so `nms_threshold` means nothing."""
        check_target_sizes(outputs["heatmaps"], target_sizes)
        found = []
        for heatmaps, center_scores, size in zip(
            outputs["heatmaps"], outputs["center_scores"].float(), target_sizes, strict=True
        ):
            is_center = center_scores > self.center_threshold
            smoothed = smooth_maps(heatmaps[is_center].float(), self.smoothing_kernel_size)
            cells, scores = decode_heatmaps(smoothed)
            keypoints = (cells.numpy() + np.float32(0.5)) * np.float32(self.stride)
            keypoint_scores = (scores * center_scores[is_center, None].cpu()).numpy()
            found.append(self.best_instances(keypoints, keypoint_scores, keypoint_scores.mean(1), size, threshold))
        return found
