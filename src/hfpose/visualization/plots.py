"""The motions of a clip as curves over time. Needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema
from hfpose.keypoints.angles import joint_angles
from hfpose.media.frames import DEFAULT_FPS
from hfpose.results import PoseOutput
from hfpose.tracking.filters import track_places
from hfpose.visualization.canvas import TRACK_COLORS, resolve_schema

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_PEOPLE = 3
_KEYPOINTS = ("left_wrist", "right_wrist", "left_ankle", "right_ankle")
_FLEXIONS = [f"{side}_{joint}_flexion" for joint in ("elbow", "shoulder", "hip", "knee") for side in ("left", "right")]


def plot_tracks(
    outputs: Sequence[PoseOutput],
    *,
    schema: KeypointSchema | str | None = None,
    people: Sequence[int] | None = None,
    keypoints: Sequence[str] | None = None,
    keypoint_threshold: float = 0.3,
) -> Figure:
    """A figure of a clip: who is seen when, and below for some people coordinates and scores of keypoints and joint
    angles.

    Times of which a person is interpolated are pale. A keypoint below the threshold leaves a gap, except in the
    scores. Flexions of elbows, shoulders, hips and knees are those of `hfpose.keypoints.angles.joint_angles`: 0 for a
    straight limb.

    Args:
        outputs: T results in the order of time; without `track_ids` people are taken by their place in each frame.
        schema: schema or name of one. Default: the results' own.
        people: identities with curves, each a column of the figure. Default: the three who are in most frames.
        keypoints: names of keypoints with curves. Default: wrists and ankles, or the first four of the schema.
        keypoint_threshold: lowest score of a keypoint.

    Raises:
        InputError: if no person is in the results, or for a name or an identity that they do not have.
        ImportError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot_tracks needs matplotlib: pip install 'hfpose[plots]'.") from error
    outputs = [
        replace(output, track_ids=np.arange(len(output))) if output.track_ids is None else output for output in outputs
    ]
    places = track_places(outputs)
    if not places:
        raise InputError("These results have no person with keypoints to plot.")
    schema = resolve_schema(schema, next(output for output in outputs if output.num_instances))
    chosen = _chosen_people(people, places)
    named = _chosen_keypoints(keypoints, schema)
    times = np.array([i / DEFAULT_FPS if each.timestamp is None else each.timestamp for i, each in enumerate(outputs)])
    motions = [_motion(outputs, places[track]) for track in chosen]
    curves = [_curves(*motion, named, schema, keypoint_threshold) for motion in motions]

    rows = list(curves[0])
    figure = Figure(figsize=(5 * len(chosen) + 3, 2 + 2.2 * len(rows)), layout="constrained")
    heights = [0.3 + 0.12 * min(len(places), 20), *[1.0] * len(rows)]
    grid = figure.add_gridspec(len(rows) + 1, len(chosen), height_ratios=heights)
    _draw_bars(figure.add_subplot(grid[0, :]), outputs, places, times)
    first: Axes | None = None
    for column, track in enumerate(chosen):
        for row, (name, lines) in enumerate(curves[column].items(), start=1):
            axes = figure.add_subplot(grid[row, column], sharex=first)
            first = first or axes
            _draw_curves(axes, times, lines, f"{name} (degrees)" if name == "flexion" else name)
            if name == "y" and "z" not in rows:
                axes.invert_yaxis()  # as in the image
            if row == 1:
                axes.set_title(f"#{track}")
            if column == len(chosen) - 1 and name in ("x", "flexion"):  # those of the rows between are the same
                axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small")
        axes.set_xlabel("seconds")
    return figure


def _curves(
    points: np.ndarray, scores: np.ndarray, named: dict[str, int], schema: KeypointSchema, threshold: float
) -> dict[str, dict[str, np.ndarray]]:
    """Rows of the figure for a person with keypoints (T, K, D) and scores (T, K), and the lines (T,) of each."""
    shown = np.where(scores[..., None] >= threshold, points, np.nan)
    rows = {
        axis: {name: shown[:, k, i] for name, k in named.items()} for i, axis in enumerate("xyz"[: shown.shape[2]])
    }
    rows["score"] = {name: scores[:, k] for name, k in named.items()}
    flexions = _flexions(shown, schema)
    return {**rows, "flexion": flexions} if flexions else rows


def _chosen_people(people: Sequence[int] | None, places: dict[int, list[tuple[int, int]]]) -> list[int]:
    if people is None:
        return sorted(sorted(places, key=lambda track: -len(places[track]))[:_MOST_PEOPLE])
    unknown = [track for track in people if track not in places]
    if unknown:
        known = ", ".join(map(str, sorted(places)))
        raise InputError(f"There is no identity {unknown[0]} in these results; there are {known}.")
    return list(people)


def _chosen_keypoints(names: Sequence[str] | None, schema: KeypointSchema) -> dict[str, int]:
    """Numbers of keypoints by name."""
    index = {name: i for i, name in enumerate(schema.keypoint_names)}
    if names is None:
        names = [name for name in _KEYPOINTS if name in index] or schema.keypoint_names[:4]
    unknown = [name for name in names if name not in index]
    if unknown:
        raise InputError(f"There is no keypoint {unknown[0]!r}; schema {schema.name!r} has {', '.join(index)}.")
    return {name: index[name] for name in names}


def _flexions(points: np.ndarray, schema: KeypointSchema) -> dict[str, np.ndarray]:
    """Degrees (T,) by name, see `joint_angles`; none where the keypoints (T, K, D) are not those of a body."""
    try:
        angles = joint_angles(points, schema)
    except ConfigError:
        return {}
    return {name.removesuffix("_flexion"): angles[name] for name in _FLEXIONS}


def _motion(outputs: Sequence[PoseOutput], places: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (T, K, D) and scores (T, K) of a person, NaN where they are not."""
    shape = outputs[places[0][0]].keypoints.shape[1:]
    points, scores = np.full((len(outputs), *shape), np.nan), np.full((len(outputs), shape[0]), np.nan)
    for i, row in places:
        points[i], scores[i] = outputs[i].keypoints[row], outputs[i].keypoint_scores[row]
    return points, scores


def _draw_bars(axes: Axes, outputs: Sequence[PoseOutput], places: dict[int, Any], times: np.ndarray) -> None:
    """A bar for each identity where it is, pale where it is interpolated."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 1 / DEFAULT_FPS
    for row, (track, seen) in enumerate(sorted(places.items())):
        color = [part / 255 for part in TRACK_COLORS[track % len(TRACK_COLORS)]]
        filled = [bool(outputs[i].interpolated[j]) if outputs[i].interpolated is not None else False for i, j in seen]
        for is_filled in (False, True):
            spans = [(times[i], step) for (i, _), each in zip(seen, filled, strict=True) if each == is_filled]
            axes.broken_barh(spans, (row - 0.4, 0.8), color=color, alpha=0.35 if is_filled else 1.0, linewidth=0)
    axes.set_yticks(range(len(places)), [f"#{track}" for track in sorted(places)])
    axes.set_xlim(times[0], times[-1] + step)
    axes.invert_yaxis()
    axes.set_title("identities")


def _draw_curves(axes: Axes, times: np.ndarray, curves: dict[str, np.ndarray], label: str) -> None:
    for name, values in curves.items():
        axes.plot(times, values, label=name.replace("_", " "), linewidth=1.2, marker="." if len(times) < 20 else "")
    axes.set_ylabel(label)
    axes.grid(alpha=0.3)
