"""One person's keypoints in frames in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Row of a frame's output, for frames in which the person is not seen.
INTERPOLATED = -1
_BY_FRAME = ("keypoints", "scores", "boxes", "box_scores", "rows")  # of a clip


@dataclass(frozen=True)
class PersonClip:
    """One person in L frames in a row. Coordinates are in widths of the frame that they are in."""

    track_id: int
    start: int  # number of the first frame
    image_size: tuple[int, int]  # of the first frame; others are taken to show the same at another resolution
    keypoints: np.ndarray  # (L, K, 2)
    scores: np.ndarray  # (L, K)
    boxes: np.ndarray  # (L, 4)
    box_scores: np.ndarray  # (L,)
    rows: np.ndarray  # (L,) row of the person in the frame's 2D output, INTERPOLATED where not seen

    @property
    def end(self) -> int:
        """The frame after the last."""
        return self.start + len(self.rows)

    def last(self, count: int) -> PersonClip:
        """The last frames, at most `count`."""
        kept = slice(max(len(self.rows) - count, 0), None)
        values: dict[str, Any] = {name: getattr(self, name)[kept] for name in _BY_FRAME}
        return replace(self, start=self.start + kept.start, **values)


def join_clips(parts: Sequence[PersonClip]) -> PersonClip:
    """Clips of one person, in the order of time, as one; frames between them are interpolated."""
    times = np.concatenate([np.arange(part.start, part.end) for part in parts])
    wanted = np.arange(times[0], times[-1] + 1)
    values: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _BY_FRAME}
    if len(wanted) == len(times):
        return replace(parts[0], **values)
    after = np.searchsorted(times, wanted)
    seen = times[after] == wanted
    before = np.where(seen, after, after - 1)
    share = (wanted - times[before]) / np.maximum(times[after] - times[before], 1)

    rows = np.where(seen, values.pop("rows")[after], INTERPOLATED)
    for name, value in values.items():
        weight = share.astype(np.float32).reshape(-1, *[1] * (value.ndim - 1))
        values[name] = value[before] + weight * (value[after] - value[before])
    return replace(parts[0], **values, rows=rows)
