"""HRNet image processor."""

from __future__ import annotations

from hfpose.models.shared.heatmaps import HeatmapImageProcessor


class HRNetImageProcessor(HeatmapImageProcessor):
    """Crops for [`HRNetForPoseEstimation`] and keypoints from its heatmaps; see [`HeatmapImageProcessor`]."""


__all__ = ["HRNetImageProcessor"]
