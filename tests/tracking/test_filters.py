"""Filters over whole motions."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.results import PoseOutput
from hfpose.tracking.filters import (
    ClipFilterName,
    fill_gaps,
    make_clip_filter,
    replace_outliers,
    smooth_gaussian,
    smooth_median,
    smooth_zero_phase,
)

RATE = 50.0
TIMES = np.arange(300) / RATE


def wave(frequency: float, times: np.ndarray = TIMES) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * times)[:, None]


def amplitude(values: np.ndarray, frequency: float, times: np.ndarray = TIMES) -> complex:
    """Of a wave in the middle of the values, with its phase against `wave`."""
    middle = slice(50, 250)
    return complex(2 * (values[middle, 0] * np.exp(-2j * np.pi * frequency * times[middle])).mean() * 1j)


@pytest.mark.parametrize(("frequency", "expected"), [(1.0, 1.0), (6.0, 0.7071), (18.0, 0.06)])
def test_the_cutoff_is_in_hertz_and_nothing_lags(frequency: float, expected: float) -> None:
    found = amplitude(smooth_zero_phase(wave(frequency), TIMES, 6.0), frequency)
    assert abs(found) == pytest.approx(expected, abs=0.01)
    assert abs(np.angle(found)) < 0.02


def test_times_count_not_frames() -> None:
    """Of frames at an uneven rate the same is left over as of even ones."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.choice(np.arange(1200) / (4 * RATE), 600, replace=False))
    smooth = smooth_zero_phase(wave(6.0, times), times, 6.0)
    even = np.interp(TIMES, times, smooth[:, 0])[:, None]
    assert abs(amplitude(even, 6.0)) == pytest.approx(0.71, abs=0.05)
    assert abs(amplitude(smooth_zero_phase(wave(6.0, TIMES), 2 * TIMES, 6.0), 6.0)) == pytest.approx(
        0.97, abs=0.01
    )  # it is of 3 Hz there


def test_gaps_stay_gaps_and_do_not_spread() -> None:
    noisy = np.repeat(wave(1.0), 2, axis=1)
    noisy[100:110, 0] = np.nan
    smooth = smooth_zero_phase(noisy, TIMES, 6.0)
    assert np.flatnonzero(np.isnan(smooth[:, 0])).tolist() == list(range(100, 110))
    np.testing.assert_allclose(smooth[[95, 115]], wave(1.0)[[95, 115]] * [1, 1], atol=0.02)
    noisy[:, 1] = np.nan
    noisy[7, 1] = 3.0
    lone = smooth_zero_phase(noisy, TIMES, 6.0)[:, 1]
    assert lone[7] == pytest.approx(3.0, abs=1e-3) and np.isnan(np.delete(lone, 7)).all()


@pytest.mark.parametrize("values", [wave(1.0)[:2], wave(1.0)])
def test_what_cannot_be_smoothed_stays(values: np.ndarray) -> None:
    times = TIMES[: len(values)]
    np.testing.assert_array_equal(smooth_zero_phase(values, times, RATE), values)


def uneven_times() -> np.ndarray:
    return np.sort(np.random.default_rng(0).choice(np.arange(1200) / (4 * RATE), 600, replace=False))


@pytest.mark.parametrize(("frequency", "expected"), [(1.0, 0.99), (6.0, 0.7071), (18.0, 0.04)])
@pytest.mark.parametrize("times", [TIMES, uneven_times()], ids=["even", "uneven"])
def test_a_gaussian_has_its_cutoff_in_hertz_too(frequency: float, expected: float, times: np.ndarray) -> None:
    smooth = smooth_gaussian(wave(frequency, times), times, 6.0)
    found = amplitude(np.interp(TIMES, times, smooth[:, 0])[:, None], frequency)
    assert abs(found) == pytest.approx(expected, abs=0.01 if times is TIMES else 0.05)
    assert abs(np.angle(found)) < 0.02 or frequency == 18


def test_a_gaussian_leaves_steady_motion_alone() -> None:
    line = np.stack((TIMES, 3 - 2 * TIMES), axis=1)
    line[100:110, 0] = np.nan
    np.testing.assert_allclose(smooth_gaussian(line, TIMES, 3.0), line, atol=1e-9)


def test_a_median_drops_single_errors_and_keeps_steps() -> None:
    steps = np.where(TIMES < 3, 0.0, 10.0)[:, None]
    wrong = steps.copy()
    wrong[[20, 200]] = 99
    np.testing.assert_array_equal(smooth_median(wrong, TIMES, 0.1), steps)
    assert smooth_median(wrong, TIMES, 0.01)[20] == 99  # the window is in seconds: no neighbor is in it


def test_hampel_replaces_errors_alone() -> None:
    motion = wave(1.0) + np.random.default_rng(0).normal(0, 0.01, (300, 1))
    wrong = motion.copy()
    wrong[[20, 200]] += 5
    found = replace_outliers(wrong, TIMES, 0.3, 4.0)
    assert np.abs(found - motion).max() < 0.3
    changed = np.flatnonzero(found[:, 0] != wrong[:, 0])
    assert {20, 200} <= set(changed) and len(changed) < 10


@pytest.mark.parametrize("name", ["butterworth", "gaussian", "median", "hampel"])
@pytest.mark.parametrize("count", [1, 2, 40])
def test_every_filter_takes_short_motions_and_what_is_missing(name: ClipFilterName, count: int) -> None:
    values = np.ones((count, 3, 2), np.float32)
    values[0, 1] = np.nan
    smooth = make_clip_filter(name, cutoff=6.0, window=0.2, threshold=3.0)(values, TIMES[:count])
    assert smooth.dtype == np.float32
    np.testing.assert_allclose(smooth, values, atol=1e-5)


def sights(frames: list[int | None]) -> list[PoseOutput]:
    """Frames in which person 5 is at these places on the x axis."""
    return [
        PoseOutput(
            np.zeros((0, 2, 2)) if x is None else np.array([[[x, 0], [x, 1]]]),
            np.ones((int(x is not None), 2)),
            boxes=np.zeros((0, 4)) if x is None else [[x, 0, x + 1, 2]],
            track_ids=[] if x is None else [5],
        )
        for x in frames
    ]


def test_short_gaps_are_filled_and_marked() -> None:
    outputs = sights([0, None, None, 3, None, None, None, None, 8, None])
    times = np.array([0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    filled = fill_gaps(outputs, times, 0.45)
    assert [len(output) for output in filled] == [1, 1, 1, 1, 0, 0, 0, 0, 1, 0]
    assert [output.interpolated.tolist() for output in filled[:4]] == [[False], [True], [True], [False]]
    assert filled[2].keypoints[0, 1].tolist() == pytest.approx([1.5, 1])  # by its time
    assert filled[2].boxes[0].tolist() == pytest.approx([1.5, 0, 2.5, 2])
    assert filled[2].track_ids.tolist() == [5]


def test_frames_with_an_error_stay_empty() -> None:
    outputs = sights([0, None, 2])
    outputs[1] = PoseOutput.failed("damaged")
    assert [len(output) for output in fill_gaps(outputs, np.arange(3.0), 9)] == [1, 0, 1]
