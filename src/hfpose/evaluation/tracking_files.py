"""Annotated and tracked people in files: PoseTrack 2018 and 2021, MOT, and hfpose's own results of videos."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from hfpose.annotations import finite_number, finite_numbers, id_order, read_json
from hfpose.errors import InputError
from hfpose.evaluation.coco import with_sigmas
from hfpose.evaluation.metrics import Metrics
from hfpose.evaluation.tracking import MATCH_THRESHOLD, PairedFrame, evaluate_tracking
from hfpose.keypoints import KeypointSchema
from hfpose.keypoints.library import schema_for_names
from hfpose.media.json_results import frames_of_video
from hfpose.media.left_out import LeftOut
from hfpose.ops.assignment import cheapest_pairs
from hfpose.ops.boxes import extents, pairwise_iou
from hfpose.ops.pose_similarity import AREA_OF_BOX

By = Literal["boxes", "poses"]
Similarity = Callable[[Sequence["Tracked"], Sequence["Tracked"]], np.ndarray]

# Classes of MOT: a pedestrian, none stated (MOT15), and what a tracker may find or not: people on vehicles, static
# people, distractors, reflections.
_MOT_PEOPLE, _MOT_DISTRACTORS = (1, -1), (2, 7, 8, 12)
_EPSILON = np.finfo(float).eps


@dataclass(frozen=True)
class Tracked:
    """One instance of a frame.

    Args:
        identity: as the file has it.
        box: (4,) x1, y1, x2, y2, or None.
        keypoints: (K, 3) x, y and visibility or score, or None.
        area: in square pixels, or None.
        counts: False where it may be found or not, without being right or wrong.
    """

    identity: Any
    box: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    area: float | None = None
    counts: bool = True


@dataclass
class TrackingFile:
    """The people of a file: sequence -> number of the frame from 0 -> its instances.

    Attributes:
        sequences: the frames that count: an annotated frame without people has an empty list.
        image_places: id of an image -> its sequence and frame, in PoseTrack's format.
        unlabeled: frames (sequence, number) without annotations.
        ignored_regions: (sequence, frame) -> polygons (P, 2) in which nothing is wrong.
        keypoint_names: where the file names them.
        left_out: what could not be used.
    """

    sequences: dict[str, dict[int, list[Tracked]]] = field(default_factory=dict)
    image_places: dict[str, tuple[str, int]] = field(default_factory=dict)
    unlabeled: set[tuple[str, int]] = field(default_factory=set)
    ignored_regions: dict[tuple[str, int], list[np.ndarray]] = field(default_factory=dict)
    keypoint_names: tuple[str, ...] | None = None
    left_out: LeftOut = field(default_factory=LeftOut)

    def add(self, sequence: str, frame: int, instance: Tracked) -> None:
        """Add an instance; a second one of the same identity in a frame is left out."""
        there = self.sequences.setdefault(sequence, {}).setdefault(frame, [])
        if any(other.identity == instance.identity for other in there) and instance.counts:
            self.left_out.add("instance with an identity that another in its frame has", f"{sequence}, frame {frame}")
        else:
            there.append(instance)

    @property
    def instances(self) -> list[Tracked]:
        """All instances, by sequence and frame."""
        return [each for frames in self.sequences.values() for there in frames.values() for each in there]


def read_tracks(path: str | Path, data: TrackingFile | None = None) -> TrackingFile:
    """Read annotations or results.

    Args:
        path: a JSON file in PoseTrack's format (`images` and `annotations` with `track_id`; of results a list of them
            is enough), `NAME.json` that hfpose writes of a video, or a text file in MOT's format.
        data: the annotations that results are of, whose images they name.

    Raises:
        InputError: if the file cannot be read as any of these.
    """
    path = Path(path)
    if path.suffix.lower() in (".txt", ".csv"):
        return _read_mot(path, are_results=data is not None)
    content = read_json(path)
    if isinstance(content, dict) and isinstance(content.get("frames"), list):
        return _read_own(path, content)
    annotations = content.get("annotations") if isinstance(content, dict) else content
    if not isinstance(annotations, list) or not all(isinstance(entry, dict) for entry in annotations):
        raise InputError(
            f"{path} is none of the formats of tracks: PoseTrack's JSON with `images` and `annotations`, a JSON list "
            "of results, `NAME.json` that `hfpose predict --track` writes of a video, or MOT's text with the ending "
            ".txt."
        )
    if annotations and "instances" in annotations[0]:
        return _read_own(path, content)
    return _read_posetrack(path, content, annotations, data)


def _read_own(path: Path, content: Any) -> TrackingFile:
    try:
        frames = frames_of_video(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is no file of hfpose with the results of a video: {error}.") from error
    found = TrackingFile({path.stem: {frame.frame_index: [] for frame in frames}})
    for frame in frames:
        for entry in frame.instances:
            if entry.get("track_id", -1) == -1:
                continue
            points, scores = _table(entry.get("keypoints"), 2), _table(entry.get("keypoint_scores"), 1)
            is_pose = points is not None and scores is not None and len(points) == len(scores)
            keypoints = np.column_stack((points, scores)) if is_pose else None  # type: ignore[arg-type]
            found.add(path.stem, frame.frame_index, Tracked(entry["track_id"], _box(entry.get("bbox")), keypoints))
    return found


def _read_posetrack(
    path: Path, content: Any, annotations: Sequence[Mapping[str, Any]], data: TrackingFile | None
) -> TrackingFile:
    found = TrackingFile()
    if data is not None and data.image_places:
        found.image_places, found.unlabeled = data.image_places, data.unlabeled
    else:
        _take_images(found, path, content)
    categories = content.get("categories") if isinstance(content, dict) else None
    names = next((names for category in _dicts(categories) if (names := category.get("keypoints"))), None)
    found.keypoint_names = tuple(map(str, names)) if isinstance(names, list) else None
    for entry in annotations:
        name = f"annotation of image {entry.get('image_id')}"
        place = found.image_places.get(str(entry.get("image_id")))
        if place is None:
            found.left_out.add("annotation of an image that is not listed", name)
        elif not isinstance(entry.get("track_id"), (int, str)) or entry["track_id"] == -1:
            found.left_out.add("instance without track_id", name)
        elif place not in found.unlabeled:
            box, keypoints = _box(entry.get("bbox"), has_sides=True), _table(entry.get("keypoints"), 3)
            found.add(*place, Tracked(entry["track_id"], box, keypoints, finite_number(entry.get("area"))))
    return found


def _take_images(found: TrackingFile, path: Path, content: Any) -> None:
    """The sequences of PoseTrack's images, each in the order of its frames."""
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise InputError(f"{path} has no list `images`, which says which frame of which video each annotation is of.")
    counts: dict[str, int] = {}
    for image in sorted(
        _dicts(images), key=lambda image: (finite_number(image.get("frame_id")) or 0, _id_order(image))
    ):
        sequence = str(image.get("vid_id") or Path(str(image.get("file_name"))).parent)
        frames, number = found.sequences.setdefault(sequence, {}), counts.get(sequence, 0)
        place = (sequence, number)
        counts[sequence] = number + 1
        found.image_places[str(image.get("id"))] = place
        if image.get("is_labeled", image.get("has_labeled_person", True)):
            frames[number] = []
        else:
            found.unlabeled.add(place)
        polygons = zip(image.get("ignore_regions_x") or (), image.get("ignore_regions_y") or (), strict=False)
        regions = [np.column_stack(polygon).astype(np.float32) for polygon in polygons]
        found.ignored_regions[place] = [region for region in regions if len(region) > 2]


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _id_order(image: Mapping[str, Any]) -> tuple[bool, float | str]:
    return id_order(image["id"] if isinstance(image.get("id"), (int, float)) else str(image.get("id")))


def _read_mot(path: Path, are_results: bool) -> TrackingFile:
    """Lines `frame, identity, x, y, width, height, confidence, class, visibility` with frames from 1.

    All lines of results are of people: of theirs trackers write -1, or 0 as COCO's detectors do, for the class, and
    confidences of any size.
    """
    try:
        lines = path.read_text("utf-8-sig").replace(",", " ").splitlines()
        with warnings.catch_warnings(action="ignore"):  # a file without lines is a sequence without people
            rows = np.loadtxt(lines, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as MOT's text, lines of numbers: {error}.") from error
    found = TrackingFile({path.stem: {}})
    if rows.size and rows.shape[1] < 6:
        raise InputError(f"{path} has lines of {rows.shape[1]} numbers; MOT's have at least 6: frame, id, x, y, w, h.")
    is_finite = np.isfinite(rows).all(1)
    for place in np.flatnonzero(~is_finite).tolist():
        found.left_out.add("line with numbers that are not finite", f"line {place + 1}")
    for row in rows[is_finite].tolist():
        if are_results:
            found.add(path.stem, int(row[0]) - 1, Tracked(int(row[1]), _box(row[2:6], has_sides=True)))
            continue
        # Annotations have 9 numbers, results and MOT15 have 10 without a class.
        label = int(row[7]) if len(row) == 9 else 1
        counts = label in _MOT_PEOPLE and (len(row) < 7 or row[6] != 0)
        if counts or label in _MOT_DISTRACTORS:
            found.add(path.stem, int(row[0]) - 1, Tracked(int(row[1]), _box(row[2:6], has_sides=True), counts=counts))
    return found


def _table(values: Any, columns: int) -> np.ndarray | None:
    """Numbers (L, columns) of a list, null as NaN; None where it is none."""
    try:
        return np.array(values, np.float64).reshape(-1, columns)
    except (TypeError, ValueError):
        return None


def _box(values: Any, has_sides: bool = False) -> np.ndarray | None:
    """Corners (4,) of a box, that of x, y, width and height where it `has_sides`."""
    numbers = finite_numbers(values, 4)
    if numbers is None:
        return None
    x, y, right, bottom = numbers
    return np.array([x, y, x + right, y + bottom] if has_sides else numbers)


def evaluate_tracks(
    data: TrackingFile, results: TrackingFile, schema: KeypointSchema | None = None
) -> dict[By, Metrics]:
    """The measures of results, of boxes by IoU and of poses by OKS, as far as both files have them.

    A result on what is annotated as neither right nor wrong, or within a region that is not annotated, does not count.

    Args:
        data: the annotations; one of its sequences that the results do not have counts as missed.
        results: those of a tracker; where both have one sequence, its name may differ.
        schema: of the keypoints, for the sigmas. Default: the one that the annotations name.

    Raises:
        InputError: if there is nothing that both have, or keypoints of another number or of no known schema.
    """
    has = {name: _all_have(data, name) and _all_have(results, name) for name in ("box", "keypoints")}
    if not any(has.values()):
        raise InputError("There are neither boxes nor keypoints that all the annotations and all the results have.")
    measured: dict[By, Metrics] = {}
    if has["box"]:
        measured["boxes"] = evaluate_tracking(_sequences(data, results, _box_similarity))
    if has["keypoints"] and data.instances:
        schema, notices = with_sigmas(_checked_schema(data, results, schema))
        sigmas = np.array(schema.sigmas)
        measured["poses"] = evaluate_tracking(
            _sequences(data, results, lambda people, tracks: _pose_similarity(people, tracks, sigmas))
        )
        measured["poses"].notices += notices
    for metrics in measured.values():
        metrics.notices += _mismatches(data, results)
    return measured


def _mismatches(data: TrackingFile, results: TrackingFile) -> Iterator[str]:
    """What is to be said of sequences and frames that only one of the files has."""
    pairs = list(_pairs(data, results))
    if unknown := results.sequences.keys() - {other for _, other in pairs}:
        yield f"left out: results of sequences that the annotations do not have: {', '.join(sorted(unknown)[:3])}."
    missing = [name for name, other in pairs if not results.sequences.get(other)]
    if missing and len(pairs) > 1:
        yield f"{len(missing)} of {len(pairs)} sequences have no results, so all in them is missed: {missing[0]}, ..."
    for name, other in pairs:
        frames, found = data.sequences[name], results.sequences.get(other, {})
        labeled = [number for number in found if (name, number) not in data.unlabeled]
        outside = [number for number in labeled if frames and not min(frames) <= number <= max(frames)]
        if outside:
            yield (
                f"{name}: results in {len(outside)} frames before or after those that are annotated are false. Do "
                "both files number frames alike?"
            )


def _pairs(data: TrackingFile, results: TrackingFile) -> Iterator[tuple[str, str]]:
    """Names of sequences in annotations and results: where both have one, its name may differ."""
    alone = len(data.sequences) == len(results.sequences) == 1
    for name in data.sequences:
        yield name, next(iter(results.sequences)) if alone else name


def _all_have(file: TrackingFile, name: str) -> bool:
    return all(getattr(each, name) is not None for each in file.instances)


def known_schema(data: TrackingFile) -> KeypointSchema | None:
    """The schema of the keypoints that annotations name, None where they name none or unknown ones."""
    return None if data.keypoint_names is None else schema_for_names(data.keypoint_names)


def _checked_schema(data: TrackingFile, results: TrackingFile, schema: KeypointSchema | None) -> KeypointSchema:
    schema = schema or known_schema(data)
    if schema is None:
        raise InputError(
            "The annotations name no known keypoints, so nothing is known of their sigmas. Give a schema."
        )
    for instance in (*data.instances, *results.instances):
        assert instance.keypoints is not None
        if len(instance.keypoints) != schema.num_keypoints:
            raise InputError(
                f"An instance has {len(instance.keypoints)} keypoints, but {schema.name!r} has "
                f"{schema.num_keypoints}. Annotations and results need the keypoints of one schema."
            )
    return schema


def _sequences(data: TrackingFile, results: TrackingFile, similarity: Similarity) -> Iterator[list[PairedFrame]]:
    """The sequences of the annotations, each with the results on its frames."""
    for name, other in _pairs(data, results):
        frames, tracked = data.sequences[name], results.sequences.get(other, {})
        people: dict[Any, int] = {}
        tracks: dict[Any, int] = {}
        paired = []
        for number in sorted({*frames, *tracked}):
            if (name, number) in data.unlabeled:
                continue
            there, found = frames.get(number, []), tracked.get(number, [])
            alike = similarity(there, found)
            counts = np.array([each.counts for each in there], bool)
            is_open = ~_excused(counts, alike, found, data.ignored_regions.get((name, number), []))
            paired.append(
                PairedFrame(
                    _indices([each.identity for each in there if each.counts], people),
                    _indices([each.identity for each, is_ in zip(found, is_open, strict=True) if is_], tracks),
                    alike[counts][:, is_open],
                )
            )
        yield paired


def _excused(
    counts: np.ndarray, alike: np.ndarray, found: Sequence[Tracked], regions: Sequence[np.ndarray]
) -> np.ndarray:
    """Which results (M,) are ignored: on an ignored person (N,), or on no person in a region that is not annotated."""
    excused = np.zeros(len(found), bool)
    rows, columns = cheapest_pairs(-np.where(alike >= MATCH_THRESHOLD, alike, 0))
    is_match = alike[rows, columns] >= MATCH_THRESHOLD
    rows, columns = rows[is_match], columns[is_match]
    excused[columns] = ~counts[rows]
    for index in np.setdiff1d(np.arange(len(found)), columns).tolist():
        center = tuple(_extent(found[index]).reshape(2, 2).mean(0).tolist())
        excused[index] = any(cv2.pointPolygonTest(region, center, False) >= 0 for region in regions)
    return excused


def _indices(identities: Iterable[Any], known: dict[Any, int]) -> np.ndarray:
    """Identities as integers from 0, the same for the same in all frames."""
    return np.array([known.setdefault(identity, len(known)) for identity in identities], np.int64)


def _extent(instance: Tracked) -> np.ndarray:
    """The box (4,) of an instance, else that around its keypoints."""
    if instance.box is not None:
        return instance.box
    assert instance.keypoints is not None
    points = instance.keypoints[instance.keypoints[:, 2] > 0, :2]
    return extents(points) if len(points) else np.zeros(4)


def _box_similarity(people: Sequence[Tracked], tracks: Sequence[Tracked]) -> np.ndarray:
    boxes, others = (np.reshape([_extent(each) for each in some], (-1, 4)) for some in (people, tracks))
    return pairwise_iou(boxes, others)


def _pose_similarity(people: Sequence[Tracked], tracks: Sequence[Tracked], sigmas: np.ndarray) -> np.ndarray:
    """OKS (N, M) over the annotated keypoints, as COCO has it; 0 for people without any."""
    if not people or not tracks:
        return np.zeros((len(people), len(tracks)))
    truth, found = (np.array([each.keypoints for each in some], np.float64) for some in (people, tracks))
    areas = np.array([each.area or (_extent(each)[2:] - _extent(each)[:2]).prod() * AREA_OF_BOX for each in people])
    squared = ((truth[:, None, :, :2] - found[None, ..., :2]) ** 2).sum(-1)
    closeness = np.exp(-squared / (2 * (2 * sigmas) ** 2 * (areas[:, None, None] + _EPSILON)))
    is_labeled = (truth[:, None, :, 2] > 0).astype(float)
    return (np.nan_to_num(closeness) * is_labeled).sum(-1) / np.maximum(is_labeled.sum(-1), 1)
