"""When feet stand, and people moved and their legs bent so that feet that stand do not slide.

Everything is on a level ground: x and y across it, z up, meters.
"""

from __future__ import annotations

import numpy as np

# A foot stands that is slower (m/s) and lower (m) than about this. The first guesses are forgiving: places in depth
# are known less well than poses, and feet that stand seem to move as the person does.
_SPEEDS, _HEIGHT = (1.2, 0.8, 0.5, 0.4), 0.05
# Where both feet are higher for as long as half a stride takes, it is the ground that seems to be, by so much at most.
_RISE = 0.1
# Who is faster than this (m/s, over so many seconds) runs. Then a foot stands for a few frames, in which it does not
# seem to come to rest, and the speeds above grow with the square of the person's.
_RUN, _STRIDE = 1.5, 0.7
# How sure it is that a foot that stands does not move (m/s), that a person moves as they seem to (m/s), and where they
# seem to be (m, for a second).
_STANCE_SPEED, _OWN_SPEED, _PLACE = 0.03, 0.5, 0.1
# How fast ankles of feet that stand are (m/s): they go forward while heels rise, which belongs to the person's way.
_ANKLE_SPEED = 0.15
_SHORTEST = 0.06  # seconds that a foot stands


def lock_feet(feet: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How a person has to be moved so that feet hardly slide where they stand, and where they do; see `hold_feet`.

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
    feet = feet - _ground_level(feet[..., 2], times)[..., None] * (0, 0, 1)
    pace = np.maximum(_speed(feet, times)[1:] / _RUN, 1)[:, None] ** 2
    for speed in _SPEEDS:
        standing = _standing(feet, shift, steps, speed * pace)
        shift = _solve_shift(feet, standing, steps, _STANCE_SPEED)
    stands = without_short_runs(_standing(feet, shift, steps, _SPEEDS[-1] * pace) > 0.5, times)
    nothing = np.zeros((1, feet.shape[1]), bool)
    contacts = np.concatenate((stands, nothing)) | np.concatenate((nothing, stands))
    return _solve_shift(feet, stands.astype(float), steps, _ANKLE_SPEED), contacts


def _ground_level(heights: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Where the ground (T, F) under each foot seems to be, above 0: as high as the lowest foot within half a stride.

    Of feet at `heights` (T, F) one may seem higher than the other, and yet each stands once in a stride.
    """
    common = _lowest_around(np.fmin.reduce(heights, axis=1)[:, None], times, _STRIDE / 2).clip(0, _RISE)
    return np.clip(_lowest_around(heights, times, _STRIDE), common, common + _HEIGHT)


def _lowest_around(heights: np.ndarray, times: np.ndarray, span: float) -> np.ndarray:
    """The lowest of heights (T, F) within a span of seconds around each time, of each column; 0 where none is
    known."""
    ends = np.stack([np.searchsorted(times, times + side * span / 2, "right") for side in (-1, 1)], axis=1)
    padded = np.concatenate((heights, np.full((1, heights.shape[1]), np.inf)))
    return np.nan_to_num(np.fmin.reduceat(padded, ends.ravel(), axis=0)[::2])


def _speed(feet: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Speed (T,) in m/s of a person whose feet are (T, F, 3), over a stride."""
    middle = feet[..., :2].mean(1)
    known = np.isfinite(middle).all(-1)
    if not known.any():
        return np.zeros(len(times))
    begins, ends = (np.clip(times + shift, times[0], times[-1]) for shift in (-_STRIDE / 2, _STRIDE / 2))
    begun, ended = ([np.interp(when, times[known], axis[known]) for axis in middle.T] for when in (begins, ends))
    return np.linalg.norm(np.subtract(ended, begun), axis=0) / (ends - begins)


def _standing(feet: np.ndarray, shift: np.ndarray, steps: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """How likely each foot stands between two frames (T - 1, F) that is slower than about `speed` (T - 1, 1), from 0
    to 1."""
    fast = np.linalg.norm(np.diff(feet[..., :2] + shift[:, None], axis=0), axis=-1) / (steps * speed)
    high = np.maximum(feet[1:, :, 2] + feet[:-1, :, 2], 0) / (2 * _HEIGHT)
    return np.nan_to_num(np.exp(-np.log(2) * (fast**2 + high**2)))


def _solve_shift(feet: np.ndarray, standing: np.ndarray, steps: np.ndarray, speed: float) -> np.ndarray:
    """The shift (T, 2) for feet (T, F, 3) that stand (T - 1, F) but for a `speed` in m/s, with the smallest sum of
    squares over their uncertainty."""
    moved = np.nan_to_num(np.diff(feet[..., :2], axis=0))
    weights = standing[..., None] / (speed**2 * steps[:, None])
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


def without_short_runs(contacts: np.ndarray, times: np.ndarray, least_break: float = _SHORTEST) -> np.ndarray:
    """Contacts (T, F) without breaks that are shorter than `least_break` seconds, and then without contacts that are
    shorter than a foot takes for them."""
    kept = contacts.copy()
    for foot in range(contacts.shape[1]):
        for value, shortest in ((False, least_break), (True, _SHORTEST)):
            for start, end in runs(kept[:, foot] == value):
                inside = start > 0 and end < len(times)
                if inside and times[end] - times[start] < shortest:
                    kept[start:end, foot] = not value
    return kept


def hold_feet(legs: np.ndarray, contacts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Legs whose feet stay where they stand: hips stay, knees bend, and lengths are kept.

    Moving the person leaves what ankles move by, and two feet of which one slides against the other, which is an error
    of the pose. A foot is held at the mean of its places in a contact; what it moves by goes over from each contact to
    the next.

    Args:
        legs: (T, F, 3, 3) meters, hip, knee and foot.
        contacts: (T, F) whether each foot stands.
        times: (T,) seconds.

    Source: "Footskate cleanup for motion capture editing" (Kovar et al., 2002), without its changes of lengths.
    """
    moved = np.zeros((*contacts.shape, 3))
    for foot in range(contacts.shape[1]):
        stands = contacts[:, foot]
        for start, end in runs(stands):
            places = legs[start:end, foot, 2, :2]
            moved[start:end, foot, :2] = np.nanmean(places, axis=0) - places
        for axis in (0, 1) if stands.any() else ():
            moved[:, foot, axis] = np.interp(times, times[stands], moved[stands, foot, axis])
    return _bent(legs, legs[:, :, 2] + moved)


def _bent(legs: np.ndarray, feet: np.ndarray) -> np.ndarray:
    """Legs (T, F, 3, 3) with knees in the planes they were in and feet (T, F, 3), or as near as they reach."""
    hip, knee = legs[:, :, 0], legs[:, :, 1] - legs[:, :, 0]
    thigh, shank, length = (
        np.linalg.norm(bone, axis=-1, keepdims=True) for bone in (knee, legs[:, :, 2] - legs[:, :, 1], feet - hip)
    )
    down = (feet - hip) / np.maximum(length, 1e-9)
    length = np.maximum(np.clip(length, np.abs(thigh - shank), thigh + shank), 1e-9)
    along = (thigh**2 - shank**2 + length**2) / (2 * length)
    forward = knee - (knee * down).sum(-1, keepdims=True) * down
    forward /= np.maximum(np.linalg.norm(forward, axis=-1, keepdims=True), 1e-9)
    bent = hip + along * down + np.sqrt(np.maximum(thigh**2 - along**2, 0)) * forward
    return np.stack((hip, bent, hip + length * down), axis=2)


def runs(mask: np.ndarray) -> np.ndarray:
    """First and end (N, 2) of the runs of True in a mask (T,)."""
    return np.flatnonzero(np.diff(mask, prepend=False, append=False)).reshape(-1, 2)
