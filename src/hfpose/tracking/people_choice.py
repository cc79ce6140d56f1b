"""Which of the people of a clip are wanted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal, cast, get_args

import numpy as np

from hfpose.errors import InputError
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import UNTRACKED, boxes_around

Rank = Literal["largest", "center", "longest"]
People = Rank | int | Sequence[int]


class PeopleChoice:
    """Keeps some of the people of a clip, by what all frames that were added say of them.

    Args:
        people: `"largest"` for the one with the largest boxes, `"center"` for the one nearest to the middle of the
            image, `"longest"` for the one who is in most frames, each summed over the frames, so that who is there for
            a moment is not chosen; a number for so many of the largest; or a list of identities.
    """

    def __init__(self, people: People) -> None:
        is_list = not isinstance(people, (Integral, str))
        self._ids = {int(each) for each in cast(Sequence[int], people)} if is_list else None
        self._count = int(people) if isinstance(people, Integral) else 1
        self._rank = people if isinstance(people, str) else "largest"
        self._sums: Counter[int] = Counter()

    def add(self, output: PoseOutput) -> None:
        """Take into account who is in a frame. People without an identity in a video are not."""
        for track, score in zip(_ids(output).tolist(), self._scores(output).tolist(), strict=True):
            if track != UNTRACKED:
                self._sums[track] += score

    def select(self, output: PoseOutput) -> PoseOutput:
        """The wanted people of a frame."""
        wanted = [track for track, _ in self._sums.most_common(self._count)] if self._ids is None else [*self._ids]
        return output.select(np.isin(_ids(output), wanted))

    def _scores(self, output: PoseOutput) -> np.ndarray:
        """How much each of the people (N,) speaks in this frame for being chosen."""
        if self._rank == "longest" or not output.num_instances:
            return np.ones(output.num_instances)
        boxes = output.boxes
        if boxes is None:
            points = output.keypoints if output.keypoints_2d is None else output.keypoints_2d
            boxes = boxes_around(points[..., :2], np.isfinite(points).all(-1))
        if self._rank == "largest" or output.image_size is None:
            return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(1)
        middle = np.array(output.image_size) / 2
        distances = np.linalg.norm((boxes[:, :2] + boxes[:, 2:]) / 2 - middle, axis=1)
        return (1 - distances / np.linalg.norm(middle)).clip(0)


def check_people(people: Any) -> None:
    """See to it that people can be chosen so.

    Raises:
        InputError: if not.
    """
    if people is None or (isinstance(people, str) and people in get_args(Rank)):
        return
    is_list = isinstance(people, (Sequence, np.ndarray)) and not isinstance(people, str)
    numbers = people if is_list else [people]
    if all(isinstance(each, Integral) and not isinstance(each, bool) for each in numbers) and (is_list or people > 0):
        return
    raise InputError(
        f"people is {people!r}; expected {', '.join(map(repr, get_args(Rank)))}, how many people, or a list of "
        "identities."
    )


def _ids(output: PoseOutput) -> np.ndarray:
    """Identities (N,); of an image without them the rows."""
    return np.arange(output.num_instances) if output.track_ids is None else output.track_ids
