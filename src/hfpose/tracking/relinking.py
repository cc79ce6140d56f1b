"""Identities looked at again from the end of a clip, or of what was seen of a stream: what was mixed up while people
hid each other is set right."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

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

# A track is cut where it is not seen for so many seconds, and in the middle of the time in which its box overlaps
# another's so much.
_LONGEST_GAP, _CROWDED = 0.25, 0.3
# How builds of a person differ: over the clip, and from frame to frame; sights of it that are compared, the most
# squared deviations that count, and how much the posture counts beside the length of the body.
_BUILD_NOISE, _FRAME_NOISE, _SIGHTS, _MOST_DEVIATION, _POSTURE = 0.04, 0.15, 45, 9.0, 2.0
# How far people get from where they are expected, in heights, at once and for each second, for x and y; sights that
# say how fast they are; seconds in which the speed fades.
_NEAR, _SPEED, _SPEED_SIGHTS, _FADING = np.array([0.1, 0.06]), np.array([0.7, 0.15]), 8, 1.0
# Nats that speak for what the tracker says, and for a new person where no other fits.
_AS_TRACKED, _NEW = 1.5, 22.0
_IMPOSSIBLE = 1e4
_ROUNDS = 2
_ENDS = np.array(((0, 1, 2), (-3, -2, -1)))  # sights that say where a piece begins and ends
# Of streams: seconds that are looked at again, and every how many frames.
_WINDOW, _EVERY = 8.0, 10


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
        _sights(index, output, time)
        for index, (output, time) in enumerate(zip(outputs, times.tolist(), strict=True))
        if output.track_ids is not None and (output.track_ids != UNTRACKED).any()
    ]
    if not seen or len({each.builds.shape[1] for each in seen}) > 1:
        return
    sights = _joined(seen)
    pieces = _pieces(sights)
    for piece, identity in zip(pieces, _identities(sights, pieces, max_gap).tolist(), strict=True):
        for sight in piece:
            outputs[sights.frames[sight]].track_ids[sights.rows[sight]] = identity


class StreamLinks:
    """Does the same while a stream goes on, over its last seconds: who was given the identity of another gets the own
    one back, once enough was seen of both; frames before stay as they are.

    Args:
        max_gap: seconds for which a person who is not seen is remembered.
    """

    def __init__(self, max_gap: float = 6.0) -> None:
        self.max_gap = max_gap
        self._seen: deque[tuple[_Sights, np.ndarray]] = deque()  # of a frame, and the identities that it got
        self._identities: dict[int, int] = {}  # of tracks
        self._count = 0

    def identity(self, track: int) -> int:
        """That of a track now."""
        return self._identities.get(track, track)

    def update(self, output: PoseOutput, time: float, tracks: Iterable[int]) -> PoseOutput:
        """The result of the next frame with identities.

        Args:
            output: with `track_ids` (N,) of tracks.
            time: seconds.
            tracks: those that are remembered.
        """
        assert output.track_ids is not None
        self._count += 1
        if (output.track_ids != UNTRACKED).any():
            sights = _sights(self._count, output, time)
            if self._seen and self._seen[-1][0].builds.shape[1] != sights.builds.shape[1]:
                self._seen.clear()
            self._seen.append((sights, np.array([self.identity(track) for track in sights.ids.tolist()])))
        while self._seen and time - self._seen[0][0].times[0] > _WINDOW:
            self._seen.popleft()
        if self._count % _EVERY == 0 and self._seen:
            self._link({*tracks})
        ids = np.array([self.identity(track) for track in output.track_ids.tolist()], np.int64)
        return replace(output, track_ids=ids)

    def _link(self, tracks: set[int]) -> None:
        """Exchange identities of tracks, so that each person goes on with the one that was given most often."""
        sights, given = _joined([each for each, _ in self._seen]), np.concatenate([ids for _, ids in self._seen])
        pieces = _pieces(sights)
        people = _identities(sights, pieces, self.max_gap)
        track_of = dict(zip(people.tolist(), (int(sights.ids[piece[-1]]) for piece in pieces), strict=True))
        ids, columns = np.unique(given, return_inverse=True)
        counts = np.zeros((len(track_of), len(ids)))
        rows = np.repeat(people, [len(piece) for piece in pieces])
        np.add.at(counts, (rows, columns[np.concatenate(pieces)]), 1)
        tracks |= {*sights.ids.tolist()}
        self._identities = {
            track: self.identity(track)
            for track in tracks | {*self._identities}
            if track in tracks or self.identity(track) in ids
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


def _pieces(sights: _Sights) -> list[np.ndarray]:
    """The sights of each piece of a track, in the order of their first."""
    tracks = (np.flatnonzero(sights.ids == track) for track in np.unique(sights.ids))
    return sorted((piece for track in tracks for piece in _cut(sights, track)), key=lambda piece: int(piece[0]))


def _sights(index: int, output: PoseOutput, time: float) -> _Sights:
    assert output.track_ids is not None
    rows = np.flatnonzero(output.track_ids != UNTRACKED)
    boxes = instance_boxes(output)[rows].astype(np.float64)
    keypoints = keypoints_in_image(output)[rows].astype(np.float64)
    keypoints = filled_keypoints(keypoints, boxes, keypoints.shape[1])
    lengths, centers = body_lengths(keypoints, output.schema), keypoints.mean(1)
    high = (keypoints[..., 1] - centers[:, 1:]) / lengths[:, None]
    overlaps = pairwise_iou(boxes, boxes) * (1 - np.eye(len(rows)))
    return _Sights(
        frames=np.full(len(rows), index),
        rows=rows,
        ids=output.track_ids[rows],
        times=np.full(len(rows), time),
        centers=centers,
        heights=np.maximum(boxes[:, 3] - boxes[:, 1], 1),
        builds=np.column_stack((np.log(lengths), high)),
        is_crowded=overlaps.max(1, initial=0) > _CROWDED,
    )


def _cut(sights: _Sights, track: np.ndarray) -> list[np.ndarray]:
    """The sights of a track in pieces, each of them of one person."""
    is_cut = np.diff(sights.times[track]) > _LONGEST_GAP
    crowded = np.flatnonzero(np.diff(sights.is_crowded[track], prepend=False, append=False)).reshape(-1, 2)
    inside = crowded[(crowded[:, 0] > 0) & (crowded[:, 1] < len(track))]
    is_cut[inside.sum(1) // 2 - 1] = True
    return np.split(track, np.flatnonzero(is_cut) + 1)


def _identities(sights: _Sights, pieces: Sequence[np.ndarray], max_gap: float) -> np.ndarray:
    """The identity (P,) of each of the pieces."""
    tracked = np.array([sights.ids[piece[0]] for piece in pieces])
    fixed = _unlikely_ways(sights, pieces, max_gap)
    identities = tracked
    for _ in range(_ROUNDS):
        before, links = identities, fixed + _unlikely_builds(sights, pieces, identities)
        for track in np.unique(tracked):
            own = np.flatnonzero(tracked == track)
            links[own[:-1], own[1:]] -= _AS_TRACKED
        _, following = cheapest_pairs(np.minimum(links, _NEW))
        follows = {after: first for first, after in enumerate(following.tolist()) if links[first, after] < _NEW}
        identities, count = np.zeros(len(pieces), np.int64), 0
        for piece in range(len(pieces)):
            identities[piece] = identities[follows[piece]] if piece in follows else count
            count += piece not in follows
        if (identities == before).all():
            break
    return identities


def _unlikely_ways(sights: _Sights, pieces: Sequence[np.ndarray], max_gap: float) -> np.ndarray:
    """How unlikely (P, P) it is that who is seen in one piece gets to where another begins: negative
    log-likelihoods."""
    first, last = (
        np.median(sights.centers[[piece[np.clip(part, -len(piece), len(piece) - 1)] for piece in pieces]], axis=1)
        for part in _ENDS
    )
    arriving = np.array([_speed(sights, piece[:_SPEED_SIGHTS]) for piece in pieces])
    leaving = np.array([_speed(sights, piece[-_SPEED_SIGHTS:]) for piece in pieces])
    along = [piece[np.linspace(0, len(piece) - 1, _SPEED_SIGHTS).astype(int)] for piece in pieces]
    heights = np.median(sights.heights[along], axis=1)
    begins, ends = ([piece[place] for piece in pieces] for place in (0, -1))
    seconds = sights.times[begins] - sights.times[ends][:, None]
    is_possible = (sights.frames[begins] > sights.frames[ends][:, None]) & (seconds <= max_gap)
    seconds = np.where(is_possible, np.maximum(seconds, 0), 1.0)[..., None]  # times of broken files go back
    way = _FADING * (1 - np.exp(-seconds / _FADING)) * (arriving + leaving[:, None]) / 2
    offsets = 2 * (first - last[:, None] - way) / (heights + heights[:, None])[..., None]
    spread = _NEAR + _SPEED * seconds
    unlikely = np.minimum(((offsets / spread) ** 2).sum(-1), _MOST_DEVIATION) / 2 + np.log(spread / _NEAR).sum(-1)
    return np.where(is_possible, unlikely, _IMPOSSIBLE)


def _speed(sights: _Sights, piece: np.ndarray) -> np.ndarray:
    """Pixels a second (2,)."""
    seconds = sights.times[piece[-1]] - sights.times[piece[0]]
    if len(piece) < _SPEED_SIGHTS // 2 or seconds <= 0:
        return np.zeros(2)
    return (sights.centers[piece[-1]] - sights.centers[piece[0]]) / seconds


def _unlikely_builds(sights: _Sights, pieces: Sequence[np.ndarray], identities: np.ndarray) -> np.ndarray:
    """How unlikely (P, P) it is that the person at the end of a piece is the one at the beginning of another, by their
    builds: negative log-likelihoods. Short pieces are seen together with the others of their identity, before or
    behind.
    """
    order = np.argsort(identities, kind="stable")
    along = np.concatenate([pieces[place] for place in order])
    ends = np.cumsum([len(pieces[place]) for place in order])
    begins = np.append(0, ends[:-1])
    _, first, sizes = np.unique(identities[order], return_index=True, return_counts=True)
    begin, end = np.repeat(begins[first], sizes), np.repeat(ends[first + sizes - 1], sizes)  # of the identities
    alone = ~sights.is_crowded[along]
    before = np.append(0, np.cumsum(alone))  # how many sights are not crowded before each
    parts = np.array(
        (
            (np.maximum(before[ends] - _SIGHTS, before[begin]), before[ends]),
            (before[begins], np.minimum(before[begins] + _SIGHTS, before[end])),
        )
    )
    means, counts = _means(sights.builds[along[alone]], parts)
    if not counts.all():  # who is crowded all the time
        crowded, lengths = _means(sights.builds[along], np.array(((begins, ends), (begins, ends))))
        means, counts = np.where(counts[..., None], means, crowded), np.where(counts, counts, lengths)
    back = np.argsort(order)
    until, since, counts = *means[:, back], counts[:, back]
    variances = _BUILD_NOISE**2 + _FRAME_NOISE**2 * (1 / counts[0][:, None] + 1 / counts[1])
    changes = (since - until[:, None]) ** 2
    longer, posture = (
        np.minimum(each / variances, _MOST_DEVIATION) for each in (changes[..., 0], changes[..., 1:].mean(-1))
    )
    return (longer + _POSTURE * posture + np.log(variances / _BUILD_NOISE**2)) / 2


def _means(builds: np.ndarray, parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means (2, P, C) of builds (S, C) from where to where each of the `parts` (2, 2, P) goes, and how many (2, P)."""
    sums = np.concatenate((np.zeros((1, builds.shape[1])), builds)).cumsum(axis=0)
    counts = parts[:, 1] - parts[:, 0]
    return (sums[parts[:, 1]] - sums[parts[:, 0]]) / np.maximum(counts, 1)[..., None], counts
