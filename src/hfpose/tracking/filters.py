"""Filters over time that see all of a motion at once, and so do not lag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from hfpose.results import PoseOutput
from hfpose.tracking.tracker import UNTRACKED

# So that a keypoint that is seen too seldom has a place.
_LEAST_WEIGHT = 1e-9


def smooth_zero_phase(values: np.ndarray, times: np.ndarray, cutoff: float) -> np.ndarray:
    """Values without what changes faster than `cutoff`, and without a lag.

    The curve with the least `sum of (curve - values)^2 + c * integral of curve''^2`. Its response to a frequency f is
    1 / (1 + (sqrt(2) - 1) (f / cutoff)^4): that of a Butterworth filter of second order that runs forth and back, and
    whose cutoff is corrected for the two passes. Times need not be even, and gaps need no filling.

    Source: Whittaker, "On a new method of graduation", 1922; Winter, "Biomechanics and Motor Control of Human Movement".

    Args:
        values: (T, ...); what is not finite is missing, and stays so.
        times: (T,) seconds, growing.
        cutoff: in Hz, where the amplitude is 1 / sqrt(2). From half the frame rate on nothing is changed.
    """
    steps = np.diff(times)
    if len(steps) < 2 or cutoff >= 0.5 / np.median(steps):
        return values
    columns = values.reshape(len(values), -1).astype(np.float64)
    known = np.isfinite(columns)
    center = np.nanmean(np.where(known.any(0), columns, 0), axis=0)
    step = float(np.median(steps))
    stiffness = (np.sqrt(2) - 1) / ((2 - 2 * np.cos(2 * np.pi * cutoff * step)) / step**2) ** 2
    before, after = steps[:-1], steps[1:]
    lasting = (before + after) / 2
    bend = np.stack((1 / before, -1 / before - 1 / after, 1 / after)) / lasting  # second derivative around a frame
    weights = np.where(known, np.gradient(times)[:, None], _LEAST_WEIGHT * step)
    bands = [weights, np.zeros((len(times) - 1, 1)), np.zeros((len(times) - 2, 1))]
    for i in range(3):
        for j in range(i, 3):
            rows = slice(i, i + len(lasting))
            product = (stiffness * lasting * bend[i] * bend[j])[:, None]
            bands[j - i][rows] = bands[j - i][rows] + product
    smooth = _solve(bands, right=np.where(known, columns - center, 0) * np.gradient(times)[:, None])
    return np.where(known, smooth + center, columns).reshape(values.shape).astype(values.dtype)


def _solve(bands: list[np.ndarray], right: np.ndarray) -> np.ndarray:
    """x (T, C) with A x = b (T, C) for symmetric A of five bands: the diagonal, the one above it, and the one above that.

    A = L D L^T with a diagonal D and two bands in L; bands are (T, C), (T - 1, 1) and (T - 2, 1).
    """
    count = len(right)
    diagonal = np.empty_like(right)
    near, far = np.zeros_like(right), np.zeros_like(right)  # of L, below the diagonal
    solved = right.copy()
    for i in range(count):
        value, next_value = bands[0][i].copy(), bands[1][i] if i < count - 1 else 0.0
        if i > 0:
            value -= near[i - 1] ** 2 * diagonal[i - 1]
            next_value = next_value - near[i - 1] * far[i - 1] * diagonal[i - 1]
            solved[i] -= near[i - 1] * solved[i - 1]
        if i > 1:
            value -= far[i - 2] ** 2 * diagonal[i - 2]
            solved[i] -= far[i - 2] * solved[i - 2]
        diagonal[i] = value
        near[i] = next_value / value
        far[i] = (bands[2][i] if i < count - 2 else 0.0) / value
    solved /= diagonal
    for i in range(count - 2, -1, -1):
        solved[i] -= near[i] * solved[i + 1]
        if i < count - 2:
            solved[i] -= far[i] * solved[i + 2]
    return solved


def smooth_clip(outputs: Sequence[PoseOutput], times: np.ndarray, cutoff: float) -> list[PoseOutput]:
    """The frames of a video with smooth `keypoints`, without lag; those without an identity stay as they are.

    Args:
        outputs: T results with `track_ids`.
        times: (T,) seconds.
        cutoff: in Hz.
    """
    smoothed = [output.keypoints.copy() for output in outputs]
    for places in track_places(outputs).values():
        index, rows = np.array(places).T
        motion = np.stack([outputs[i].keypoints[row] for i, row in places])
        for i, row, pose in zip(index, rows, smooth_zero_phase(motion, times[index], cutoff), strict=True):
            smoothed[i][row] = pose
    return [replace(output, keypoints=keypoints) for output, keypoints in zip(outputs, smoothed, strict=True)]


def track_places(outputs: Iterable[PoseOutput]) -> dict[int, list[tuple[int, int]]]:
    """Where each identity is: numbers of the results, and its rows in them."""
    places: dict[int, list[tuple[int, int]]] = {}
    for index, output in enumerate(outputs):
        for row, track in enumerate([] if output.track_ids is None else output.track_ids.tolist()):
            if track != UNTRACKED:
                places.setdefault(track, []).append((index, row))
    return places
