"""Identities looked at again from the end of a clip, or of what was seen of a stream: what was mixed up while people
hid each other is set right."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hfpose.ops.assignment import cheapest_pairs
from hfpose.ops.boxes import pairwise_iou
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import (
    UNTRACKED,
    body_lengths,
    filled_keypoints,
    instance_boxes,
    keypoints_in_image,
)

if TYPE_CHECKING:
    from hfpose.keypoints import KeypointSchema

# A track is cut where it is not seen for so many seconds, and in the middle of the time in which its box overlaps
# another's so much.
_LONGEST_GAP, _CROWDED = 0.25, 0.3
# How builds of a person differ where the clip does not say it: over the clip, and from frame to frame; sights of it
# that are compared; how much squared deviations of each number count, and the most that count, of ways too.
_BUILD_NOISE, _FRAME_NOISE, _SIGHTS, _BUILD_WEIGHT, _MOST_UNUSUAL, _MOST_DEVIATION = 0.04, 0.15, 45, 0.3, 20.0, 9.0
# How they change is learned from the means of so many sights in a row, and of those so many such means later.
_BLOCK, _LAGS = 15, (1, 2, 3)
# How far people get from where they are expected, in heights, at once and for each second, for x and y; sights that
# say how fast they are; seconds in which the speed fades.
_NEAR, _SPEED, _SPEED_SIGHTS, _FADING = np.array([0.1, 0.06]), np.array([0.7, 0.15]), 8, 1.0
# Nats that speak for what the tracker says, and for a new person where no other fits.
_AS_TRACKED, _NEW = 1.5, 22.0
_IMPOSSIBLE = 1e4
_ROUNDS = 2
_END_SIGHTS = np.arange(3)  # that say where a piece begins and ends
# Of streams: seconds that are looked at again, and every how many frames.
_WINDOW, _EVERY = 8.0, 10


@dataclass
class _Seen:
    """The N instances of a frame that have an identity."""

    frame: int
    time: float  # seconds
    rows: np.ndarray  # (N,) in the output
    ids: np.ndarray  # (N,)
    boxes: np.ndarray  # (N, 4)
    keypoints: np.ndarray  # (N, K, 2)
    schema: KeypointSchema | None

    @classmethod
    def of(cls, frame: int, output: PoseOutput, time: float) -> _Seen:
        assert output.track_ids is not None
        rows = np.flatnonzero(output.track_ids != UNTRACKED)
        boxes = instance_boxes(output)[rows].astype(np.float64)
        keypoints = keypoints_in_image(output)[rows].astype(np.float64)
        keypoints = filled_keypoints(keypoints, boxes, keypoints.shape[1])
        return cls(frame, time, rows, output.track_ids[rows], boxes, keypoints, output.schema)


@dataclass
class _Sights:
    """The S instances of a clip that have an identity, by frames."""

    frames: np.ndarray  # (S,)
    rows: np.ndarray  # (S,) in the output of the frame
    ids: np.ndarray  # (S,)
    times: np.ndarray  # (S,) seconds
    centers: np.ndarray  # (S, 2) of the keypoints
    heights: np.ndarray  # (S,) of the boxes
    # Logarithm of the length of the body, and how high the keypoints are, in such lengths.
    builds: np.ndarray  # (S, 1 + K)
    is_crowded: np.ndarray  # (S,)


@dataclass
class _Pieces:
    """P pieces of tracks, in the order of their first sights: the sights `along[begins[i] : ends[i]]` each."""

    along: np.ndarray  # (S,)
    begins: np.ndarray  # (P,)
    ends: np.ndarray  # (P,)

    @property
    def sizes(self) -> np.ndarray:
        return self.ends - self.begins

    def in_order(self, order: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The sights (S,) of one piece after the other."""
        sizes, begins = self.sizes[order], self.begins[order]
        return self.along[np.repeat(begins - np.cumsum(sizes) + sizes, sizes) + np.arange(len(self.along))]


def relink_tracks(outputs: Sequence[PoseOutput], times: np.ndarray, max_gap: float = 6.0) -> None:
    """Cut the tracks of a clip where people hide each other or are not seen, and link the pieces again: by the length
    of the body and the posture over many frames on both sides, and by where people are. `track_ids` are changed in
    place, and count from 0.

    Args:
        outputs: T results with `track_ids`.
        times: (T,) seconds.
        max_gap: seconds for which a person who is not seen is remembered.
    """
    seen = [
        _Seen.of(index, output, time)
        for index, (output, time) in enumerate(zip(outputs, times.tolist(), strict=True))
        if output.track_ids is not None and (output.track_ids != UNTRACKED).any()
    ]
    if not seen or len({each.keypoints.shape[1] for each in seen}) > 1:
        return
    sights = _joined([_sights(seen[first : first + _EVERY]) for first in range(0, len(seen), _EVERY)])
    pieces = _cut(sights)
    identities = np.repeat(_identities(sights, pieces, max_gap), pieces.sizes)
    for sight, identity in zip(pieces.in_order().tolist(), identities.tolist(), strict=True):
        outputs[sights.frames[sight]].track_ids[sights.rows[sight]] = identity


class StreamLinks:
    """Does the same while a stream goes on, over its last seconds: who was given the identity of another gets the own
    one back, once enough was seen of both; frames before stay as they are.

    Args:
        max_gap: seconds for which a person who is not seen is remembered.
    """

    def __init__(self, max_gap: float = 6.0) -> None:
        self.max_gap = max_gap
        self._seen: list[_Seen] = []  # since the last look
        self._sights: list[_Sights] = []  # until the last look
        self._given: list[np.ndarray] = []  # the identities that these got
        self._identities: dict[int, int] = {}  # of tracks
        self._count, self._num_keypoints = 0, 0

    def identity(self, track: int) -> int:
        """That of a track now."""
        return self._identities.get(track, track)

    def update(self, output: PoseOutput, time: float, tracks: Iterable[int]) -> None:
        """Give the next frame identities.

        Args:
            output: with `track_ids` (N,) of tracks, which become identities in place.
            time: seconds.
            tracks: those that are remembered.
        """
        assert output.track_ids is not None
        self._count += 1
        if (output.track_ids != UNTRACKED).any():
            seen = _Seen.of(self._count, output, time)
            if self._num_keypoints != seen.keypoints.shape[1]:
                self._seen, self._sights, self._given = [], [], []
                self._num_keypoints = seen.keypoints.shape[1]
            self._seen.append(seen)
        if self._count % _EVERY == 0 and (self._seen or self._sights):
            self._look_back(time - _WINDOW)
            if len(self._given[0]):
                self._link({*tracks})
        output.track_ids[:] = self._identities_of(output.track_ids)

    def _identities_of(self, tracks: np.ndarray) -> np.ndarray:
        return np.array([self.identity(track) for track in tracks.tolist()], np.int64)

    def _look_back(self, start: float) -> None:
        """Join what was seen since a time."""
        if self._seen:
            self._sights.append(_sights(self._seen))
            self._given.append(self._identities_of(self._sights[-1].ids))
            self._seen = []
        sights, given = _joined(self._sights), np.concatenate(self._given)
        first = int(np.searchsorted(sights.times, start))
        self._sights = [_Sights(**{name: values[first:] for name, values in vars(sights).items()})]
        self._given = [given[first:]]

    def _link(self, tracks: set[int]) -> None:
        """Exchange identities of tracks, so that each person goes on with the one that was given most often."""
        (sights,), (given,) = self._sights, self._given
        pieces = _cut(sights)
        people, last = _identities(sights, pieces, self.max_gap), sights.ids[pieces.along[pieces.ends - 1]]
        track_of = dict(zip(people.tolist(), last.tolist(), strict=True))
        ids, columns = np.unique(given, return_inverse=True)
        cells = np.repeat(people, pieces.sizes) * len(ids) + columns[pieces.in_order()]
        counts = np.bincount(cells, minlength=len(track_of) * len(ids)).reshape(-1, len(ids))
        tracks |= {*last.tolist()}
        known = {*ids.tolist()}
        self._identities = {
            track: self.identity(track)
            for track in tracks | {*self._identities}
            if track in tracks or self.identity(track) in known
        }
        owners = {identity: track for track, identity in self._identities.items()}
        for person, column in zip(*cheapest_pairs(-counts), strict=True):
            track, identity = track_of[person], int(ids[column])
            if counts[person, column]:
                other, before = owners[identity], self._identities[track]
                self._identities[other], self._identities[track] = before, identity
                owners[before], owners[identity] = other, track


def _joined(seen: Sequence[_Sights]) -> _Sights:
    return _Sights(**{name: np.concatenate([vars(each)[name] for each in seen]) for name in vars(seen[0])})


def _sights(seen: Sequence[_Seen]) -> _Sights:
    """What was seen in some frames: at least one, with as many keypoints in each."""
    ids, rows, boxes, keypoints = (
        np.concatenate([getattr(each, name) for each in seen]) for name in ("ids", "rows", "boxes", "keypoints")
    )
    counts = np.array([len(each.ids) for each in seen])
    lengths, centers = body_lengths(keypoints, seen[0].schema), keypoints.mean(1)
    high = (keypoints[..., 1] - centers[:, 1:]) / lengths[:, None]
    is_filled = np.arange(counts.max()) < counts[:, None]
    by_frame = np.zeros((*is_filled.shape, 4))
    by_frame[is_filled] = boxes
    overlaps = pairwise_iou(by_frame, by_frame) * (1 - np.eye(counts.max()))
    return _Sights(
        frames=np.repeat([each.frame for each in seen], counts),
        rows=rows,
        ids=ids,
        times=np.repeat([each.time for each in seen], counts),
        centers=centers,
        heights=np.maximum(boxes[:, 3] - boxes[:, 1], 1),
        builds=np.column_stack((np.log(lengths), high)),
        is_crowded=overlaps.max(2)[is_filled] > _CROWDED,
    )


def _cut(sights: _Sights) -> _Pieces:
    """The tracks in pieces, each of them of one person."""
    along = np.argsort(sights.ids, kind="stable")
    ids, times, is_crowded = sights.ids[along], sights.times[along], sights.is_crowded[along]
    is_first = np.diff(ids, prepend=-1) != 0
    changes = np.diff(is_crowded, prepend=False, append=False)
    # Of people who are crowded as one track ends and the next begins, both.
    borders = np.flatnonzero(is_first[1:] & is_crowded[1:] & is_crowded[:-1]) + 1
    crowded = np.sort(np.concatenate((np.flatnonzero(changes), borders, borders))).reshape(-1, 2)
    is_inside = ~is_first[crowded[:, 0]] & ~np.append(is_first, True)[crowded[:, 1]]
    is_cut = is_first | (np.diff(times, prepend=0) > _LONGEST_GAP)
    is_cut[crowded[is_inside].sum(1) // 2] = True
    begins = np.flatnonzero(is_cut)
    order = np.argsort(along[begins])
    return _Pieces(along, begins[order], np.append(begins[1:], len(along))[order])


def _identities(sights: _Sights, pieces: _Pieces, max_gap: float) -> np.ndarray:
    """The identity (P,) of each of the pieces."""
    tracked = sights.ids[pieces.along[pieces.begins]]
    fixed = _unlikely_ways(sights, pieces, max_gap)
    by_track = np.argsort(tracked, kind="stable")
    is_next = np.diff(tracked[by_track]) == 0
    fixed[by_track[:-1][is_next], by_track[1:][is_next]] -= _AS_TRACKED
    identities = tracked
    for _ in range(_ROUNDS):
        before, links = identities, fixed + _unlikely_builds(sights, pieces, identities)
        first, after = cheapest_pairs(links, _NEW)
        follows = dict(zip(after.tolist(), first.tolist(), strict=True))
        identities, count = np.zeros(len(pieces.begins), np.int64), 0
        for piece in range(len(identities)):
            identities[piece] = identities[follows[piece]] if piece in follows else count
            count += piece not in follows
        if (identities == before).all():
            break
    return identities


def _unlikely_ways(sights: _Sights, pieces: _Pieces, max_gap: float) -> np.ndarray:
    """How unlikely (P, P) it is that who is seen in one piece gets to where another begins: negative
    log-likelihoods."""
    along, begins, lasts, sizes = pieces.along, pieces.begins, pieces.ends - 1, pieces.sizes
    steps = np.minimum(_END_SIGHTS, sizes[:, None] - 1)
    first, last = (
        _medians(sights.centers[along[places]]) for places in (begins[:, None] + steps, lasts[:, None] - steps)
    )
    steps = np.minimum(_SPEED_SIGHTS, sizes) - 1
    arriving = _speeds(sights, along[begins], along[begins + steps], steps)
    leaving = _speeds(sights, along[lasts - steps], along[lasts], steps)
    places = begins[:, None] + np.linspace(0, sizes - 1, _SPEED_SIGHTS, axis=1).astype(int)
    heights = _medians(sights.heights[along[places]])
    begin, end = along[begins], along[lasts]
    seconds = sights.times[begin] - sights.times[end][:, None]
    before, after = np.nonzero((sights.frames[begin] > sights.frames[end][:, None]) & (seconds <= max_gap))
    waited = np.maximum(seconds[before, after], 0)[:, None]  # times of broken files go back
    way = _FADING * (1 - np.exp(-waited / _FADING)) * (arriving[after] + leaving[before]) / 2
    offsets = 2 * (first[after] - last[before] - way) / (heights[after] + heights[before])[:, None]
    spread = _NEAR + _SPEED * waited
    unlikely = np.full(seconds.shape, _IMPOSSIBLE)
    unlikely[before, after] = np.minimum(((offsets / spread) ** 2).sum(-1), _MOST_DEVIATION) / 2
    unlikely[before, after] += np.log((spread / _NEAR).prod(-1))
    return unlikely


def _medians(values: np.ndarray) -> np.ndarray:
    """Medians (P, ...) of the N values of each row of (P, N, ...); `np.median` takes ten times as long for few."""
    middle = values.shape[1] // 2
    return np.sort(values, axis=1)[:, values.shape[1] - 1 - middle : middle + 1].mean(1)


def _speeds(sights: _Sights, first: np.ndarray, last: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Pixels a second (P, 2) between two sights of pieces; 0 where too few `steps` (P,) are between them."""
    seconds = sights.times[last] - sights.times[first]
    is_known = (steps >= _SPEED_SIGHTS // 2 - 1) & (seconds > 0)
    moved = sights.centers[last] - sights.centers[first]
    return np.where(is_known[:, None], moved / np.where(is_known, seconds, 1)[:, None], 0)


def _unlikely_builds(sights: _Sights, pieces: _Pieces, identities: np.ndarray) -> np.ndarray:
    """How unlikely (P, P) it is that the person at the end of a piece is the one at the beginning of another, by their
    builds: negative log-likelihoods. Short pieces are seen together with the others of their identity, before or
    behind.
    """
    order = np.argsort(identities, kind="stable")
    along, ends = pieces.in_order(order), np.cumsum(pieces.sizes[order])
    begins = np.append(0, ends[:-1])
    _, first, sizes = np.unique(identities[order], return_index=True, return_counts=True)
    begin, end = np.repeat(begins[first], sizes), np.repeat(ends[first + sizes - 1], sizes)  # of the identities
    alone = ~sights.is_crowded[along]
    before = np.append(0, np.cumsum(alone))  # how many sights are not crowded before each
    parts = np.array(
        (
            (np.maximum(before[ends] - _SIGHTS, before[begin]), before[begins]),
            (before[ends], np.minimum(before[begins] + _SIGHTS, before[end])),
        )
    )
    sums = _sums(sights.builds[along[alone]])
    means, counts = _means(sums, parts)
    if not counts.all():  # who is crowded all the time
        crowded, lengths = _means(_sums(sights.builds[along]), np.array(((begins, begins), (ends, ends))))
        means, counts = np.where(counts[..., None], means, crowded), np.where(counts, counts, lengths)
    back = np.argsort(order)
    until, since, counts = *means[:, back], counts[:, back]
    variances = _BUILD_NOISE**2 + _FRAME_NOISE**2 * (1 / counts[0][:, None] + 1 / counts[1])
    whitening = _whitening(sums, np.repeat(identities[order], pieces.sizes[order])[alone])
    unusual = _squared_distances(until @ whitening, since @ whitening) / variances
    return (np.minimum(_BUILD_WEIGHT * unusual, _MOST_UNUSUAL) + np.log(variances / _BUILD_NOISE**2)) / 2


def _whitening(sums: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """A matrix (C, C) that builds are multiplied by, so that all their numbers change alike in a person, and by
    themselves.

    Args:
        sums: (1 + S, C) of builds before each, those of one person after those of another.
        owners: (S,) identities, ascending.
    """
    places = np.arange(len(owners)) - np.searchsorted(owners, owners)
    ends = np.flatnonzero(places % _BLOCK == _BLOCK - 1) + 1
    means, owners = _means(sums, np.array((ends - _BLOCK, ends)))[0], owners[ends - 1]
    changes = np.concatenate([(means[lag:] - means[:-lag])[owners[lag:] == owners[:-lag]] for lag in _LAGS])
    changes = changes[np.isfinite(changes).all(1)]
    usual, count = _BUILD_NOISE**2 + _FRAME_NOISE**2 * 2 / _BLOCK, sums.shape[1]
    if len(changes) < count:  # too few to tell how numbers change together
        return np.eye(count)
    covariance = (changes.T @ changes / usual + count * np.eye(count)) / (len(changes) + count)
    return np.linalg.cholesky(np.linalg.inv(covariance))


def _squared_distances(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Those (N, M) of points (N, D) and others (M, D)."""
    lengths, other_lengths = (np.einsum("nd,nd->n", each, each) for each in (some, others))
    return np.maximum(lengths[:, None] + other_lengths - 2 * some @ others.T, 0)


def _sums(builds: np.ndarray) -> np.ndarray:
    """Sums (1 + S, C) of the builds (S, C) before each, and of all."""
    return np.concatenate((np.zeros((1, builds.shape[1])), builds)).cumsum(axis=0)


def _means(sums: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (..., P, C) of builds, by their `sums` (1 + S, C), from where to where each of the `parts` (2, ..., P)
    goes, and how many (..., P)."""
    counts = parts[1] - parts[0]
    return (sums[parts[1]] - sums[parts[0]]) / np.maximum(counts, 1)[..., None], counts
