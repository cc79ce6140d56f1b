"""3D skeletons as a figure that a notebook can turn around. Needs plotly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.results import PoseOutput
from hfpose.visualization.canvas import resolve_schema
from hfpose.visualization.poses_3d import ELEVATION, axis_limits_3d, default_azimuth, viewing_axes

if TYPE_CHECKING:
    import plotly.graph_objects


def plot_poses_3d(
    output: PoseOutput,
    *,
    schema: KeypointSchema | str | None = None,
    keypoint_threshold: float = 0.3,
    azimuth: float | None = None,
    elevation: float = ELEVATION,
    apart: bool = True,
) -> plotly.graph_objects.Figure:
    """An interactive figure of the 3D skeletons of `output`.

    Args:
        output: N people with 3D keypoints (N, K, 3), z up.
        schema: Schema or name of one for skeleton and colors. Default: the output's own.
        keypoint_threshold: Lowest keypoint score that is drawn.
        azimuth, elevation: First position of the viewer, in degrees as in `draw_poses_3d`.
        apart: One beside the other, since each is relative to its own root. False leaves people where they are, for
            results of `root="planar"` and `"camera"`.

    Raises:
        InputError: If the keypoints have no third dimension.
        ImportError: If plotly is not installed.
    """
    if output.num_instances and output.keypoints.shape[2] != 3:
        raise InputError("plot_poses_3d needs 3D keypoints (N, K, 3), but the result has 2D ones.")
    try:
        from plotly import graph_objects
    except ImportError as error:
        raise ImportError("plot_poses_3d needs plotly: pip install plotly. draw_poses_3d draws without it.") from error
    schema = resolve_schema(schema, output)
    limits = axis_limits_3d(output, keypoint_threshold=keypoint_threshold)
    step = np.array([1.1 * (limits.x[1] - limits.x[0]) * apart, 0, 0])
    figure = graph_objects.Figure()
    for index, (keypoints, scores) in enumerate(zip(output.keypoints, output.keypoint_scores, strict=True)):
        points = keypoints + index * step
        points[~(scores >= keypoint_threshold)] = np.nan
        track = -1 if output.track_ids is None else output.track_ids[index]
        name = f"#{track}" if track >= 0 else f"person {index}"
        _add_skeleton(figure, points, schema, name)
    azimuth = default_azimuth(schema) if azimuth is None else azimuth
    eye = 1.8 * viewing_axes(azimuth, elevation)[2]
    # The longest side is 1, so that the viewer sees all of it; with "data" it is the volume that is 1.
    low, high = np.array(limits).T
    high = high + max(output.num_instances - 1, 0) * step
    sides = (high - low) / (high - low).max()
    figure.update_scenes(
        aspectmode="manual",
        aspectratio=dict(zip("xyz", sides.tolist(), strict=True)),
        camera={"eye": dict(zip("xyz", eye.tolist(), strict=True))},
        **{f"{axis}axis_range": [*ends] for axis, *ends in zip("xyz", low.tolist(), high.tolist(), strict=True)},
    )
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0})
    return figure


def _add_skeleton(figure: plotly.graph_objects.Figure, points: np.ndarray, schema: KeypointSchema, name: str) -> None:
    """Adds one person: all links as one line with gaps, and the keypoints with their names to hover over."""
    links = np.array(schema.skeleton, dtype=int).reshape(-1, 2)
    gap = np.full((len(links), 1, 3), np.nan)
    strokes = np.concatenate([points[links], gap], axis=1).reshape(-1, 3)
    stroke_colors = [f"rgb{color}" for color in schema.skeleton_colors for _ in range(3)]
    figure.add_scatter3d(
        **dict(zip("xyz", strokes.T, strict=True)),
        mode="lines",
        line={"color": stroke_colors, "width": 6},
        name=name,
        legendgroup=name,
        hoverinfo="skip",
    )
    figure.add_scatter3d(
        **dict(zip("xyz", points.T, strict=True)),
        mode="markers",
        marker={"color": [f"rgb{color}" for color in schema.keypoint_colors], "size": 4},
        text=list(schema.keypoint_names),
        name=name,
        legendgroup=name,
        showlegend=False,
    )
