"""What kinds of errors keypoint results have, and what average precision each kind costs.

Source: Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017, with the
thresholds of its code (`coco-analyze`).

Shapes: N annotated instances with labeled keypoints, K keypoints.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hfpose.annotations import CocoFile
from hfpose.errors import InputError
from hfpose.evaluation.coco import PrecisionRules, cocoeval, truth_and_found, with_scores, with_sigmas
from hfpose.evaluation.coco_results import Result, stacked_keypoints, usable_results
from hfpose.keypoints import KeypointSchema
from hfpose.media.left_out import LeftOut
from hfpose.ops.boxes import pairwise_iou

# What a labeled keypoint is. The last one: its instance has no result at all.
KINDS = ("good", "jitter", "inversion", "swap", "miss", "not found")
GOOD, JITTER, INVERSION, SWAP, MISS, NOT_FOUND = range(len(KINDS))
UNLABELED = -1

# What can be mended, in the order in which the paper mends one after the other.
MENDABLE = ("miss", "swap", "inversion", "jitter", "score", "false positive", "false negative")

# Similarity of a keypoint to the place it is compared with: right from the first on, near it from the second on.
GOOD_SIMILARITY, NEAR_SIMILARITY = 0.85, 0.5

# Minimum OKS at which a result is taken for an annotated instance.
MATCH_OKS = 0.1

# Boxes that overlap by this IoU count as overlapping.
OVERLAP_IOU = 0.1

# Of the ten OKS thresholds of pycocotools the one whose curves are kept: 0.75.
CURVE_OKS_INDEX = 5


@dataclass(frozen=True)
class ErrorAnalysis:
    """The errors of results.

    Attributes:
        schema: of the keypoints.
        kinds: (N, K) index into `KINDS`, `UNLABELED` where nothing is annotated.
        oks: (N,) of each instance with its result, 0 where there is none.
        instances: N annotations, as pycocotools takes them.
        results: the results that take part.
        matches: (N,) index of each instance's result, -1 where there is none.
        false_positives: indices of the results that are no annotated instance.
        groups: what the keypoints are grouped by -> group -> (N, K) mask.
        average_precision: as it is.
        mended: kind of error -> average precision without the errors of that kind alone; NaN where nothing is left to
            be found.
        curves: name -> (101,) precision at recalls from 0 to 1 and OKS 0.75: as it is, then each kind of error mended
            together with those before.
        left_out: results that could not be used.
    """

    schema: KeypointSchema
    kinds: np.ndarray
    oks: np.ndarray
    instances: list[dict[str, Any]]
    results: list[Result]
    matches: np.ndarray
    false_positives: np.ndarray
    groups: Mapping[str, Mapping[str, np.ndarray]]
    average_precision: float
    mended: Mapping[str, float]
    curves: Mapping[str, np.ndarray]
    left_out: LeftOut

    def shares(self, mask: np.ndarray | None = None) -> dict[str, float]:
        """Kind -> share of the labeled keypoints, of all or of those in a mask (N, K); NaN where there are none."""
        kinds = self.kinds if mask is None else self.kinds[mask]
        counts = np.bincount(kinds[kinds != UNLABELED], minlength=len(KINDS))
        return dict(zip(KINDS, (counts / counts.sum() if counts.any() else counts + np.nan).tolist(), strict=True))

    @property
    def gains(self) -> dict[str, float]:
        """Kind of error -> average precision that it would give back, in the order of `MENDABLE`."""
        return {kind: value - self.average_precision for kind, value in self.mended.items()}

    @property
    def keypoint_masks(self) -> dict[str, np.ndarray]:
        """Name of a keypoint -> its mask (N, K)."""
        columns = np.eye(self.schema.num_keypoints, dtype=bool)[:, None].repeat(len(self.kinds), 1)
        return dict(zip(self.schema.keypoint_names, columns, strict=True))

    @property
    def by_keypoint(self) -> dict[str, dict[str, float]]:
        """Name of a keypoint -> kind -> share of its labeled ones."""
        return {name: self.shares(mask) for name, mask in self.keypoint_masks.items()}

    def worst_images(self, count: int) -> list[Any]:
        """Ids of the images that lose most: 1 - OKS for each instance and 1 for each false positive."""
        lost: dict[Any, float] = {}
        for instance, oks in zip(self.instances, self.oks.tolist(), strict=True):
            lost[instance["image_id"]] = lost.get(instance["image_id"], 0) + 1 - oks
        for index in self.false_positives.tolist():
            image_id = self.results[index]["image_id"]
            lost[image_id] = lost.get(image_id, 0) + 1
        return sorted(lost, key=lambda image_id: -lost[image_id])[:count]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; a share of nothing is None."""

        def plain(shares: Mapping[str, float]) -> dict[str, float | None]:
            return {kind: None if np.isnan(share) else share for kind, share in shares.items()}

        groups = {
            name: {group: plain(self.shares(mask)) for group, mask in masks.items()}
            for name, masks in self.groups.items()
        }
        return {
            "AP": self.average_precision,
            "AP given back": plain(self.gains),
            "instances": len(self.kinds),
            "false negatives": int((self.matches < 0).sum()),
            "false positives": len(self.false_positives),
            "labeled keypoints": int((self.kinds != UNLABELED).sum()),
            "shares": plain(self.shares()),
            "by keypoint": {name: plain(shares) for name, shares in self.by_keypoint.items()},
            **{f"by {name}": shares for name, shares in groups.items()},
        }


def analyze_errors(
    coco: CocoFile, results: Sequence[Result], schema: KeypointSchema, rules: PrecisionRules | None = None
) -> ErrorAnalysis:
    """Sort the errors of results by kind, and measure what average precision each kind costs.

    A keypoint of an instance that was found is good from a similarity of 0.85 to its true place on, and jitter from
    0.5 on. Else it is an inversion near the true place of its mirror image (`flip_indices`), a swap near that of the
    same keypoint, or its mirror image, of another instance, whichever is nearer, and a miss where it is near none.

    Raises:
        HFPoseError: if pycocotools is not installed; it says how.
        InputError: if no annotated instance has labeled keypoints.
    """
    rules = rules or PrecisionRules()
    schema = with_sigmas(schema)[0]
    left_out = LeftOut()
    usable = usable_results(coco, results, coco.keypoint_category_ids, left_out, schema, by_category=rules.by_category)
    truth, found = truth_and_found(coco, usable, schema, rules)
    found = with_scores(found)
    instances = [a for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    if not instances:
        raise InputError(f"{coco.path} has no instance with labeled keypoints, so there are no errors to analyze.")
    sigmas = np.array(schema.sigmas)
    evaluation = cocoeval(truth, found, "keypoints", sigmas)
    average_precision, curve = _precision(evaluation)
    matches, false_positives = _matches(evaluation, instances)
    kinds, oks = _sort_out(instances, found, matches, schema)
    mending = _Mending(truth, found, instances, matches, false_positives, kinds, oks)
    mended, curves = {}, {"as it is": curve}
    together = mending
    for kind in MENDABLE:
        mended[kind] = _precision(cocoeval(*mending.without(kind).inputs, "keypoints", sigmas))[0]
        together = together.without(kind)
        curves[f"+ {kind}"] = _precision(cocoeval(*together.inputs, "keypoints", sigmas))[1]
    return ErrorAnalysis(
        schema, kinds, oks, instances, found, matches, false_positives, _groups(instances, schema), average_precision,
        mended, curves, left_out,
    )  # fmt: skip


def _precision(evaluation: Any) -> tuple[float, np.ndarray]:
    """Average precision, and the precision (101,) over the recall at OKS 0.75."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]  # OKS thresholds, recalls, categories
    precision = np.where(precision < 0, np.nan, precision)
    with warnings.catch_warnings(action="ignore"):  # of what is NaN all over
        return float(np.nanmean(precision)), np.nanmean(precision[CURVE_OKS_INDEX], axis=-1)


def _matches(evaluation: Any, instances: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The index of each instance's result (N,), -1 for none, and those of the results that are no instance."""
    evaluation.params.iouThrs = np.array([MATCH_OKS])
    evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        evaluation.evaluate()
    result_ids: dict[int, int] = {}
    false_positives: list[int] = []
    for image in filter(None, evaluation.evalImgs):
        result_ids |= dict(zip(image["gtIds"], image["gtMatches"][0].astype(int).tolist(), strict=True))
        wrong = (image["dtMatches"][0] == 0) & ~image["dtIgnore"][0].astype(bool)
        false_positives += np.array(image["dtIds"], np.int64)[wrong].tolist()
    return np.array([result_ids.get(a["id"], 0) for a in instances]) - 1, np.array(false_positives, np.int64) - 1


def _sort_out(
    instances: Sequence[Mapping[str, Any]], found: Sequence[Result], matches: np.ndarray, schema: KeypointSchema
) -> tuple[np.ndarray, np.ndarray]:
    """Kinds (N, K) and OKS (N,)."""
    truth = stacked_keypoints(instances)
    areas = np.array([a["area"] for a in instances]) + np.spacing(1)
    labeled = truth[..., 2] > 0
    kinds, oks = np.where(labeled, NOT_FOUND, UNLABELED), np.zeros(len(instances))
    rows_of: dict[Any, list[int]] = {}
    for row, instance in enumerate(instances):
        rows_of.setdefault(instance["image_id"], []).append(row)
    for rows in map(np.array, rows_of.values()):
        places = np.flatnonzero(matches[rows] >= 0)  # among the instances of the image
        if len(places):
            predicted = stacked_keypoints([found[index] for index in matches[rows[places]]])
            of_image, own = _kinds_of_image(predicted[..., :2], truth[rows], areas[rows], places, schema)
            known = labeled[rows[places]]
            kinds[rows[places]] = np.where(known, of_image, UNLABELED)
            oks[rows[places]] = (own * known).sum(1) / np.maximum(known.sum(1), 1)
    return kinds, oks


def _kinds_of_image(
    predicted: np.ndarray, truth: np.ndarray, areas: np.ndarray, places: np.ndarray, schema: KeypointSchema
) -> tuple[np.ndarray, np.ndarray]:
    """Kinds (P, K) of P predictions of an image, and the similarity (P, K) of their keypoints to the true places.

    Args:
        predicted: (P, K, 2).
        truth: (G, K, 3) of all instances of the image; areas: (G,).
        places: (P,) which of them each prediction is meant for.
    """
    flip = np.array(schema.flip_indices or range(schema.num_keypoints))
    scales = 2 * areas[:, None] * np.square(2 * np.array(schema.sigmas))

    def similarity(order: np.ndarray) -> np.ndarray:
        squares = np.square(predicted[:, None] - truth[None, :, order, :2]).sum(-1)
        return np.exp(-squares / scales[:, order]) * (truth[:, order, 2] > 0)

    straight, mirrored = similarity(np.arange(len(flip))), similarity(flip)
    each = np.arange(len(places))
    own, inverted = straight[each, places], mirrored[each, places] * (flip != np.arange(len(flip)))
    others = np.maximum(straight, mirrored)
    others[each, places] = 0
    swapped = others.max(1)
    kinds = np.where(inverted >= swapped, INVERSION, SWAP)
    kinds[np.maximum(inverted, swapped) < NEAR_SIMILARITY] = MISS
    kinds[own >= NEAR_SIMILARITY] = JITTER
    kinds[own >= GOOD_SIMILARITY] = GOOD
    return kinds, own


def _groups(instances: Sequence[Mapping[str, Any]], schema: KeypointSchema) -> dict[str, dict[str, np.ndarray]]:
    """Masks (N, K) by size, occlusion and overlap, with the bounds of COCO and of the paper."""
    visibility = stacked_keypoints(instances)[..., 2]
    areas, visible = np.array([a["area"] for a in instances]), (visibility == 2).mean(1)
    overlaps = _overlapping_boxes(instances)
    of_instances = {
        "size": {
            "small (below 32 x 32)": areas < 32**2,
            "medium (below 96 x 96)": (areas >= 32**2) & (areas < 96**2),
            "large": areas >= 96**2,
        },
        "occlusion": {
            "over 2/3 of the keypoints visible": visible > 2 / 3,
            "1/3 to 2/3 visible": (visible >= 1 / 3) & (visible <= 2 / 3),
            "below 1/3 visible": visible < 1 / 3,
        },
        "overlap": {
            "no other box": overlaps == 0,
            "1 or 2 other boxes": (overlaps > 0) & (overlaps < 3),
            "3 or more": overlaps >= 3,
        },
    }
    groups = {
        name: {group: np.broadcast_to(rows[:, None], visibility.shape) for group, rows in masks.items()}
        for name, masks in of_instances.items()
    }
    groups["occlusion"] |= {"the keypoint is visible": visibility == 2, "the keypoint is hidden": visibility == 1}
    return groups


def _overlapping_boxes(instances: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """How many other instances' boxes overlap each one's (N,)."""
    boxes = np.array([a["bbox"] for a in instances])
    boxes[:, 2:] += boxes[:, :2]
    images = np.unique([str(a["image_id"]) for a in instances], return_inverse=True)[1]
    counts = np.zeros(len(boxes), np.int64)
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        counts[rows] = (pairwise_iou(boxes[rows], boxes[rows]) >= OVERLAP_IOU).sum(1) - 1
    return counts


@dataclass(frozen=True)
class _Mending:
    """Annotations and results of which errors are taken away."""

    truth: dict[str, Any]
    found: list[Result]
    instances: Sequence[Mapping[str, Any]]
    matches: np.ndarray
    false_positives: np.ndarray
    kinds: np.ndarray
    oks: np.ndarray
    removed: frozenset[int] = frozenset()

    @property
    def inputs(self) -> tuple[dict[str, Any], list[Result]]:
        return self.truth, [result for index, result in enumerate(self.found) if index not in self.removed]

    def without(self, kind: str) -> _Mending:
        """Itself without the errors of one kind of `MENDABLE`: keypoints are put to their true places, a score is the
        OKS, results that are no instance go, and instances without a result are not asked for.
        """
        if kind == "false positive":
            return replace(self, removed=frozenset(self.false_positives.tolist()))
        if kind == "false negative":
            lost = {self.instances[row]["id"] for row in np.flatnonzero(self.matches < 0).tolist()}
            kept = [a | {"num_keypoints": 0} if a["id"] in lost else a for a in self.truth["annotations"]]
            return replace(self, truth=self.truth | {"annotations": kept})
        found = list(self.found)
        if kind == "score":
            found = [result | {"score": 0.0} for result in found]
        for row in np.flatnonzero(self.matches >= 0).tolist():
            index = self.matches[row]
            if kind == "score":
                found[index] = found[index] | {"score": float(self.oks[row])}
            elif (wrong := self.kinds[row] == KINDS.index(kind)).any():
                keypoints = np.array(found[index]["keypoints"]).reshape(-1, 3)
                keypoints[wrong, :2] = np.array(self.instances[row]["keypoints"]).reshape(-1, 3)[wrong, :2]
                found[index] = found[index] | {"keypoints": keypoints.flatten().tolist()}
        return replace(self, found=found)
