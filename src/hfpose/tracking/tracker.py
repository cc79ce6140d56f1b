"""Identities of people over the frames of a video, and smooth keypoints for each of them.

Both work frame by frame and keep a few numbers for each person, so that a stream may go on for days.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Literal, Self, get_args

import numpy as np

from hfpose.errors import InputError
from hfpose.ops.boxes import pairwise_iou
from hfpose.ops.pose_similarity import object_keypoint_similarity
from hfpose.results import PoseOutput

if TYPE_CHECKING:
    from hfpose.keypoints import KeypointSchema

Association = Literal["iou", "oks"]

UNTRACKED = -1
MIN_KEYPOINTS = 3
"""Instances with fewer keypoints get no identity of their own."""

_MAX_LOST = 60  # frames for which a person who is not seen is remembered
# Share of a surprise in speed that a track believes after some frames; its first frames believe more.
_VELOCITY_GAIN = 0.1
LEAST_STEP = 1e-3
"""Seconds that pass at least between two frames, whatever their times say."""
_SPEED_CUTOFF = 1.0  # Hz, of the One-Euro filter
# Keypoint standard deviation for schemas without sigmas, the mean of COCO's.
_DEFAULT_SIGMA = 0.07


class TrackRows:
    """Base of data classes of arrays with one row for each track."""

    def select(self, index: np.ndarray) -> Self:
        """A copy with the rows at `index`: numbers (N,), or (M,) whether each of the M rows is in it."""
        return type(self)(**{name: array[index] for name, array in vars(self).items()})

    def extend(self, other: Self) -> Self:
        """These rows, then those of `other`."""
        both = {name: np.concatenate((array, getattr(other, name))) for name, array in vars(self).items()}
        return type(self)(**both)


@dataclass
class _Tracks(TrackRows):
    """The M people that the tracker remembers, one row each."""

    ids: np.ndarray  # (M,)
    boxes: np.ndarray  # (M, 4) where last seen
    keypoints: np.ndarray  # (M, K, 2) where last seen
    velocities: np.ndarray  # (M, 2) of the mean keypoint, which swings less than the box, in pixels per unit of time
    ages: np.ndarray  # (M,) number of times seen
    lost: np.ndarray  # (M,) frames since last seen, 0 for those of the last frame
    times: np.ndarray  # (M,) when last seen

    @classmethod
    def new(cls, ids: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray, now: float) -> _Tracks:
        """Tracks of people who are seen for the first time."""
        count = len(ids)
        ages, lost, times = np.ones(count, np.int64), np.zeros(count, np.int64), np.full(count, now)
        return cls(ids, boxes, keypoints, np.zeros((count, 2), np.float32), ages, lost, times)

    def scaled(self, factor: np.ndarray) -> _Tracks:
        """The same people in an image of another size; `factor` (2,) is for x and y."""
        return replace(
            self,
            boxes=self.boxes * np.tile(factor, 2),
            keypoints=self.keypoints * factor,
            velocities=self.velocities * factor,
        )

    def predicted_shift(self, now: float, image_size: tuple[int, int] | None) -> np.ndarray:
        """How far (M, 2) the people have moved since they were seen, if they kept their speed up to the edge."""
        shift = (self.velocities * (now - self.times)[:, None]).astype(np.float32)
        return shift_up_to_edge(shift, (self.boxes[:, :2] + self.boxes[:, 2:]) / 2, image_size)


class PoseTracker:
    """Gives the people of successive frames identities, for the layers that stand in for other packages; pipelines
    have `IdentityTracker`.

    A person may get the identity of a remembered one if they overlap by more than `threshold`: their boxes, or their
    keypoints by the object keypoint similarity (OKS). Among those who may, pairs are made greedily, the most alike in
    box and keypoints together first, each person and identity once. Those who are not seen are remembered for 60
    frames, where they would be at their last speed, so that people keep their identities through short gaps and when
    they cross. `mmpose.apis.inference_tracking` compares with the last frame alone, and by one of the two overlaps.

    People with fewer than three keypoints get no identity of their own. A keypoint counts when it is finite, has a
    score above 0 and is not at y = 0, where some models put what they do not find.

    Args:
        association: `"iou"` of boxes or `"oks"` of keypoints: which overlap has to reach the threshold.
        threshold: least overlap, 0 to 1.

    Raises:
        InputError: for settings out of range.
    """

    late_identities: Sequence[tuple[int, int, int]] = ()  # see `IdentityTracker`: all have one at once

    def __init__(self, association: Association = "iou", threshold: float = 0.3) -> None:
        check_association(association, threshold)
        self.association = association
        self.threshold = threshold
        self.reset()

    def reset(self) -> None:
        """Forget all people; identities start from 0 again."""
        self._tracks: _Tracks | None = None
        self._image_size: tuple[int, int] | None = None
        self._next_id = 0
        self._now = -1.0  # seconds where frames have times, else frames

    def update(self, output: PoseOutput, image: np.ndarray | None = None) -> PoseOutput:
        """The people of the next frame with `track_ids`; -1 for those with too few keypoints for an identity.

        Frames may differ in size. A frame without people, or that could not be read, counts as one in which no person
        is seen. The image has no effect.

        Raises:
            InputError: if the output has 3D keypoints and no `keypoints_2d`.
        """
        keypoints = keypoints_in_image(output)
        valid = valid_keypoints(keypoints, output.keypoint_scores)
        boxes = instance_boxes(output)
        tracks = self._remembered(keypoints.shape[1] if len(keypoints) else None, output.image_size)
        keypoints = filled_keypoints(keypoints, boxes, tracks.keypoints.shape[1])
        self._now = self._now + 1 if output.timestamp is None else max(output.timestamp, self._now + LEAST_STEP)
        shift = tracks.predicted_shift(self._now, output.image_size)
        iou = pairwise_iou(boxes, tracks.boxes + np.tile(shift, 2))
        sigmas = output.schema.sigmas if output.schema is not None else None
        oks = keypoint_similarity(keypoints, boxes, tracks.keypoints + shift[:, None], tracks.boxes, sigmas)
        allowed = (iou if self.association == "iou" else oks) > self.threshold
        seen, matched = _best_pairs(iou + oks, allowed)

        ids = np.full(len(boxes), UNTRACKED, np.int64)
        ids[seen] = tracks.ids[matched]
        enough = valid.sum(-1) >= min(MIN_KEYPOINTS, keypoints.shape[1])
        new = np.flatnonzero((ids == UNTRACKED) & enough)
        ids[new] = self._next_id + np.arange(len(new))
        self._next_id += len(new)
        self._remember(
            tracks, matched, boxes[seen], keypoints[seen], _Tracks.new(ids[new], boxes[new], keypoints[new], self._now)
        )
        return replace(output, track_ids=ids)

    def _remembered(self, num_keypoints: int | None, image_size: tuple[int, int] | None) -> _Tracks:
        """The people to compare with, in pixels of this frame; none if they had another number of keypoints."""
        tracks = self._tracks
        if tracks is None or num_keypoints not in (None, tracks.keypoints.shape[1]):
            shapes = ((0,), (0, 4), (0, num_keypoints or 0, 2))
            ids, boxes, keypoints = (np.zeros(shape, np.float32) for shape in shapes)
            tracks = _Tracks.new(ids.astype(np.int64), boxes, keypoints, self._now)
        elif image_size is not None and self._image_size is not None and image_size != self._image_size:
            tracks = tracks.scaled(np.divide(image_size, self._image_size).astype(np.float32))
        self._image_size = image_size or self._image_size
        return tracks

    def _remember(
        self, tracks: _Tracks, matched: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray, new: _Tracks
    ) -> None:
        """Take over what this frame says of `matched` and `new` people; forget who was lost too long ago."""
        moved = (keypoints - tracks.keypoints[matched]).sum(1) / max(keypoints.shape[1], 1)
        speed = (moved / (self._now - tracks.times[matched])[:, None]).astype(np.float32)
        tracks = tracks.select(np.arange(len(tracks.ids)))  # a copy
        gain = np.maximum(1 / tracks.ages[matched], _VELOCITY_GAIN)[:, None]
        tracks.velocities[matched] += gain * (speed - tracks.velocities[matched])
        tracks.boxes[matched], tracks.keypoints[matched] = boxes, keypoints
        tracks.ages[matched] += 1
        tracks.lost += 1
        tracks.lost[matched] = 0
        tracks.times[matched] = self._now
        self._tracks = tracks.select(tracks.lost <= _MAX_LOST).extend(new)


class KeypointSmoother:
    """Smooths the keypoints of each identity over time with the One-Euro filter.

    It is a low-pass filter whose cutoff rises with speed: still keypoints do not tremble, fast ones do not lag. Speeds
    are in lengths of the pose per second, the length being its longest extent, so that the settings fit pixels and
    meters, near and far.

    Source: Casiez et al., 2012, https://doi.org/10.1145/2207676.2208639.

    Args:
        frame_rate: frames per second, where frames come without their times.
        min_cutoff: cutoff in Hz at rest; lower trembles less.
        beta: what the cutoff gains in Hz for each length per second; higher lags less.

    Raises:
        InputError: for settings out of range.
    """

    def __init__(self, frame_rate: float = 30.0, min_cutoff: float = 1.0, beta: float = 20.0) -> None:
        if min(frame_rate, min_cutoff) <= 0 or beta < 0:
            raise InputError(
                "frame_rate and min_cutoff must be above 0, beta 0 or more; got "
                f"{frame_rate}, {min_cutoff} and {beta}."
            )
        self.frame_rate = frame_rate
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.reset()

    def reset(self) -> None:
        """Forget all people."""
        self._frame, self._time = 0, 0.0
        self._people: dict[int, _Smoothed] = {}

    def update(self, output: PoseOutput, time: float | None = None) -> PoseOutput:
        """The people of the next frame with smooth `keypoints`, 2D or 3D; those without an identity stay as they are.

        A keypoint that is not finite stays so and starts again when it comes back.

        Args:
            output: of the frame.
            time: in seconds, later than that of the frame before; default by `frame_rate`.
        """
        self._frame += 1
        by_rate = self._time + 1 / self.frame_rate
        self._time = time if time is not None and time > self._time else by_rate
        ids = np.full(output.num_instances, UNTRACKED) if output.track_ids is None else output.track_ids
        rows = [row for row, track in enumerate(ids.tolist()) if track != UNTRACKED]
        smooth = output.keypoints.copy()
        if rows:
            smooth[rows] = self._filter([int(ids[row]) for row in rows], output.keypoints[rows])
        oldest = self._frame - _MAX_LOST
        self._people = {track: person for track, person in self._people.items() if person.frame >= oldest}
        return replace(output, keypoints=smooth)

    def _filter(self, ids: Sequence[int], keypoints: np.ndarray) -> np.ndarray:
        """Smooth keypoints (N, K, D) of people with identities."""
        fresh = _Smoothed(np.full_like(keypoints[0], np.nan), np.zeros_like(keypoints[0]), 0, self._time - 1)
        known = [self._people.get(track, fresh) for track in ids]
        known = [person if person.keypoints.shape == fresh.keypoints.shape else fresh for person in known]
        before = np.stack([person.keypoints for person in known])
        seconds = np.array([self._time - person.time for person in known])[:, None, None]
        going_on = np.isfinite(before).all(-1, keepdims=True) & np.isfinite(keypoints).all(-1, keepdims=True)

        before = np.where(going_on, before, keypoints)
        velocities = np.stack([person.velocities for person in known])
        change = np.where(going_on, (keypoints - before) / seconds - velocities, -velocities)
        velocities = velocities + _share_of_new(_SPEED_CUTOFF, seconds) * change
        speeds = np.linalg.norm(velocities, axis=-1, keepdims=True) / _longest_extent(keypoints)
        share = _share_of_new(self.min_cutoff + self.beta * speeds, seconds)
        smooth = np.where(going_on, before + share * (keypoints - before), keypoints).astype(np.float32)
        velocities = np.where(np.isfinite(smooth), velocities, 0).astype(np.float32)
        for row, track in enumerate(ids):
            self._people[track] = _Smoothed(smooth[row], velocities[row], self._frame, self._time)
        return smooth


@dataclass(frozen=True)
class _Smoothed:
    """What the smoother knows of a person."""

    keypoints: np.ndarray  # (K, D)
    velocities: np.ndarray  # (K, D) per second
    frame: int  # when last seen
    time: float  # the same in seconds


def _share_of_new(cutoff: float | np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Weight of a new value against the smooth old one, for a low-pass filter with a cutoff in Hz."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff * seconds))


def _longest_extent(keypoints: np.ndarray) -> np.ndarray:
    """Longest side (N, 1, 1) of the boxes around finite keypoints (N, K, D), 1 where there is none."""
    finite = np.isfinite(keypoints)
    greatest = np.where(finite, keypoints, -np.inf).max(1, initial=-np.inf)
    least = np.where(finite, keypoints, np.inf).min(1, initial=np.inf)
    longest = (greatest - least).max(-1)[:, None, None]
    return np.where(np.isfinite(longest) & (longest > 0), longest, 1)


def check_association(association: Association, threshold: float) -> None:
    """See to it that instances can be compared so.

    Raises:
        InputError: if not.
    """
    if association not in get_args(Association):
        raise InputError(f"association must be one of {', '.join(get_args(Association))}, got {association!r}.")
    if not 0 <= threshold <= 1:
        raise InputError(f"threshold must lie between 0 and 1, got {threshold}.")


def shift_up_to_edge(shift: np.ndarray, centers: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """A shift (M, 2) of centers (M, 2) that does not leave the image: who has left it comes back, if at all, where
    they left it."""
    if image_size is None:
        return shift
    least, most = np.minimum(-centers, 0), np.maximum(np.asarray(image_size) - centers, 0)
    return np.minimum(np.maximum(shift, least), most)


def keypoint_similarity(
    keypoints: np.ndarray,
    boxes: np.ndarray,
    other_keypoints: np.ndarray,
    other_boxes: np.ndarray,
    sigmas: Sequence[float] | None,
) -> np.ndarray:
    """Object keypoint similarity (N, M) of people (N, K, 2) and others (M, K, 2), on the mean of their boxes' areas.

    Source: `mmpose.evaluation.functional.nms.oks_iou`.
    """
    # Without people the number of keypoints may be unknown.
    if not keypoints.size or not other_keypoints.size:
        return np.zeros((len(keypoints), len(other_keypoints)))
    areas, other_areas = ((b[:, 2:] - b[:, :2]).prod(-1) for b in (boxes, other_boxes))
    known = sigmas or [_DEFAULT_SIGMA] * keypoints.shape[1]
    return object_keypoint_similarity(keypoints, other_keypoints, areas, other_areas, known)


def body_lengths(keypoints: np.ndarray, schema: KeypointSchema | None) -> np.ndarray:
    """Lengths (N,) in pixels of the bodies of people (N, K, 2): the root of the sum of the squared links of the
    skeleton, which says better than a box how large someone is in the image, whatever the arms do. Where it is not
    known, of the way of all keypoints to their mean.
    """
    if schema is not None and schema.skeleton and schema.num_keypoints == keypoints.shape[1]:
        first, second = _ends_of_links(schema.skeleton)
        links = keypoints[:, first] - keypoints[:, second]
    else:
        links = keypoints - keypoints.sum(1, keepdims=True) / max(keypoints.shape[1], 1)
    return np.maximum(np.sqrt(np.square(links).sum((1, 2))), 1)


@cache
def _ends_of_links(skeleton: tuple[tuple[int, int], ...]) -> np.ndarray:
    """The keypoints (2, L) at both ends of each link."""
    return np.array(skeleton).T


def _best_pairs(overlaps: np.ndarray, allowed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of allowed pairs, best first, each row and each column once."""
    rows, columns = np.nonzero(allowed)
    order = np.argsort(-overlaps[rows, columns], kind="stable")
    free_rows, free_columns = (np.ones(size, bool) for size in overlaps.shape)
    pairs = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if free_rows[row] and free_columns[column]:
            free_rows[row] = free_columns[column] = False
            pairs.append((row, column))
    chosen = np.array(pairs, np.int64).reshape(-1, 2)
    return chosen[:, 0], chosen[:, 1]


def keypoints_in_image(output: PoseOutput) -> np.ndarray:
    """Keypoints (N, K, 2) in pixels.

    Raises:
        InputError: if the output has 3D keypoints and no `keypoints_2d`.
    """
    keypoints = output.keypoints if output.keypoints.shape[-1] == 2 else output.keypoints_2d
    if keypoints is None:
        raise InputError("People are tracked in the image, but this output has 3D keypoints and no keypoints_2d.")
    return keypoints


def instance_boxes(output: PoseOutput) -> np.ndarray:
    """Boxes (N, 4), else those around the keypoints."""
    if output.boxes is not None:
        return output.boxes
    keypoints = keypoints_in_image(output)
    return boxes_around(keypoints, valid_keypoints(keypoints, output.keypoint_scores))


def instance_scores(output: PoseOutput) -> np.ndarray:
    """Scores (N,) of the boxes, else the mean ones of the keypoints."""
    if output.box_scores is not None or not output.num_instances:
        return np.zeros(0) if output.box_scores is None else output.box_scores
    return output.keypoint_scores.mean(1)


def valid_keypoints(keypoints: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Which keypoints (N, K) a model has found."""
    return np.isfinite(keypoints).all(-1) & (scores > 0) & (keypoints[..., 1] != 0)


def filled_keypoints(keypoints: np.ndarray, boxes: np.ndarray, num_keypoints: int) -> np.ndarray:
    """Keypoints (N, `num_keypoints`, 2) with those that are not finite at the centers of the boxes (N, 4)."""
    if not len(keypoints):
        return np.zeros((0, num_keypoints, 2), np.float32)
    centers = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    return np.where(np.isfinite(keypoints).all(-1, keepdims=True), keypoints, centers)


def boxes_around(keypoints: np.ndarray, valid: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Boxes (N, 4), `scale` times as large as those around the keypoints (N, K, 2) that are `valid` (N, K); all zero
    where none is."""
    is_there = valid.any(1, keepdims=True)
    least = np.where(is_there, np.where(valid[..., None], keypoints, np.inf).min(1, initial=np.inf), 0)
    greatest = np.where(is_there, np.where(valid[..., None], keypoints, -np.inf).max(1, initial=-np.inf), 0)
    margin = (greatest - least) * (scale - 1) / 2
    boxes = np.concatenate((least - margin, greatest + margin), axis=-1)
    return np.where(np.isfinite(boxes), boxes, 0).astype(np.float32)
