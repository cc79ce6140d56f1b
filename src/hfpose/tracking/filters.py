"""Filters over time that see all of a motion at once, and so do not lag."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Literal

import numpy as np

from hfpose.results import PoseOutput
from hfpose.tracking.tracker import UNTRACKED

ClipFilter = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Smooth values (T, ...) from values (T, ...) and their times (T,) in seconds."""

ClipFilterName = Literal["butterworth", "gaussian", "median", "hampel"]

Places = list[tuple[int, int]]
"""Where an identity is: numbers of the results, and its rows in them."""

# So that a keypoint that is seen too seldom has a place.
_LEAST_WEIGHT = 1e-9
# Standard deviation of normally distributed values for one median absolute deviation.
_DEVIATIONS_PER_MAD = 1.4826


def make_clip_filter(name: ClipFilterName, *, cutoff: float, window: float, threshold: float) -> ClipFilter:
    """The filter of a name with those of the parameters that it has: `smooth_zero_phase` and `smooth_gaussian` the
    cutoff, `smooth_median` the window, `replace_outliers` window and threshold.
    """
    filters: dict[ClipFilterName, ClipFilter] = {
        "butterworth": lambda values, times: smooth_zero_phase(values, times, cutoff),
        "gaussian": lambda values, times: smooth_gaussian(values, times, cutoff),
        "median": lambda values, times: smooth_median(values, times, window),
        "hampel": lambda values, times: replace_outliers(values, times, window, threshold),
    }
    return filters[name]


def smooth_zero_phase(values: np.ndarray, times: np.ndarray, cutoff: float) -> np.ndarray:
    """Values without what changes faster than `cutoff`, and without a lag.

    The curve with the least `sum of (curve - values)^2 + c * integral of curve''^2`. Its response to a frequency f is
    1 / (1 + (sqrt(2) - 1) (f / cutoff)^4): that of a Butterworth filter of second order that runs forth and back, and
    whose cutoff is corrected for the two passes. Times need not be even, and gaps need no filling.

    Source: Whittaker, "On a new method of graduation", 1922; Winter, "Biomechanics and Motor Control of Human
    Movement".

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
    """x (T, C) with A x = b (T, C) for symmetric A of five bands: the diagonal, the one above it, and the one above
    that.

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


def smooth_gaussian(values: np.ndarray, times: np.ndarray, cutoff: float) -> np.ndarray:
    """Values with a straight line laid through the neighbors of each, weighted by a Gaussian over time.

    Among even times that is the mean with these weights; at the ends and beside gaps a steady motion stays as it is.

    Source: Cleveland, "Robust locally weighted regression and smoothing scatterplots", 1979.

    Args:
        values: (T, ...); what is not finite is missing, and stays so.
        times: (T,) seconds, growing.
        cutoff: in Hz, where the amplitude is 1 / sqrt(2).
    """
    deviation = math.sqrt(math.log(2)) / (2 * math.pi * cutoff)
    index, seconds = _neighbors(times, 3 * deviation)
    weights = np.where(np.isfinite(seconds), np.exp(-0.5 * (seconds / deviation) ** 2), 0)
    weights *= np.gradient(times)[index] if len(times) > 1 else 1
    seconds = np.where(weights > 0, seconds, 0)

    def smooth(column: np.ndarray) -> np.ndarray:
        near = column[index]
        own = weights * np.isfinite(near)
        near = np.where(np.isfinite(near), near, 0)
        sums = [(own * seconds**power).sum(1) for power in range(3)]
        moments = [(own * near * seconds**power).sum(1) for power in range(2)]
        spread = sums[0] * sums[2] - sums[1] ** 2
        is_line = spread > 1e-9 * sums[0] ** 2 * deviation**2
        mean = moments[0] / np.where(sums[0] > 0, sums[0], 1)
        line = (sums[2] * moments[0] - sums[1] * moments[1]) / np.where(is_line, spread, 1)
        return np.where(is_line, line, mean)

    return _by_column(values, smooth)


def smooth_median(values: np.ndarray, times: np.ndarray, window: float) -> np.ndarray:
    """The median of each value and its neighbors, which leaves steps sharp and drops single errors.

    Args:
        values: (T, ...); what is not finite is missing, and stays so.
        times: (T,) seconds, growing.
        window: seconds around a value in which its neighbors are, half of them before it and half behind.
    """
    index, seconds = _neighbors(times, window / 2)
    return _by_column(values, lambda column: _median(_near(column, index, seconds)))


def replace_outliers(values: np.ndarray, times: np.ndarray, window: float, threshold: float) -> np.ndarray:
    """Values that are far from the median of their neighbors replaced by it; all others as they are (Hampel's filter).

    Source: Davies and Gather, "The identification of multiple outliers", 1993.

    Args:
        values: (T, ...); what is not finite is missing, and stays so.
        times: (T,) seconds, growing.
        window: as of `smooth_median`.
        threshold: standard deviations, as the median absolute deviation tells them, from which on a value is an
            outlier.
    """
    index, seconds = _neighbors(times, window / 2)

    def smooth(column: np.ndarray) -> np.ndarray:
        near = _near(column, index, seconds)
        center = _median(near)
        deviation = _DEVIATIONS_PER_MAD * _median(np.abs(near - center[:, None]))
        return np.where(np.abs(column - center) > threshold * deviation, center, column)

    return _by_column(values, smooth)


def _neighbors(times: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (T, W) of the values around each, and how many seconds they are later; not finite where it is too
    far."""
    reach = reach * (1 + 1e-9)  # times of even frames are not exact
    count = int((np.searchsorted(times, times + reach, "right") - np.arange(len(times))).max(initial=1)) - 1
    index = np.arange(len(times))[:, None] + np.arange(-count, count + 1)
    is_there = (index >= 0) & (index < len(times))
    index = index.clip(0, len(times) - 1)
    seconds = times[index] - times[:, None]
    return index, np.where(is_there & (np.abs(seconds) <= reach), seconds, np.nan)


def _near(column: np.ndarray, index: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """The neighbors (T, W) of the values (T,), NaN where there is none."""
    near = column[index]
    return np.where(np.isfinite(seconds) & np.isfinite(near), near, np.nan)


def _median(rows: np.ndarray) -> np.ndarray:
    """The median of what is no NaN of each row, NaN where there is nothing."""
    ordered = np.sort(rows, axis=1)  # NaN goes last
    last = np.maximum(np.isfinite(rows).sum(1) - 1, 0)
    low, high = (np.take_along_axis(ordered, place[:, None], 1)[:, 0] for place in (last // 2, (last + 1) // 2))
    return (low + high) / 2


def _by_column(values: np.ndarray, smooth: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a filter of columns (T,) makes of values (T, ...); what is not finite stays so."""
    columns = values.reshape(len(values), math.prod(values.shape[1:])).astype(np.float64)
    smoothed = np.stack([smooth(column) for column in columns.T], axis=1) if columns.size else columns
    return np.where(np.isfinite(columns), smoothed, columns).reshape(values.shape).astype(values.dtype)


def smooth_clip(outputs: Sequence[PoseOutput], times: np.ndarray, smooth: ClipFilter) -> list[PoseOutput]:
    """The frames of a video with smooth `keypoints`; those without an identity stay as they are.

    Args:
        outputs: T results with `track_ids`.
        times: (T,) seconds.
        smooth: what to do to the motion of each identity.
    """

    def poses(places: Places) -> np.ndarray:
        return smooth(values_at(outputs, places, "keypoints"), times[[index for index, _ in places]])

    return change_tracks(outputs, poses)


def fill_gaps(outputs: Sequence[PoseOutput], times: np.ndarray, longest: float) -> list[PoseOutput]:
    """The frames of a video with people also where they were not seen for a short time: on the straight way from where
    they were last seen to where they are seen again. `interpolated` tells who was not seen.

    Args:
        outputs: T results with `track_ids`. Those with an error stay empty.
        times: (T,) seconds.
        longest: seconds between two sights of a person that are bridged at most.
    """
    added: dict[int, list[PoseOutput]] = {}
    for places in track_places(outputs).values():
        for (first, row), (last, last_row) in pairwise(places):
            if last == first + 1 or times[last] - times[first] > longest:
                continue
            before, after = outputs[first].select([row]), outputs[last].select([last_row])
            for i in range(first + 1, last):
                share = (times[i] - times[first]) / (times[last] - times[first])
                added.setdefault(i, []).append(_between(before, after, share))
    marked = [replace(output, interpolated=np.zeros(output.num_instances, bool)) for output in outputs]
    return [
        output if output.error is not None or i not in added else output.extend(added[i])
        for i, output in enumerate(marked)
    ]


def _between(before: PoseOutput, after: PoseOutput, share: float) -> PoseOutput:
    """A person at a share of the time between two sights."""
    ends = {name: (getattr(before, name), getattr(after, name)) for name in before.instance_fields}
    between = {name: a + np.float32(share) * (b - a) for name, (a, b) in ends.items() if a.dtype.kind == "f"}
    return replace(before, **between, interpolated=np.ones(1, bool))


def track_places(outputs: Iterable[PoseOutput]) -> dict[int, Places]:
    """Where each identity is."""
    places: dict[int, Places] = {}
    for index, output in enumerate(outputs):
        for row, track in enumerate([] if output.track_ids is None else output.track_ids.tolist()):
            if track != UNTRACKED:
                places.setdefault(track, []).append((index, row))
    return places


def values_at(outputs: Sequence[PoseOutput], places: Places, name: str) -> np.ndarray:
    """A field of results (T, ...) at the places of an identity."""
    return np.stack([getattr(outputs[index], name)[row] for index, row in places])


def change_tracks(
    outputs: Sequence[PoseOutput], poses: Callable[[Places], np.ndarray], *, untracked: bool = False
) -> list[PoseOutput]:
    """The results with other keypoints (T, K, D) for each identity, made from its places; with `untracked` for who has
    none too, one frame at a time."""
    changed = [output.keypoints.copy() for output in outputs]
    tracks = [*track_places(outputs).values()]
    if untracked:
        tracked = {*chain(*tracks)}
        everyone = ((index, row) for index, output in enumerate(outputs) for row in range(output.num_instances))
        tracks += [[place] for place in everyone if place not in tracked]
    for places in tracks:
        for (index, row), pose in zip(places, poses(places), strict=True):
            changed[index][row] = pose
    return [replace(output, keypoints=keypoints) for output, keypoints in zip(outputs, changed, strict=True)]
