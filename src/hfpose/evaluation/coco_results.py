"""Results in COCO's format (https://cocodataset.org/#format-results): made, read, and sorted out one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.annotations import (
    WHOLE_BODY_PARTS,
    CocoFile,
    finite_number,
    finite_numbers,
    given_keypoints,
    id_lookup,
    listed_id,
    read_json,
)
from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.left_out import LeftOut
from hfpose.ops.boxes import with_sizes

Result = dict[str, Any]

# The keypoints of each part of COCO-WholeBody, in the order of `WHOLE_BODY_PARTS`.
WHOLE_BODY_SLICES = {
    "body": slice(0, 17),
    "foot": slice(17, 23),
    "face": slice(23, 91),
    "left hand": slice(91, 112),
    "right hand": slice(112, 133),
}


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


def keypoint_results(
    image_id: Any,
    category_ids: Sequence[Any],
    keypoints: np.ndarray,
    keypoint_scores: np.ndarray,
    scores: np.ndarray,
    boxes: np.ndarray | None = None,
) -> list[Result]:
    """The N instances of one image in COCO's format.

    Args:
        image_id: as in the annotations.
        category_ids: (N,) as in the annotations.
        keypoints: (N, K, 2) pixels.
        keypoint_scores: (N, K), as the visibility.
        scores: (N,).
        boxes: (N, 4) x1, y1, x2, y2 in pixels; None for results without `bbox`.
    """
    rows = np.concatenate((keypoints, keypoint_scores[..., None]), -1).reshape(len(keypoints), 3 * keypoints.shape[1])
    results = [
        {"image_id": image_id, "category_id": category_id, "keypoints": row, "score": score}
        for category_id, row, score in zip(category_ids, _plain(rows), scores.astype(float).tolist(), strict=True)
    ]
    if boxes is not None:
        for result, box in zip(results, _plain(with_sizes(boxes)), strict=True):
            result["bbox"] = box
    return results


def in_parts(result: Result) -> Result:
    """A result with the 133 keypoints of COCO-WholeBody in its own format: a list for each part."""
    rows = np.array(result["keypoints"]).reshape(-1, 3)
    parts = (rows[part].flatten().tolist() for part in WHOLE_BODY_SLICES.values())
    return result | dict(zip(WHOLE_BODY_PARTS, parts, strict=True))


def stacked_keypoints(entries: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Keypoints (N, K, 3) of annotations or results, of which there has to be one."""
    return np.array([entry["keypoints"] for entry in entries]).reshape(len(entries), -1, 3)


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
    rows = _plain(with_sizes(boxes))
    return [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": row, "score": score}
        for row, label, score in zip(rows, labels.tolist(), scores.astype(float).tolist(), strict=True)
        if label in category_ids
    ]


def _plain(values: np.ndarray) -> list[list[float]]:
    """Rows of numbers without the digits that float32 does not have."""
    return values.astype(float).round(5).tolist()


def usable_results(
    coco: CocoFile,
    results: Sequence[Result],
    category_ids: Sequence[Any],
    left_out: LeftOut,
    schema: KeypointSchema | None = None,
    *,
    by_category: bool = False,
) -> list[Result]:
    """The results that can be measured, with the listed ids, and `keypoints` of COCO-WholeBody's parts joined; the
    others are counted in `left_out`.

    Without a schema boxes are measured. A result without `category_id` is of the first one, but not where there are
    several that are measured `by_category`.
    """
    images, categories = id_lookup(image.id for image in coco.images), id_lookup(category_ids)
    default = None if by_category and len(category_ids) > 1 else next(iter(categories.values()), None)
    usable = []
    for index, result in enumerate(results):
        category_id = result.get("category_id")
        ids = {
            "image_id": listed_id(result.get("image_id"), images),
            "category_id": default if category_id is None else listed_id(category_id, categories),
        }
        reason, read = _unlisted(result, ids, categories), result | ids
        if reason is None:
            reason, read = _check(read, schema)
        if reason is None:
            usable.append(read)
        else:
            left_out.add(reason, f"result {index} of image {result.get('image_id')}")
    return usable


def _unlisted(result: Result, ids: Mapping[str, Any], categories: Mapping[Any, Any]) -> str | None:
    """Why nothing is annotated that a result can be compared with; `ids` are the listed ones, `categories` by id."""
    if ids["image_id"] is None:
        return "result of an image that the annotations do not list"
    if ids["category_id"] is not None or not categories:
        return None
    listed = ", ".join(list(dict.fromkeys(map(str, categories)))[:5])
    if result.get("category_id") is None:
        return f"result without category_id, of several that are measured ({listed})"
    return f"result of the category {result['category_id']!r}, which is not measured ({listed} are)"


def _check(result: Result, schema: KeypointSchema | None) -> tuple[str | None, Result]:
    """Why a result of a listed image cannot be measured, and what is measured of it."""
    box, score = finite_numbers(result.get("bbox"), 4), finite_number(result.get("score"))
    if score is None:
        return "result without a score that is a finite number", result
    result = result | {"score": score}
    if schema is None:
        return ("result without bbox of four numbers" if box is None else None), result | {"bbox": box}
    keypoints = finite_numbers(given_keypoints(result, schema))
    if keypoints is None:
        return "result without keypoints that are finite numbers", result
    if len(keypoints) != 3 * schema.num_keypoints:
        expected = f"3 x {schema.num_keypoints} ({schema.name})"
        return f"result with {len(keypoints)} keypoint values instead of {expected}", result
    return None, result | {"keypoints": keypoints, "bbox": box}
