"""How data sets are measured in their papers, as data: `hfpose eval --protocol NAME`.

Each gives what MMPose 1.3.2's evaluator of the data set gives (`mmpose.evaluation.metrics`, with the settings of
`configs/_base_/datasets` and the models' configs).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hfpose.annotations import (
    CocoFile,
    PoseInstances,
    annotation_name,
    check_keypoints,
    finite_number,
    finite_numbers,
    pose_instances,
)
from hfpose.errors import ConfigError
from hfpose.evaluation.coco import PrecisionRules, evaluate_keypoints
from hfpose.evaluation.coco_results import WHOLE_BODY_SLICES, Result, usable_results
from hfpose.evaluation.metrics import (
    NME_KEYPOINTS,
    Metrics,
    auc,
    box_sizes,
    epe,
    keypoint_pck,
    keypoint_sizes,
    nme,
    pck,
)
from hfpose.keypoints import KeypointSchema, schema_for_names

PCK_THRESHOLDS = (0.05, 0.2)

# Length of a side of a region whose `scale` is 1, in annotations of faces and of MPII.
SCALE_UNIT = 200.0

# Length of a head relative to the diagonal of its box, as MPII has it.
HEAD_SHARE = 0.6

NOTHING = "no instance has a prediction and a labeled keypoint"


@dataclass(frozen=True)
class Matched:
    """N annotated instances with the prediction for each.

    Attributes:
        schema: of the keypoints.
        predicted, target: (N, K, 2) pixels.
        mask: (N, K) True for labeled keypoints.
        boxes: (N, 4) x1, y1, x2, y2 as annotated.
        head_sizes: (N,) pixels, NaN where the annotation tells none.
    """

    schema: KeypointSchema
    predicted: np.ndarray
    target: np.ndarray
    mask: np.ndarray
    boxes: np.ndarray
    head_sizes: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """How a data set is measured.

    Args:
        schema: name of its keypoints, None for any.
        precision: how average precision counts, None where it is not measured.
        distances: adds measures of predictions for annotated boxes, where it is known which is for which.
        boxes_from_scale: boxes are those of `center` and `scale` of the annotations.
    """

    schema: str | None = None
    precision: PrecisionRules | None = None
    distances: Callable[[Matched, Metrics], None] | None = None
    boxes_from_scale: bool = False


# Distances


def _all_distances(found: Matched, metrics: Metrics) -> None:
    _hand(found, metrics, PCK_THRESHOLDS)
    if found.schema.name in NME_KEYPOINTS:
        _nme(found, metrics)


def _hand(found: Matched, metrics: Metrics, thresholds: Sequence[float] = (0.2,)) -> None:
    pairs = (found.predicted, found.target, found.mask)
    for threshold in thresholds:
        metrics.add(f"PCK@{threshold:g}", pck(*pairs, box_sizes(found.boxes), threshold), NOTHING)
    metrics.add("AUC", auc(*pairs), NOTHING)
    metrics.add("EPE", epe(*pairs), NOTHING)


def _nme(found: Matched, metrics: Metrics) -> None:
    """In units of the distance of the eyes where the schema has them, else of the box."""
    eyes = NME_KEYPOINTS.get(found.schema.name)
    sizes = box_sizes(found.boxes) if eyes is None else keypoint_sizes(found.target, *eyes)
    metrics.add("NME", nme(found.predicted, found.target, found.mask, sizes), NOTHING)


def _head_pck(found: Matched, metrics: Metrics) -> None:
    """PCKh in percent: keypoints weigh as much as they are labeled often, and those of the torso do not count.

    Source: `mmpose.evaluation.metrics.MpiiPCKAccuracy`.
    """
    arguments = (found.predicted, found.target, found.mask, np.nan_to_num(found.head_sizes))
    if not np.isfinite(found.head_sizes).any():
        metrics.without(["PCKh"], "no annotation has a `head_size` or a `headbox`; give MPII's file with --head-boxes")
        return
    if without := int((~np.isfinite(found.head_sizes)).sum()):
        metrics.notices.append(
            f"{without} of {len(found.head_sizes)} instances have no `head_size` or `headbox`: not counted in PCKh."
        )
    names = found.schema.keypoint_names
    torso = [found.schema.index("pelvis"), found.schema.index("thorax")]
    weights = found.mask.sum(0) * ~np.isin(np.arange(len(names)), torso)
    shares = 100 * keypoint_pck(*arguments, 0.5)
    for part in ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        of_part = [
            index for index, name in enumerate(names) if name in (f"{part}_top", f"left_{part}", f"right_{part}")
        ]
        metrics.add(f"PCKh {part}", float(np.mean(shares[of_part])), "a keypoint of this part is labeled nowhere")
    for name, threshold in (("PCKh", 0.5), ("PCKh@0.1", 0.1)):
        values = np.nan_to_num(100 * keypoint_pck(*arguments, threshold))
        metrics.add(name, float((values * weights).sum() / weights.sum()) if weights.any() else np.nan, NOTHING)


_WHOLE_BODY = PrecisionRules(result_area="keypoints", parts=WHOLE_BODY_SLICES)
_COCO = PrecisionRules()

COCO = Protocol(precision=_COCO, distances=_all_distances)

PROTOCOLS: Mapping[str, Protocol] = {
    "coco": COCO,
    "coco_wholebody": Protocol("coco_wholebody", _WHOLE_BODY),
    "crowdpose": Protocol("crowdpose", PrecisionRules(uses_area=False, by_crowding=True)),
    "aic": Protocol("aic", PrecisionRules(uses_area=False)),
    "humanart": Protocol("humanart", _COCO),
    **{name: Protocol(name, PrecisionRules(by_category=True)) for name in ("ap10k", "animalpose")},
    "mpii": Protocol("mpii", distances=_head_pck),
    **{name: Protocol(name, distances=_hand) for name in ("onehand10k", "freihand2d", "rhd2d", "coco_wholebody_hand")},
    **{name: Protocol(name, distances=_nme, boxes_from_scale=True) for name in ("wflw", "300w", "aflw")},
    **{name: Protocol(name, distances=_nme) for name in ("cofw", "lapa", "coco_wholebody_face")},
}

HUMAN36M_PROTOCOLS: Mapping[str, Sequence[str]] = {
    "h36m": ("MPJPE", "P-MPJPE"),
    "h36m-p1": ("MPJPE",),
    "h36m-p2": ("P-MPJPE",),
}
"""Metrics of the protocols of 3D keypoints, see `hfpose.evaluation.mpjpe`."""


def get_protocol(name: str) -> Protocol:
    """The protocol of a data set.

    Raises:
        ConfigError: for an unknown name.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"Unknown protocol {name!r}. There are: {', '.join([*PROTOCOLS, *HUMAN36M_PROTOCOLS])}.")
    return PROTOCOLS[name]


def measured_instances(coco: CocoFile, schema: KeypointSchema, protocol: Protocol) -> PoseInstances:
    """The annotated instances with the boxes that the protocol takes.

    Raises:
        InputError: if the file has other keypoints, or no instance that can be used.
    """
    check_keypoints(coco, schema)
    instances = pose_instances(coco, schema)
    if not protocol.boxes_from_scale:
        return instances
    boxes = instances.boxes.copy()
    for row, annotation in enumerate(instances.annotations):
        center, scale = finite_numbers(annotation.get("center"), 2), finite_number(annotation.get("scale"))
        if center is not None and scale is not None:
            half = scale * SCALE_UNIT / 2
            boxes[row] = (center[0] - half, center[1] - half, center[0] + half, center[1] + half)
    return replace(instances, boxes=boxes)


def measure(
    coco: CocoFile,
    results: Sequence[Result],
    schema: KeypointSchema,
    protocol: Protocol = COCO,
    pairs: Sequence[Result] | None = None,
) -> Metrics:
    """Measure results as a protocol does.

    Args:
        results: in COCO's format.
        pairs: results with `annotation_id`, which distances are measured of. None: `results` where the protocol
            measures nothing else.

    Raises:
        InputError: if the annotations name keypoints of another known schema.
    """
    if schema_for_names(coco.keypoint_names or ()) is not None:
        check_keypoints(coco, schema)
    metrics = Metrics()
    if protocol.precision is not None:
        metrics.include(evaluate_keypoints(coco, results, schema, protocol.precision))
    elif pairs is None:
        pairs = results
    if protocol.distances is not None and pairs is not None:
        found = _matched(coco, measured_instances(coco, schema, protocol), pairs, schema, metrics)
        protocol.distances(found, metrics)
    return metrics


def _matched(
    coco: CocoFile, instances: PoseInstances, results: Sequence[Result], schema: KeypointSchema, metrics: Metrics
) -> Matched:
    """The predictions of annotated instances: by `annotation_id`, or the only one of an image with one instance."""
    usable = usable_results(coco, results, coco.keypoint_category_ids, metrics.left_out, schema)
    by_id: dict[tuple[Any, Any], list[Result]] = {}
    by_image: dict[Any, list[Result]] = {}
    for result in usable:
        if "annotation_id" in result:
            by_id.setdefault((result["image_id"], result["annotation_id"]), []).append(result)
        by_image.setdefault(result["image_id"], []).append(result)
    counts = np.bincount(instances.image_indices, minlength=len(instances.images))
    ids = [(annotation["image_id"], annotation.get("id")) for annotation in instances.annotations]
    shared = Counter(ids)
    rows, predicted = [], []
    for row, (index, annotation) in enumerate(zip(instances.image_indices, instances.annotations, strict=True)):
        image_id = annotation["image_id"]
        alone = by_image.get(image_id, []) if counts[index] == 1 else []
        match = alone[0] if len(alone) == 1 else None
        if own := by_id.get(ids[row]):
            match = own[-1] if shared[ids[row]] == 1 else own.pop(0)  # in order where no id tells instances apart
        if match is None:
            reason = "instance for which no result is known: give results an `annotation_id`"
            metrics.left_out.add(reason, annotation_name(annotation))
        else:
            rows.append(row)
            predicted.append(np.array(match["keypoints"]).reshape(-1, 3)[:, :2])
    return Matched(
        schema,
        np.array(predicted).reshape(len(rows), schema.num_keypoints, 2),
        instances.keypoints[rows],
        instances.visibility[rows] > 0,
        instances.boxes[rows],
        np.array([_head_size(instances.annotations[row]) for row in rows]).reshape(len(rows)),
    )


def _head_size(annotation: Mapping[str, Any]) -> float:
    """Length of a head: `head_size`, or from its box x1, y1, x2, y2 in `headbox`; NaN where neither is there."""
    size, box = finite_number(annotation.get("head_size")), finite_numbers(annotation.get("headbox"), 4)
    if size is None and box is not None:
        size = HEAD_SHARE * float(np.hypot(box[2] - box[0], box[3] - box[1]))
    return np.nan if size is None else size
