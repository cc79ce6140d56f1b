"""Measures of tracking: HOTA with DetA and AssA, IDF1, MOTA and identity switches, as TrackEval computes them.

Sources: HOTA, Luiten et al., 2020, https://arxiv.org/abs/2009.07736; IDF1, Ristani et al., 2016,
https://arxiv.org/abs/1609.01775; MOTA, Bernardin and Stiefelhagen, 2008, https://doi.org/10.1155/2008/246309. Ties and
frames without people count as in `trackeval.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from hfpose.evaluation.metrics import Metrics
from hfpose.ops.assignment import cheapest_pairs

HOTA_THRESHOLDS = np.arange(0.05, 0.99, 0.05)
"""Similarities from which two are a match; HOTA, DetA and AssA are means over them."""
MATCH_THRESHOLD = 0.5
"""The same for IDF1, MOTA and switches."""

_EPSILON = np.finfo(float).eps


@dataclass(frozen=True)
class PairedFrame:
    """What is annotated in a frame beside what a tracker says of it.

    Args:
        people: (N,) identities of the annotated instances, integers from 0, each once.
        tracks: (M,) the same of the tracker's.
        similarity: (N, M) from 0 to 1, IoU of boxes or OKS of poses.
    """

    people: np.ndarray
    tracks: np.ndarray
    similarity: np.ndarray

    @property
    def places(self) -> tuple[np.ndarray, ...]:
        """Index of the pairs of this frame in a matrix (people, tracks)."""
        return np.ix_(self.people, self.tracks)


@dataclass(frozen=True)
class TrackingCounts:
    """What is counted in a sequence; sequences add up. A is the number of `HOTA_THRESHOLDS`.

    Args:
        people: annotated identities.
        identities: identities of the tracker.
        annotated: annotated instances over all frames.
        tracked: instances of the tracker over all frames.
        hota_matches: (A,) matches of HOTA.
        association: (A,) sum over these of the Jaccard index of their two identities.
        matches: of MOTA.
        switches: matches in which an annotated identity has another track than at its last match.
        identity_matches: matches of IDF1, in which each identity has one track over the whole sequence.
    """

    people: int
    identities: int
    annotated: int
    tracked: int
    hota_matches: np.ndarray
    association: np.ndarray
    matches: int
    switches: int
    identity_matches: int

    def __add__(self, other: TrackingCounts) -> TrackingCounts:
        names = [field.name for field in fields(self)]
        return TrackingCounts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def metrics(self) -> Metrics:
        """The measures, from 0 to 1 (MOTA may be below 0), and the numbers of what is counted."""
        metrics = Metrics()
        if not self.annotated:
            return metrics.without(("HOTA", "DetA", "AssA", "IDF1", "MOTA"), "no instance is annotated")
        detection = self.hota_matches / (self.annotated + self.tracked - self.hota_matches)
        association = self.association / np.maximum(self.hota_matches, 1)
        misses, false = self.annotated - self.matches, self.tracked - self.matches
        metrics |= {
            "HOTA": float(np.sqrt(detection * association).mean()),
            "DetA": float(detection.mean()),
            "AssA": float(association.mean()),
            "IDF1": 2 * self.identity_matches / (self.annotated + self.tracked),
            "MOTA": 1 - (misses + false + self.switches) / self.annotated,
            "switches": self.switches,
            "misses": misses,
            "false": false,
            "identities": self.identities,
            "people": self.people,
        }
        return metrics


def evaluate_tracking(sequences: Iterable[Sequence[PairedFrame]]) -> Metrics:
    """The measures over sequences, each a list of its frames in the order of time."""
    return sum(map(count_tracking, sequences), count_tracking([])).metrics()


def count_tracking(frames: Sequence[PairedFrame]) -> TrackingCounts:
    """What is counted in one sequence."""
    people, tracks = (
        np.bincount(np.concatenate([np.zeros(0, np.int64), *(getattr(frame, name) for frame in frames)]))
        for name in ("people", "tracks")
    )
    hota_matches, association = _count_hota(frames, people, tracks)
    matches, switches = _count_matches(frames, len(people))
    alike = np.zeros((len(people), len(tracks)))
    for frame in frames:
        alike[frame.places] += frame.similarity >= MATCH_THRESHOLD
    return TrackingCounts(
        people=int((people > 0).sum()),
        identities=int((tracks > 0).sum()),
        annotated=int(people.sum()),
        tracked=int(tracks.sum()),
        hota_matches=hota_matches,
        association=association,
        matches=matches,
        switches=switches,
        identity_matches=int(alike[cheapest_pairs(-alike)].sum()),
    )


def _count_hota(
    frames: Sequence[PairedFrame], people: np.ndarray, tracks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Matches (A,) at each threshold, and the sum (A,) of the Jaccard indices of what they match;
    `people` and `tracks` say in how many frames each identity is."""
    alignment = np.zeros((len(people), len(tracks)))
    for frame in frames:
        similarity = frame.similarity
        union = similarity.sum(0) + similarity.sum(1)[:, None] - similarity
        alignment[frame.places] += np.divide(similarity, union, out=np.zeros_like(union), where=union > _EPSILON)
    lengths = people[:, None] + tracks
    alignment /= np.maximum(lengths - alignment, _EPSILON)
    together = np.zeros((len(HOTA_THRESHOLDS), len(people), len(tracks)))
    for frame in frames:
        rows, columns = cheapest_pairs(-alignment[frame.places] * frame.similarity)
        is_match = frame.similarity[rows, columns] >= HOTA_THRESHOLDS[:, None] - _EPSILON
        together[:, frame.people[rows], frame.tracks[columns]] += is_match
    jaccard = together / np.maximum(lengths - together, 1)
    return together.sum((1, 2)), (together * jaccard).sum((1, 2))


def _count_matches(frames: Sequence[PairedFrame], num_people: int) -> tuple[int, int]:
    """Matches and switches as MOTA counts them: a person matched in the frame before keeps the track."""
    matches = switches = 0
    before, last = np.full(num_people, -1), np.full(num_people, -1)  # track in the frame before, and ever before
    for frame in frames:
        if not frame.similarity.size:
            continue
        gain = 1000.0 * (before[frame.people][:, None] == frame.tracks) + frame.similarity
        gain[frame.similarity < MATCH_THRESHOLD - _EPSILON] = 0
        rows, columns = cheapest_pairs(-gain)
        is_match = gain[rows, columns] > _EPSILON
        people, tracks = frame.people[rows[is_match]], frame.tracks[columns[is_match]]
        matches += len(people)
        switches += int(((last[people] != -1) & (last[people] != tracks)).sum())
        before[:] = -1
        before[people] = last[people] = tracks
    return matches, switches
