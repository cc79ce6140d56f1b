"""When feet stand, and people moved so that feet that stand do not slide.

Everything is on a level ground: x and y across it, z up, meters.
"""

from __future__ import annotations

import numpy as np

# A foot stands that is slower (m/s) and lower (m) than about this. The first guesses are forgiving: places in depth
# are known less well than poses, and feet that stand seem to move as the person does.
_SPEEDS, _HEIGHT = (1.2, 0.8, 0.5, 0.4), 0.05
# Who is faster than this (m/s, over so many seconds) runs. Then a foot stands for a few frames, in which it does not
# seem to come to rest, and the speeds above grow with the square of the person's.
_RUN, _STRIDE = 1.5, 0.7
# How sure it is that a foot that stands does not move (m/s), that a person moves as they seem to (m/s), and where they
# seem to be (m, for a second).
_STANCE_SPEED, _OWN_SPEED, _PLACE = 0.03, 0.5, 0.25
_SHORTEST = 0.06  # seconds that a foot stands


def lock_feet(feet: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How a person has to be moved so that feet stand still where they stand, and where they do.

    Which feet stand follows from how they move, and how the person moves from the feet that stand: both are found in
    turns.

    Args:
        feet: (T, F, 3) meters, 0 high where they stand.
        times: (T,) seconds.

    Returns:
        (T, 2) meters across the ground to add to all keypoints, and whether each foot stands (T, F).
    """
    shift = np.zeros((len(feet), 2))
    steps = np.diff(times)[:, None]
    if len(feet) < 3:
        return shift, np.zeros(feet.shape[:2], bool)
    pace = np.maximum(_speed(feet, times) / _RUN, 1)[:, None] ** 2
    for speed in _SPEEDS:
        standing = _standing(feet, shift, times, speed * pace)
        shift = _solve_shift(feet, standing[1:] * standing[:-1], steps)
    contacts = without_short_runs(_standing(feet, shift, times, _SPEEDS[-1] * pace) > 0.5, times)
    return _solve_shift(feet, (contacts[1:] & contacts[:-1]).astype(float), steps), contacts


def _speed(feet: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Speed (T,) in m/s of a person whose feet are (T, F, 3), over a stride."""
    middle = feet[..., :2].mean(1)
    known = np.isfinite(middle).all(-1)
    if not known.any():
        return np.zeros(len(times))
    begins, ends = (np.clip(times + shift, times[0], times[-1]) for shift in (-_STRIDE / 2, _STRIDE / 2))
    begun, ended = ([np.interp(when, times[known], axis[known]) for axis in middle.T] for when in (begins, ends))
    return np.linalg.norm(np.subtract(ended, begun), axis=0) / (ends - begins)


def _standing(feet: np.ndarray, shift: np.ndarray, times: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """How likely each foot (T, F) is to stand that is slower than about `speed` (T, 1), from 0 to 1."""
    velocity = np.gradient(feet[..., :2] + shift[:, None], times, axis=0)
    fast = np.linalg.norm(velocity, axis=-1) / speed
    high = np.maximum(feet[..., 2], 0) / _HEIGHT
    return np.nan_to_num(np.exp(-np.log(2) * (fast**2 + high**2)))


def _solve_shift(feet: np.ndarray, standing: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The shift (T, 2) for feet (T, F, 3) that stand (T - 1, F), with the smallest sum of squares over their
    uncertainty."""
    moved = np.nan_to_num(np.diff(feet[..., :2], axis=0))
    weights = standing[..., None] / (_STANCE_SPEED**2 * steps[:, None])
    coupling = weights.sum(1) + 1 / (_OWN_SPEED**2 * steps)  # (T - 1, 1) of two frames
    pull = -(weights * moved).sum(1)
    zero, nowhere = np.zeros((1, 1)), np.zeros((1, 2))
    diagonal = np.concatenate((coupling, zero)) + np.concatenate((zero, coupling))
    diagonal += np.gradient(np.cumsum(np.concatenate((zero, steps)), axis=0), axis=0) / _PLACE**2
    right = np.concatenate((nowhere, pull)) - np.concatenate((pull, nowhere))
    # Gaussian elimination of a matrix of three bands.
    for i in range(1, len(diagonal)):
        share = coupling[i - 1] / diagonal[i - 1]
        diagonal[i] -= share * coupling[i - 1]
        right[i] += share * right[i - 1]
    shift = right / diagonal
    for i in range(len(diagonal) - 2, -1, -1):
        shift[i] += coupling[i] / diagonal[i] * shift[i + 1]
    return shift


def without_short_runs(contacts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Contacts (T, F) without breaks and then without contacts that are shorter than a foot takes for them."""
    kept = contacts.copy()
    for foot in range(contacts.shape[1]):
        for value in (False, True):
            edges = np.flatnonzero(np.diff(kept[:, foot] == value, prepend=False, append=False))
            for start, end in zip(edges[::2], edges[1::2], strict=True):
                inside = start > 0 and end < len(times)
                if inside and times[end] - times[start] < _SHORTEST:
                    kept[start:end, foot] = not value
    return kept
