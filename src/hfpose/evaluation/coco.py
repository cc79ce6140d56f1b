"""Average precision and recall of keypoints and boxes, through pycocotools, as COCO and data sets like it define them.

The rules are those of `xtcocotools.cocoeval`, which MMPose's `CocoMetric` and `CocoWholeBodyMetric` measure with.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hfpose.annotations import (
    AnnotatedImage,
    CocoFile,
    annotated_keypoints,
    finite_number,
    finite_numbers,
    id_order,
    is_crowd,
    read_json,
)
from hfpose.errors import ConfigError, HFPoseError
from hfpose.evaluation.coco_results import Result, usable_results
from hfpose.evaluation.metrics import Metrics
from hfpose.keypoints import KeypointSchema
from hfpose.media.left_out import LeftOut
from hfpose.ops.pose_similarity import AREA_OF_BOX

if TYPE_CHECKING:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

# In the order in which pycocotools gives them. M and L are instances of medium and large area, S of small.
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")

# Greatest crowd index of the images that CrowdPose calls easy and medium.
EASY, MEDIUM = 0.2, 0.8

UNIFORM_SIGMA = 0.05

_ONLY_CATEGORY = 1
_AREAS = {"S": "small", "M": "medium", "L": "large"}


@dataclass(frozen=True)
class PrecisionRules:
    """How a data set counts. The defaults are COCO's.

    Args:
        by_category: each category is measured by itself, and the numbers are averaged; else all are taken together.
        result_area: size of a result, which decides whether one that hits nothing counts among the medium or the
            large: `"boxes"`: that of its `bbox` where it has one, as in MMPose; `"keypoints"`: the extent of its
            keypoints.
        uses_area: the `area` of annotations is their size; else a share of their box is.
        parts: slices of the keypoints that are measured by themselves too; the first one gives the extent.
        by_crowding: the precision of easy, medium and hard images instead of that by area.
    """

    by_category: bool = False
    result_area: Literal["boxes", "keypoints"] = "boxes"
    uses_area: bool = True
    parts: Mapping[str, slice] | None = None
    by_crowding: bool = False


def with_sigmas(schema: KeypointSchema) -> tuple[KeypointSchema, list[str]]:
    """A schema that has sigmas, and what is to be said if they are no published ones."""
    if schema.sigmas is not None:
        return schema, []
    notice = (
        f"The schema {schema.name!r} has no sigmas: {UNIFORM_SIGMA} is taken for all {schema.num_keypoints} "
        "keypoints, so its AP compares with nothing but AP of the same sigmas. Give them with --sigmas, or as "
        "`sigmas` of the schema."
    )
    return replace(schema, sigmas=(UNIFORM_SIGMA,) * schema.num_keypoints), [notice]


def read_sigmas(path: Path, schema: KeypointSchema) -> KeypointSchema:
    """The schema with the sigmas of a JSON file: a list of K numbers, or an object of keypoint name -> number.

    Raises:
        ConfigError: if the file holds something else.
    """
    content = read_json(path)
    if isinstance(content, dict):
        content = [content.get(name) for name in schema.keypoint_names]
    sigmas = finite_numbers(content, schema.num_keypoints)
    if sigmas is None or min(sigmas) <= 0:
        raise ConfigError(
            f"{path} holds no sigmas of the schema {schema.name!r}; expected a list of {schema.num_keypoints} numbers "
            f"above 0, or an object with one for each of {', '.join(schema.keypoint_names[:4])}, ..."
        )
    return replace(schema, sigmas=tuple(sigmas))


def evaluate_keypoints(
    coco: CocoFile, results: Sequence[Result], schema: KeypointSchema, rules: PrecisionRules | None = None
) -> Metrics:
    """Average precision and recall of keypoint results; the names are `KEYPOINT_METRICS`.

    Args:
        results: in COCO's format: `image_id`, `keypoints` (x, y and score for each), `score`, and perhaps
            `category_id` and `bbox`. COCO-WholeBody's format is taken too. Results that cannot be used are left out
            and counted.
        schema: of the keypoints; its sigmas say how far is far. One without has uniform ones.
        rules: how to count; None: as COCO does.

    Raises:
        HFPoseError: if pycocotools is not installed; it says how.
    """
    rules = rules or PrecisionRules()
    schema, notices = with_sigmas(schema)
    metrics = Metrics(notices=notices)
    category_ids = coco.keypoint_category_ids
    found = usable_results(coco, results, category_ids, metrics.left_out, schema, by_category=rules.by_category)
    names = [name for name in KEYPOINT_METRICS if not (rules.by_crowding and name[-1] in _AREAS)]
    if results and not found:
        return metrics.without(names, "no result could be used")
    truth, found = truth_and_found(coco, found, schema, rules)
    if rules.uses_area:
        metrics.notices += _area_notices(coco, category_ids)
    sigmas = np.array(schema.sigmas)
    for part, keypoints in (rules.parts or {}).items():
        of_part = cocoeval(*_part_of(truth, found, keypoints), "keypoints", sigmas[keypoints])
        values = dict(zip(KEYPOINT_METRICS, of_part.stats, strict=True))
        for name in ("AP", "AR"):
            metrics.add(f"{name} {part}", values[name], "no instance with labeled keypoints of this part is annotated")
    scored = with_scores(found, metrics.left_out)
    whole = cocoeval(truth, scored, "keypoints", sigmas)
    _add_stats(metrics, KEYPOINT_METRICS, whole.stats, names)
    if rules.by_crowding:
        _add_crowding(metrics, whole, coco)
    return metrics


def _area_notices(coco: CocoFile, category_ids: Sequence[Any]) -> list[str]:
    """What is to be said if annotations have no `area`, which similarity is relative to."""
    areas = [a.get("area") for a in coco.annotations if a.get("category_id") in category_ids]
    without = sum(finite_number(area) is None for area in areas)
    notice = f"{without} of {len(areas)} annotations have no `area` that can be: {AREA_OF_BOX} of their box is taken."
    return [notice] if without else []


def truth_and_found(
    coco: CocoFile, usable: Sequence[Result], schema: KeypointSchema, rules: PrecisionRules
) -> tuple[dict[str, Any], list[Result]]:
    """Annotations and usable results as pycocotools compares them by these rules."""
    category_ids = coco.keypoint_category_ids
    truth = ground_truth(coco, category_ids, schema, counts_stated=rules.by_crowding)
    found = [_detection(result, rules) for result in usable]
    if not rules.uses_area:
        for annotation in truth["annotations"]:
            annotation["area"] = annotation["bbox"][2] * annotation["bbox"][3] * AREA_OF_BOX
    if not rules.by_category:
        truth["categories"] = [{"id": _ONLY_CATEGORY}]
        for entry in (*truth["annotations"], *found):
            entry["category_id"] = _ONLY_CATEGORY
    return truth, found


def evaluate_boxes(coco: CocoFile, results: Sequence[Result], category_ids: Sequence[Any]) -> Metrics:
    """Average precision and recall of boxes; the names are `BOX_METRICS`.

    Args:
        results: in COCO's format: `image_id`, `category_id`, `bbox` (x, y, width, height), `score`. Results that
            cannot be used are left out and counted.
        category_ids: the categories to measure.

    Raises:
        HFPoseError: if pycocotools is not installed; it says how.
    """
    metrics = Metrics()
    found = usable_results(coco, results, category_ids, metrics.left_out, by_category=True)
    if results and not found:
        return metrics.without(BOX_METRICS, "no result could be used")
    entries = [dict(result, area=result["bbox"][2] * result["bbox"][3]) for result in found]
    evaluation = cocoeval(ground_truth(coco, category_ids), entries, "bbox")
    _add_stats(metrics, BOX_METRICS, evaluation.stats, BOX_METRICS)
    return metrics


def _detection(result: Result, rules: PrecisionRules) -> Result:
    """A result as pycocotools takes it."""
    keypoints = np.array(result["keypoints"]).reshape(-1, 3)
    box = result["bbox"]
    if box is None or rules.result_area == "keypoints":
        body = keypoints[next(iter(rules.parts.values()))] if rules.parts else keypoints
        corner, other = body[:, :2].min(0), body[:, :2].max(0)
        box = [*corner.tolist(), *(other - corner).tolist()]
    return dict(result, bbox=box, area=box[2] * box[3])


def _part_of(truth: dict[str, Any], found: Sequence[Result], keypoints: slice) -> tuple[dict[str, Any], list[Result]]:
    """Annotations and results of some of the keypoints."""
    values = slice(3 * keypoints.start, 3 * keypoints.stop)

    def cut(entry: Mapping[str, Any]) -> dict[str, Any]:
        part = entry["keypoints"][values]
        return {**entry, "keypoints": part, "num_keypoints": sum(value > 0 for value in part[2::3])}

    return truth | {"annotations": list(map(cut, truth["annotations"]))}, with_scores(map(cut, found))


def with_scores(found: Iterable[Result], left_out: LeftOut | None = None) -> list[Result]:
    """Results of which a keypoint at least has a score: the reference does not count the others, which are counted in
    `left_out`.
    """
    scored = []
    for result in found:
        if any(score > 0 for score in result["keypoints"][2::3]):
            scored.append(result)
        elif left_out is not None:
            left_out.add("result in which no keypoint has a score above 0", f"one of image {result['image_id']}")
    return scored


def require_pycocotools() -> None:
    """Find out before a model runs whether average precision can be computed.

    Raises:
        HFPoseError: if pycocotools is not installed.
    """
    try:
        import pycocotools  # noqa: F401
    except ModuleNotFoundError as error:
        raise HFPoseError(
            "Average precision is computed by pycocotools, which is not installed: pip install 'hfpose[eval]'."
        ) from error


def cocoeval(
    truth: dict[str, Any],
    found: Sequence[Result],
    kind: Literal["keypoints", "bbox"],
    sigmas: np.ndarray | None = None,
) -> COCOeval:
    """pycocotools' evaluation with its numbers; the results are numbered from 1 in their order, images and categories
    by their place in `truth`, since pycocotools sorts ids, which may be numbers beside texts. `sigmas` (K,) are those
    of the keypoints.
    """
    require_pycocotools()
    from pycocotools.cocoeval import COCOeval

    images, categories = (
        {entry["id"]: place for place, entry in enumerate(truth[k])} for k in ("images", "categories")
    )

    def numbered(entry: Mapping[str, Any]) -> dict[str, Any]:
        return {**entry, "image_id": images[entry["image_id"]], "category_id": categories[entry["category_id"]]}

    entries = [dict(numbered(result), id=index, iscrowd=0) for index, result in enumerate(found, 1)]
    truth = {
        "images": [{"id": place} for place in images.values()],
        "categories": [{"id": place} for place in categories.values()],
        "annotations": list(map(numbered, truth["annotations"])),
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints
        evaluation = COCOeval(_index(truth), _index(truth | {"annotations": entries}), kind)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _index(content: dict[str, Any]) -> COCO:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def _add_stats(metrics: Metrics, names: Sequence[str], values: Sequence[float], wanted: Sequence[str]) -> None:
    for name, value in zip(names, values, strict=True):
        if name in wanted:
            area = _AREAS.get(name[-1])
            metrics.add(
                name, value, f"no instance {f'of {area} area ' if area else ''}is annotated that could be found"
            )


def _add_crowding(metrics: Metrics, evaluation: COCOeval, coco: CocoFile) -> None:
    """Precision of easy, medium and hard images, rounded to four digits as the reference does."""
    for image in coco.images:
        if image.crowd_index is None:
            metrics.left_out.add("image without `crowdIndex`, so neither easy nor medium nor hard", image.path.name)
    bounds = {"easy": (-np.inf, EASY), "medium": (EASY, MEDIUM), "hard": (MEDIUM, np.inf)}
    indices = [image.crowd_index for image in _in_order(coco)]
    for name, (low, high) in bounds.items():
        evaluation.params.imgIds = [
            place for place, index in enumerate(indices) if index is not None and low <= index < high
        ]
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation.evaluate()
            evaluation.accumulate()
        value = round(float(np.mean(evaluation.eval["precision"][:, :, :, 0, :])), 4)
        metrics.add(f"AP {name}", value, f"no image has a `crowdIndex` from {low:g} up to {high:g} and an instance")


def _in_order(coco: CocoFile) -> list[AnnotatedImage]:
    """The images in the order of their ids, in which pycocotools takes results of the same score."""
    return sorted(coco.images, key=lambda image: id_order(image.id))


def ground_truth(
    coco: CocoFile, category_ids: Sequence[Any], schema: KeypointSchema | None = None, *, counts_stated: bool = False
) -> dict[str, Any]:
    """The content of a file as pycocotools wants it.

    What annotations may lack is filled in: `area` from the box, `num_keypoints`, `iscrowd`. Those whose box cannot be
    read do not take part; those whose keypoints cannot be read have none, so that what is found there is not wrong.
    Both are counted in `coco.left_out`.

    Args:
        schema: of the keypoints; None where boxes are measured.
        counts_stated: take `num_keypoints` from the file where it is there: CrowdPose counts the visible ones alone.
    """
    annotations: list[dict[str, Any]] = []
    for annotation in coco.annotations:
        if annotation.get("category_id") not in category_ids:
            continue
        box = finite_numbers(annotation.get("bbox"), 4)
        if box is None:
            coco.leave_out(annotation, "bbox that is not x, y, width, height")
            continue
        area = finite_number(annotation.get("area"))
        if area is None:
            area = box[2] * box[3] * AREA_OF_BOX
        crowd = int(is_crowd(annotation))
        entry = dict(annotation, id=len(annotations) + 1, iscrowd=crowd, bbox=box, area=area)  # the id 0 means none
        if schema is not None:
            reason, read = annotated_keypoints(annotation, schema)
            if reason is not None and not crowd:
                coco.leave_out(annotation, reason)
            keypoints = np.zeros((schema.num_keypoints, 3)) if read is None else read
            stated = annotation.get("num_keypoints") if counts_stated else None
            count = int((keypoints[:, 2] > 0).sum()) if stated is None else stated
            entry |= {"keypoints": keypoints.flatten().tolist(), "num_keypoints": count}
        annotations.append(entry)
    return {
        "images": [{"id": image.id} for image in _in_order(coco)],
        "categories": [{"id": category_id} for category_id in category_ids],
        "annotations": annotations,
    }
