"""Filters over whole motions."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.tracking.filters import smooth_zero_phase

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
