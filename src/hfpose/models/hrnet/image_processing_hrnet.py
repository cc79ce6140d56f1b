"""HRNet image processor."""

from __future__ import annotations

from hfpose.models.heatmap.image_processing_heatmap import HeatmapImageProcessor


class HRNetImageProcessor(HeatmapImageProcessor):
    """Crops for [`HRNetForPoseEstimation`] and keypoints from its heatmaps; see [`HeatmapImageProcessor`]."""


__all__ = ["HRNetImageProcessor"]
