"""Identities that hold through occlusions, crossings, false boxes and the motion of the camera.

Sources: association in two steps by score, ByteTrack, Zhang et al., 2022, https://arxiv.org/abs/2110.06864;
compensation of camera motion, BoT-SORT, Aharon et al., 2022, https://arxiv.org/abs/2206.14651.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hfpose.errors import InputError
from hfpose.ops.assignment import cheapest_pairs
from hfpose.ops.boxes import pairwise_iou, shares_within
from hfpose.results import PoseOutput
from hfpose.tracking.camera_motion import CameraMotion
from hfpose.tracking.relinking import StreamLinks
from hfpose.tracking.tracker import (
    LEAST_STEP,
    MIN_KEYPOINTS,
    UNTRACKED,
    Association,
    TrackRows,
    body_lengths,
    check_association,
    filled_keypoints,
    instance_boxes,
    instance_scores,
    keypoint_similarity,
    keypoints_in_image,
    shift_up_to_edge,
    valid_keypoints,
)

CONFIRMATION_FRAMES = 6
"""Frames within which an instance is confirmed; then it begins again."""

_FRAME_RATE = 30.0  # where frames come without times

# The model of motion, in heights of the box and seconds, for x and y: noise of a box's center, acceleration, speed of
# who is new; the noise of the logarithms of a height and of the length of a body; within how many seconds a speed
# fades while its owner is not seen.
_CENTER_NOISE, _ACCELERATION, _FIRST_SPEED = 0.03, np.array([3.0, 1.0]), np.array([0.6, 0.3])
_HEIGHT_NOISE, _LENGTH_NOISE = 0.085, 0.06
_FADING = 1.5
_WEAK_NOISE = 2.0  # times as much for instances of a low score
_SIZE_GAIN, _LENGTH_GAIN = 0.2, 0.1  # shares that a new box has in the size of a track, and a new pose in its length
_FEATURE_GAIN = 0.1  # the same for its appearance
# Share that a frame has in the usual change of an appearance, and the changes, in usual ones, that count as no more.
_CHANGE_GAIN, _LEAST_CHANGE, _MOST_CHANGE = 0.05, 1e-3, 10.0

# Nats that a full overlap of keypoints is worth beside the model of motion, and those from which an instance is too
# far from a track: from one that it overlaps, and from one that was lost.
_OKS_WEIGHT, _GATE, _LOST_GATE = 2.7, 12.0, 6.0
_MOST_LONGER = 25.0  # squared deviations of a length that count as no more: poses fail
_IMPOSSIBLE = 1e3
# The same for a new track that may be the return of who was lost.
_RETURN_GATE = 40.0
# A box is of several people if it holds so much of the box of each, and is so many times as large.
_MERGED_SHARE, _MERGED_GROWTH = 0.85, 1.35
# Seconds within which a track was seen for an instance of a low score, for any instance (later only a new track that
# is confirmed may be its return, so that a false box or a passer-by does not take it), and within which it counts as
# not lost.
_RECENT, _EXPECTED, _UNBROKEN = 0.5, 1.5, 1.5 / _FRAME_RATE
# Least mean evidence of an instance over the frames that confirm it; one with less takes more frames.
_CONFIRMED_SCORE = 0.65


@dataclass
class _Tracks(TrackRows):
    """The M instances that are remembered, where they should be in this frame."""

    ids: np.ndarray  # (M,) UNTRACKED until confirmed
    centers: np.ndarray  # (M, 2) of the boxes
    velocities: np.ndarray  # (M, 2) pixels per second
    variances: np.ndarray  # (M, 2, 3) of the center, of it with the velocity, and of the velocity, for x and y
    sizes: np.ndarray  # (M, 2)
    lengths: np.ndarray  # (M,) of the body, see `body_lengths`
    keypoints: np.ndarray  # (M, K, 2) relative to the center, where last seen
    features: np.ndarray  # (M, C) appearance, of length 1, or 0 where not known
    hits: np.ndarray  # (M,) frames in which seen
    evidence: np.ndarray  # (M,) sum of what spoke for it then
    times: np.ndarray  # (M,) when last seen
    rows: np.ndarray  # (M, CONFIRMATION_FRAMES) row in the output of this frame and those before, -1 where not seen

    @classmethod
    def new(cls, found: _Found, rows: np.ndarray, now: float) -> _Tracks:
        """Tracks of some instances of a frame."""
        count = len(rows)
        centers = found.centers[rows]
        first = np.stack((np.full(2, _CENTER_NOISE**2), np.zeros(2), _FIRST_SPEED**2), axis=-1)
        history = np.full((count, CONFIRMATION_FRAMES), -1)
        history[:, 0] = rows
        return cls(
            ids=np.full(count, UNTRACKED, np.int64),
            centers=centers,
            velocities=np.zeros((count, 2)),
            variances=np.tile(first, (count, 1, 1)),
            sizes=found.sizes[rows],
            lengths=found.lengths[rows],
            keypoints=found.keypoints[rows] - centers[:, None],
            features=found.features[rows],
            hits=np.ones(count, np.int64),
            evidence=found.evidence[rows],
            times=np.full(count, now),
            rows=history,
        )

    @property
    def boxes(self) -> np.ndarray:
        return np.concatenate((self.centers - self.sizes / 2, self.centers + self.sizes / 2), axis=1)

    @property
    def is_confirmed(self) -> np.ndarray:
        return self.ids != UNTRACKED

    def move(self, step: float, image_size: tuple[int, int] | None) -> None:
        """Go on for `step` seconds, at their speed up to the edge of the image."""
        is_lost = self.rows[:, 0] < 0
        self.centers = self.centers + shift_up_to_edge(self.velocities * step, self.centers, image_size)
        self.velocities = self.velocities * np.where(is_lost, np.exp(-step / _FADING), 1.0)[:, None]
        # Of the center, of it with the velocity, and of the velocity: what each becomes of each, and what is added.
        onward = np.array(((1, 0, 0), (2 * step, 1, 0), (step**2, step, 1)))
        added = np.multiply.outer(_ACCELERATION**2 * step / _FRAME_RATE, (step**2 / 3, step / 2, 1))
        self.variances = self.variances @ onward + added
        self.rows = np.concatenate((np.full((len(self.ids), 1), -1), self.rows[:, :-1]), axis=1)

    def warp(self, motion: np.ndarray) -> None:
        """Go along with an image that has moved by an affine motion (2, 3)."""
        turn, shift = motion[:, :2].T, motion[:, 2]
        self.centers = self.centers @ turn + shift
        self.velocities = self.velocities @ turn
        self.keypoints = self.keypoints @ turn
        self.sizes = self.sizes * np.linalg.norm(turn, axis=0)
        self.lengths = self.lengths * np.linalg.norm(turn[:, 0])

    def learn(self, at: np.ndarray, found: _Found, rows: np.ndarray, is_weak: np.ndarray, now: float) -> None:
        """Take over what `rows` of a frame say of the tracks `at`: the update of a Kalman filter for each of x and
        y."""
        centers, (center, mixed, velocity) = self.centers[at], self.variances[at].transpose(2, 0, 1)
        noise = np.where(is_weak, _WEAK_NOISE * _CENTER_NOISE, _CENTER_NOISE)[:, None] ** 2
        gain, speed_gain = center / (center + noise), mixed / (center + noise)
        surprise = found.offsets(self)[rows, at]
        self.variances[at] = np.stack(
            (center * (1 - gain), mixed * (1 - gain), velocity - speed_gain * mixed), axis=-1
        )
        self.centers[at] = centers + gain * surprise
        self.velocities[at] += speed_gain * surprise
        self.keypoints[at] = found.keypoints[rows] - (centers + surprise)[:, None]
        self.hits[at] += 1
        newest = 1 / self.hits[at]
        share = np.where(found.is_merged[rows], 0, np.maximum(newest, _SIZE_GAIN))[:, None]
        self.sizes[at] += share * (found.sizes[rows] - self.sizes[at])
        share = np.where(is_weak, 0, np.maximum(newest, _LENGTH_GAIN))
        self.lengths[at] += share * (found.lengths[rows] - self.lengths[at])
        if found.features.size:
            change = np.where(is_weak, 0, _FEATURE_GAIN)[:, None] * (found.features[rows] - self.features[at])
            self.features[at] = _of_length_1(self.features[at] + change)
        self.evidence[at] += found.evidence[rows]
        self.times[at] = now
        self.rows[at, 0] = rows


@dataclass(frozen=True)
class _Found:
    """The N instances of a frame: boxes (N, 4), keypoints (N, K, 2), scores (N,) and `evidence` (N,) that they are
    no false ones, features (N, C), and whose boxes are `is_merged` (N,)."""

    boxes: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    evidence: np.ndarray
    features: np.ndarray
    lengths: np.ndarray
    is_merged: np.ndarray

    @classmethod
    def of(cls, tracks: _Tracks) -> _Found:
        """Instances where tracks are."""
        keypoints = tracks.keypoints + tracks.centers[:, None]
        is_merged = np.zeros(len(tracks.ids), bool)
        scores = tracks.evidence / tracks.hits
        return cls(tracks.boxes, keypoints, scores, scores, tracks.features, tracks.lengths, is_merged)

    @property
    def centers(self) -> np.ndarray:
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def sizes(self) -> np.ndarray:
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def offsets(self, tracks: _Tracks) -> np.ndarray:
        """How far (N, M, 2) the instances are from where the tracks should be. Where a box is of several, the
        keypoints may tell it better."""
        of_boxes = self.centers[:, None] - tracks.centers
        if not self.is_merged.any():
            return of_boxes
        of_keypoints = _middle(self.keypoints)[:, None] - _middle(tracks.keypoints) - tracks.centers
        is_nearer = (of_keypoints**2).sum(-1) < (of_boxes**2).sum(-1)
        return np.where((self.is_merged[:, None] & is_nearer)[..., None], of_keypoints, of_boxes)


def _middle(keypoints: np.ndarray) -> np.ndarray:
    """The mean (N, 2) of keypoints (N, K, 2)."""
    return keypoints.sum(1) / max(keypoints.shape[1], 1)


class IdentityTracker:
    """Gives the instances of successive frames identities.

    Each instance is expected where a Kalman filter has it, after the motion of the camera is taken off; how likely
    another place and height are and the OKS of the keypoints say which instance is which.
    Instances of a high score choose first, then those of a low score among the tracks that were seen just now, then
    new tracks have what is left. Who is seen in the frame before has to overlap; who was lost for up to 1.5 seconds
    has to be near for the time that has passed. Who was lost for longer goes on in a new track, once that is
    confirmed.

    A new instance is confirmed when it was seen in some frames; until then its `track_ids` are -1, and then the frames
    before are known too, see `late_identities`. Those of the first frame are confirmed at once, so that images and
    short clips have identities. Identities count from 0 and none is used twice.

    Args:
        association: `"iou"` of boxes or `"oks"` of keypoints: which overlap has to reach the threshold.
        threshold: least overlap, 0 to 1.
        max_gap: seconds for which an instance that is not seen is remembered.
        high_score: instances from this score on choose first.
        confirm_frames: frames in which a new instance has to be seen, 1 to 6; one of a low score takes more of them.
        camera_motion: whether to follow what stands still in the images, where they are given.
        min_keypoints: an instance with fewer gets no identity of its own, see `PoseTracker`.
        appearance: how much it counts that an instance looks like a track, by the `features` of the outputs, beside
            where it is: 0 not at all, 1 as much as is likely.
        relink: whether people who were taken for each other get their identities back later, see `StreamLinks`.

    Attributes:
        late_identities: what the last `update` says of frames before: how many ago, the row there, the identity.

    Raises:
        InputError: for settings out of range.
    """

    def __init__(
        self,
        association: Association = "iou",
        threshold: float = 0.3,
        max_gap: float = 6.0,
        high_score: float = 0.5,
        confirm_frames: int = 3,
        camera_motion: bool = True,
        min_keypoints: int = MIN_KEYPOINTS,
        appearance: float = 0.0,
        relink: bool = True,
    ) -> None:
        check_association(association, threshold)
        if not 0 <= high_score <= 1:
            raise InputError(f"high_score must lie between 0 and 1, got {high_score}.")
        if max_gap < 0 or appearance < 0:
            raise InputError(f"max_gap and appearance must be 0 or more, got {max_gap} and {appearance}.")
        if not 1 <= confirm_frames <= CONFIRMATION_FRAMES:
            raise InputError(f"confirm_frames must lie between 1 and {CONFIRMATION_FRAMES}, got {confirm_frames}.")
        self.association = association
        self.threshold = threshold
        self.max_gap = max_gap
        self.high_score = high_score
        self.confirm_frames = confirm_frames
        self.camera_motion = camera_motion
        self.min_keypoints = min_keypoints
        self.appearance = appearance
        self.relink = relink
        self._camera = CameraMotion()
        self.reset()

    def reset(self) -> None:
        """Forget all people; identities start from 0 again."""
        self.late_identities: Sequence[tuple[int, int, int]] = ()
        self._tracks: _Tracks | None = None
        self._image_size: tuple[int, int] | None = None
        self._now: float | None = None  # seconds
        self._next_id = 0
        self._usual_change: float | None = None  # of features between two sights of an instance, 0 to 2
        self._links = StreamLinks(self.max_gap)
        self._camera.reset()

    def update(self, output: PoseOutput, image: np.ndarray | None = None) -> PoseOutput:
        """The instances of the next frame with `track_ids`; -1 for those that are not confirmed, or have too few
        keypoints.

        Frames may differ in size. A frame without instances, or that could not be read, counts as one in which no
        instance is seen.

        Args:
            image: the frame, RGB (H, W, 3), for the motion of the camera; None where it is not known.

        Raises:
            InputError: if the output has 3D keypoints and no `keypoints_2d`.
        """
        keypoints = keypoints_in_image(output)
        valid = valid_keypoints(keypoints, output.keypoint_scores)
        boxes = instance_boxes(output)
        scores = instance_scores(output)
        num_keypoints = (
            keypoints.shape[1] if self._tracks is None or len(keypoints) else self._tracks.keypoints.shape[1]
        )
        keypoints = filled_keypoints(keypoints, boxes, num_keypoints)
        is_first = self._now is None
        tracks = self._expected(output, num_keypoints, image)
        assert self._now is not None
        boxes, keypoints, scores = (array.astype(np.float64) for array in (boxes, keypoints, scores))
        features = self._appearance(output, tracks.features.shape[1])
        if tracks.features.shape[1] != features.shape[1]:
            tracks = replace(tracks, features=np.zeros((len(tracks.ids), features.shape[1])))
        lengths = body_lengths(keypoints, output.schema)
        evidence, is_merged = _evidence(scores, output.keypoint_scores), self._is_merged(boxes, tracks)
        found = _Found(boxes, keypoints, scores, evidence, features, lengths, is_merged)

        rows, at = self._pairs(found, tracks, output.schema.sigmas if output.schema is not None else None)
        if features.size:
            self._learn_change((features[rows] * tracks.features[at]).sum(1))
        tracks.learn(at, found, rows, found.scores[rows] < self.high_score, self._now)
        is_new = valid.sum(-1) >= min(self.min_keypoints, valid.shape[1])
        is_new[rows] = False
        if is_new.any():
            tracks = tracks.extend(_Tracks.new(found, np.flatnonzero(is_new), self._now))
        tracks = self._confirm(tracks, is_first)
        ids = np.full(len(boxes), UNTRACKED, np.int64)
        is_seen = tracks.rows[:, 0] >= 0
        ids[tracks.rows[is_seen, 0]] = tracks.ids[is_seen]
        is_kept = self._is_kept(tracks)
        self._tracks = tracks if is_kept.all() else tracks.select(is_kept)
        output = replace(output, track_ids=ids)
        if self.relink:
            self._links.update(output, self._now, tracks.ids.tolist())
            self.late_identities = [(ago, row, self._links.identity(each)) for ago, row, each in self.late_identities]
        return output

    def _expected(self, output: PoseOutput, num_keypoints: int, image: np.ndarray | None) -> _Tracks:
        """The tracks, where they should be in this frame; none if they had another number of keypoints."""
        before, size = self._now, output.image_size
        if before is None:
            self._now = output.timestamp or 0.0
        else:
            by_rate = before + 1 / _FRAME_RATE
            self._now = by_rate if output.timestamp is None else max(output.timestamp, before + LEAST_STEP)
        tracks = self._tracks
        if tracks is None or num_keypoints != tracks.keypoints.shape[1]:
            none, keypoints = np.zeros(0), np.zeros((0, num_keypoints, 2))
            nothing = _Found(np.zeros((0, 4)), keypoints, none, none, np.zeros((0, 0)), none, none > 0)
            tracks = _Tracks.new(nothing, np.zeros(0, np.int64), self._now)
        motion = self._camera.update(image, output.boxes) if self.camera_motion else None
        if size is not None and self._image_size is not None and size != self._image_size:
            motion = np.column_stack((np.diag(np.divide(size, self._image_size)), np.zeros(2)))
        self._image_size = size or self._image_size
        if motion is not None:
            tracks.warp(motion)
        tracks.move(self._now - (before or 0.0), size)
        return tracks

    def _pairs(self, found: _Found, tracks: _Tracks, sigmas: Sequence[float] | None) -> tuple[np.ndarray, np.ndarray]:
        """Rows of instances, and the tracks that they are of."""
        costs = self._costs(found, tracks, sigmas)
        assert self._now is not None
        is_high, is_confirmed = found.scores >= self.high_score, tracks.is_confirmed
        is_recent = self._now - tracks.times < _RECENT
        is_expected = is_confirmed & (self._now - tracks.times < _EXPECTED)
        is_any = np.ones(len(is_high), bool)
        steps = ((is_high, is_expected), (~is_high, is_confirmed & is_recent), (is_any, ~is_confirmed))
        track_of = np.full(len(is_high), -1)
        is_free = np.ones(len(is_confirmed), bool)
        for choosing, offered in steps:
            rows, columns = np.flatnonzero(choosing & (track_of < 0)), np.flatnonzero(offered & is_free)
            if not (len(rows) and len(columns)):
                continue
            first, second = cheapest_pairs(costs[rows[:, None], columns], _IMPOSSIBLE)
            track_of[rows[first]] = columns[second]
            is_free[columns[second]] = False
        matched = np.flatnonzero(track_of >= 0)
        return matched, track_of[matched]

    def _costs(self, found: _Found, tracks: _Tracks, sigmas: Sequence[float] | None) -> np.ndarray:
        """How unlikely (N, M) it is that an instance is of a track: negative log-likelihoods, or `_IMPOSSIBLE`."""
        boxes, now, unlikely = tracks.boxes, self._now, self._unlikely(found, tracks)
        places = tracks.keypoints + tracks.centers[:, None]
        oks = keypoint_similarity(found.keypoints, found.boxes, places, boxes, sigmas)
        overlap = pairwise_iou(found.boxes, boxes) if self.association == "iou" else oks
        is_near = (unlikely < _LOST_GATE) & (now - tracks.times > _UNBROKEN)
        is_over = (overlap > self.threshold) & (unlikely < _GATE)
        return np.where(is_over | is_near, unlikely - _OKS_WEIGHT * oks, _IMPOSSIBLE)

    def _is_merged(self, boxes: np.ndarray, tracks: _Tracks) -> np.ndarray:
        """Which boxes (N,) hold several people who were seen just now, and are larger than those of each of them."""
        is_known = tracks.is_confirmed & (self._now - tracks.times < _RECENT)
        is_within = shares_within(tracks.boxes[is_known], boxes).T > _MERGED_SHARE
        if not (is_within.sum(1) > 1).any():
            return np.zeros(len(boxes), bool)
        areas, own = (boxes[:, 2:] - boxes[:, :2]).prod(1), tracks.sizes[is_known].prod(1)
        return (is_within.sum(1) > 1) & (areas > _MERGED_GROWTH * np.where(is_within, own, 0).max(1, initial=0))

    def _appearance(self, output: PoseOutput, num_channels: int) -> np.ndarray:
        """Features (N, C) of length 1, all 0 (N, `num_channels`) where they are not known or do not count."""
        if not self.appearance or output.features is None or not len(output):
            return np.zeros((len(output), num_channels))
        return _of_length_1(output.features.astype(np.float64))

    def _learn_change(self, similarity: np.ndarray) -> None:
        """Take into account how similar the features of instances (N,) that were seen again are to those before."""
        if similarity.any():
            change = 1 - float(np.median(similarity[similarity != 0]))
            usual = self._usual_change
            self._usual_change = change if usual is None else usual + _CHANGE_GAIN * (change - usual)

    def _unlikely(self, found: _Found, tracks: _Tracks) -> np.ndarray:
        """How unlikely (N, M) place, height and appearance of an instance are for a track: negative log-likelihoods.

        Changes of an appearance are counted in usual ones, whatever the network; these are taken for exponentially
        distributed.
        """
        unlikely = _unlikely_places(found, tracks)
        if self._usual_change is not None:
            similarity = found.features @ tracks.features.T
            changes = np.minimum((1 - similarity) / max(self._usual_change, _LEAST_CHANGE), _MOST_CHANGE)
            unlikely += self.appearance * np.where(similarity == 0, 0, changes - 1)
        return unlikely

    def _confirm(self, tracks: _Tracks, is_first: bool) -> _Tracks:
        """Give identities to new tracks that were seen often enough, and take down which instances before were theirs.

        A track that was lost before the new one began, and is near enough for the time that has passed, gives it its
        identity.
        """
        is_ripe = (tracks.hits >= self.confirm_frames) & (tracks.evidence >= _CONFIRMED_SCORE * self.confirm_frames)
        if is_first:
            is_ripe |= tracks.evidence >= self.high_score
        new = np.flatnonzero(~tracks.is_confirmed & is_ripe)
        self.late_identities = []
        if not len(new):
            return tracks
        began = CONFIRMATION_FRAMES - (tracks.rows[new, ::-1] >= 0).argmax(1)  # frames ago, from 1
        seen = np.where(tracks.rows >= 0, np.arange(CONFIRMATION_FRAMES), CONFIRMATION_FRAMES).min(1)
        lost = np.flatnonzero(tracks.is_confirmed & (seen > 0))
        costs = self._unlikely(_Found.of(tracks.select(new)), tracks.select(lost))
        costs[(costs > _RETURN_GATE) | (seen[lost] < began[:, None])] = _IMPOSSIBLE
        first, second = cheapest_pairs(costs, _IMPOSSIBLE)
        tracks.ids[new[first]] = tracks.ids[lost[second]]
        unknown = np.delete(new, first)
        tracks.ids[unknown] = self._next_id + np.arange(len(unknown))
        self._next_id += len(unknown)
        self.late_identities = [
            (ago, row, int(tracks.ids[track]))
            for track in new
            for ago, row in enumerate(tracks.rows[track].tolist())
            if ago and row >= 0
        ]
        return tracks.select(np.delete(np.arange(len(tracks.ids)), lost[second]))

    def _is_kept(self, tracks: _Tracks) -> np.ndarray:
        """Which tracks (M,) are remembered: new ones while they are seen in one of two frames and may be confirmed."""
        assert self._now is not None
        is_begun = (tracks.rows[:, :2] >= 0).any(1) & (tracks.rows[:, -1] < 0)
        return (self._now - tracks.times <= self.max_gap) & (tracks.is_confirmed | is_begun)


def _evidence(scores: np.ndarray, keypoint_scores: np.ndarray) -> np.ndarray:
    """How much (N,) speaks for instances: their scores, less where their keypoints have lower ones, as those of a part
    of a person or of a box that holds two have."""
    of_poses = keypoint_scores.mean(1).clip(0) if keypoint_scores.size else scores
    return np.sqrt(scores * np.minimum(scores, of_poses))


def _of_length_1(features: np.ndarray) -> np.ndarray:
    """Features (N, C) over their lengths."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def _unlikely_places(found: _Found, tracks: _Tracks) -> np.ndarray:
    """How unlikely (N, M) the place and height of an instance are for a track: negative log-likelihoods."""
    heights = np.maximum(tracks.sizes[:, 1], 1)
    variances = tracks.variances[..., 0] + _CENTER_NOISE**2
    offsets = found.offsets(tracks) / heights[:, None]
    grown = np.log(np.maximum(found.sizes[:, None, 1], 1) / heights) / _HEIGHT_NOISE
    grown[found.is_merged] = 0
    spread = np.log(variances / _CENTER_NOISE**2).sum(-1) / 2
    longer = np.log(found.lengths[:, None] / tracks.lengths) / _LENGTH_NOISE
    return ((offsets**2 / variances).sum(-1) + grown**2 + np.minimum(longer**2, _MOST_LONGER) + spread) / 2
