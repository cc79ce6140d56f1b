"""Drawing: functions that take an image and a result and return a new image."""

from hfpose.visualization.heatmap_overlay import draw_heatmaps, draw_poses_and_heatmaps
from hfpose.visualization.interactive import plot_poses_3d
from hfpose.visualization.panels import Panels
from hfpose.visualization.plots import plot_tracks
from hfpose.visualization.poses import ColorBy, SkeletonStyle, draw_poses
from hfpose.visualization.poses_3d import AxisLimits, axis_limits_3d, draw_poses_3d, draw_poses_side_by_side
from hfpose.visualization.windows import Window

__all__ = [
    "AxisLimits",
    "ColorBy",
    "Panels",
    "SkeletonStyle",
    "Window",
    "axis_limits_3d",
    "draw_heatmaps",
    "draw_poses",
    "draw_poses_3d",
    "draw_poses_and_heatmaps",
    "draw_poses_side_by_side",
    "plot_poses_3d",
    "plot_tracks",
]
