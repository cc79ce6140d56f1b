"""COCO's average precision and recall of keypoints and boxes, through pycocotools, and results in COCO's format.

Results: https://cocodataset.org/#format-results. Scores and duplicate suppression follow
`mmpose.evaluation.metrics.CocoMetric`.
"""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hfpose.annotations import CocoFile, ground_truth, read_json
from hfpose.errors import ConfigError, HFPoseError, InputError
from hfpose.keypoints import KeypointSchema

if TYPE_CHECKING:
    from pycocotools.coco import COCO

Result = dict[str, Any]

# In the order in which pycocotools gives them. M and L are instances of medium and large area, S of small.
KEYPOINT_METRICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
BOX_METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")

# Keypoints below this score do not enter the score of their instance.
KEYPOINT_SCORE_THRESHOLD = 0.2
OKS_NMS_THRESHOLD = 0.9

_ONLY_CATEGORY = 1


def evaluate_keypoints(coco: CocoFile, results: Sequence[Result], schema: KeypointSchema) -> dict[str, float]:
    """Average precision and recall of keypoint results; the names are `KEYPOINT_METRICS`, a measure of nothing is NaN.

    Instances of all categories with keypoints are taken together.

    Args:
        coco: the annotations.
        results: in COCO's format: `image_id`, `keypoints` (x, y and anything third for each), `score`.
        schema: of the keypoints; its sigmas say how far is far.

    Raises:
        ConfigError: if the schema has no sigmas.
        InputError: if a result is not of this form or of an image that is not annotated.
        HFPoseError: if pycocotools is not installed; it says how.
    """
    if schema.sigmas is None:
        raise ConfigError(
            f"The schema {schema.name!r} has no sigmas, so its average precision is not defined. Add `sigmas`, one for each "
            "keypoint, to the schema, or use PCK, AUC, EPE and NME."
        )
    _check_results(coco, results, "keypoints", 3 * schema.num_keypoints)
    truth = ground_truth(coco, coco.keypoint_category_ids, schema)
    truth["categories"] = [{"id": _ONLY_CATEGORY}]
    for annotation in truth["annotations"]:
        annotation["category_id"] = _ONLY_CATEGORY
    given = [dict(result, category_id=_ONLY_CATEGORY) for result in results]
    return _measure(truth, given, "keypoints", KEYPOINT_METRICS, np.array(schema.sigmas))


def evaluate_boxes(coco: CocoFile, results: Sequence[Result], category_ids: Sequence[Any]) -> dict[str, float]:
    """Average precision and recall of boxes; the names are `BOX_METRICS`, a measure of nothing is NaN.

    Args:
        coco: the annotations.
        results: in COCO's format: `image_id`, `category_id`, `bbox` (x, y, width, height), `score`.
        category_ids: the categories to measure.

    Raises:
        InputError: if a result is not of this form or of an image that is not annotated.
        HFPoseError: if pycocotools is not installed; it says how.
    """
    _check_results(coco, results, "bbox", 4)
    return _measure(ground_truth(coco, category_ids), results, "bbox", BOX_METRICS)


def _measure(
    truth: dict[str, Any],
    results: Sequence[Result],
    kind: Literal["keypoints", "bbox"],
    names: Sequence[str],
    sigmas: np.ndarray | None = None,
) -> dict[str, float]:
    try:
        from pycocotools.cocoeval import COCOeval
    except ModuleNotFoundError as error:
        raise HFPoseError(
            "Average precision is computed by pycocotools, which is not installed: pip install 'hfpose[eval]'."
        ) from error
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools talks
        annotated = _index(truth)
        found = annotated.loadRes(copy.deepcopy(list(results))) if results else _index(truth | {"annotations": []})
        evaluation = COCOeval(annotated, found, kind)
        if sigmas is not None:
            evaluation.params.kpt_oks_sigmas = sigmas
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: float(value) if value >= 0 else float("nan")  # -1 there
        for name, value in zip(names, evaluation.stats, strict=True)
    }


def _index(content: dict[str, Any]) -> COCO:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    return coco


def read_results(path: str | Path) -> list[Result]:
    """Results or detections in COCO's format: a list of objects.

    Raises:
        InputError: if the file cannot be read or holds something else.
    """
    results = read_json(Path(path))
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise InputError(
            f"{path} is no list of objects, so it is not in COCO's format for results: "
            '[{"image_id": ..., "category_id": ..., "bbox": [x, y, width, height], "score": ...}, ...].'
        )
    return results


def _check_results(coco: CocoFile, results: Sequence[Result], key: str, length: int) -> None:
    known = {image.id for image in coco.images}
    for index, result in enumerate(results):
        values, score = result.get(key), result.get("score")
        if not isinstance(values, list) or len(values) != length or not isinstance(score, (int, float)):
            count = len(values) if isinstance(values, list) else "no"
            raise InputError(
                f"Result {index} has {count} values in {key!r} and the score {score!r}; expected {length} values and a "
                "number. Check that model, annotations and schema have the same keypoints."
            )
        if result.get("image_id") not in known:
            raise InputError(
                f"Result {index} is of the image {result.get('image_id')!r}, which is not among the {len(known)} images "
                f"of {coco.path}. Check that results and annotations belong together."
            )


def instance_scores(keypoint_scores: np.ndarray, box_scores: np.ndarray) -> np.ndarray:
    """Scores (N,) of instances: the box's, times the mean of the keypoints' that are not low.

    Args:
        keypoint_scores: (N, K).
        box_scores: (N,).
    """
    high = keypoint_scores > KEYPOINT_SCORE_THRESHOLD
    return box_scores * (keypoint_scores * high).sum(1) / np.maximum(high.sum(1), 1)


def keypoint_results(
    image_id: Any, category_id: Any, keypoints: np.ndarray, keypoint_scores: np.ndarray, scores: np.ndarray
) -> list[Result]:
    """The N instances of one image in COCO's format.

    Args:
        image_id, category_id: as in the annotations.
        keypoints: (N, K, 2) pixels.
        keypoint_scores: (N, K), in the place of the visibility.
        scores: (N,).
    """
    rows = np.concatenate((keypoints, keypoint_scores[..., None]), -1).reshape(len(keypoints), 3 * keypoints.shape[1])
    return [
        {"image_id": image_id, "category_id": category_id, "keypoints": row, "score": score}
        for row, score in zip(rows.astype(float).round(3).tolist(), scores.astype(float).tolist(), strict=True)
    ]


def box_results(
    image_id: Any, boxes: np.ndarray, labels: np.ndarray, scores: np.ndarray, category_ids: Mapping[int, Any]
) -> list[Result]:
    """The N boxes of one image in COCO's format, those of other classes than `category_ids` left out.

    Args:
        image_id: as in the annotations.
        boxes: (N, 4) x1, y1, x2, y2 in pixels.
        labels, scores: (N,).
        category_ids: class of the detector -> category id of the annotations.
    """
    sizes = boxes[:, 2:] - boxes[:, :2]
    rows = np.concatenate((boxes[:, :2], sizes), 1).astype(float).round(3).tolist()
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": row, "score": score}
        for row, label, score in zip(rows, labels.tolist(), scores.astype(float).tolist(), strict=True)
        if label in category_ids
    ]


def object_keypoint_similarity(
    keypoints: np.ndarray, others: np.ndarray, areas: np.ndarray, other_areas: np.ndarray, sigmas: Sequence[float]
) -> np.ndarray:
    """Similarity (N, M) from 0 to 1 of predicted instances: the mean over keypoints of exp(-d^2 / (2 area (2 sigma)^2)).

    Source: https://cocodataset.org/#keypoints-eval; `mmpose.evaluation.functional.oks_iou`, where the area is the mean of
    both.

    Args:
        keypoints, others: (N, K, 2) and (M, K, 2).
        areas, other_areas: (N,) and (M,) in square pixels.
        sigmas: (K,) of the schema.
    """
    squares = np.square(keypoints[:, None] - others[None]).sum(-1)
    scale = (areas[:, None] + other_areas[None]) / 2 + np.spacing(1)
    return np.exp(-squares / (2 * scale[..., None] * np.square(2 * np.asarray(sigmas)))).mean(-1)


def oks_nms(
    keypoints: np.ndarray,
    areas: np.ndarray,
    scores: np.ndarray,
    sigmas: Sequence[float],
    threshold: float = OKS_NMS_THRESHOLD,
) -> np.ndarray:
    """Indices of the instances that stay, best first, when of two similar ones the worse goes.

    Args:
        keypoints: (N, K, 2).
        areas, scores: (N,).
        sigmas: (K,) of the schema.
        threshold: an instance goes when it is more similar than this to a better one.
    """
    similarity = object_keypoint_similarity(keypoints, keypoints, areas, areas, sigmas)
    remaining = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(remaining):
        best, remaining = remaining[0], remaining[1:]
        kept.append(int(best))
        remaining = remaining[similarity[best, remaining] <= threshold]
    return np.array(kept, dtype=np.int64)
