"""Scores of predicted instances, and which of several similar ones stay.

Source: `mmpose.evaluation.metrics.CocoMetric` and `mmpose.evaluation.functional.nms`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from hfpose.errors import ConfigError
from hfpose.evaluation.coco_results import stacked_keypoints
from hfpose.ops.pose_similarity import object_keypoint_similarity

ScoreMode = Literal["bbox", "bbox_keypoint", "bbox_rle", "keypoint"]
NmsMode = Literal["oks", "soft_oks", "none"]
SCORE_MODES: tuple[ScoreMode, ...] = get_args(ScoreMode)
NMS_MODES: tuple[NmsMode, ...] = get_args(NmsMode)

# Keypoints below this score do not enter the score of their instance.
KEYPOINT_SCORE_THRESHOLD = 0.2
OKS_NMS_THRESHOLD = 0.9
SOFT_NMS_INSTANCES = 20


def instance_scores(
    keypoint_scores: np.ndarray, box_scores: np.ndarray, mode: ScoreMode = "bbox_keypoint"
) -> np.ndarray:
    """Scores (N,) of instances.

    Args:
        keypoint_scores: (N, K).
        box_scores: (N,).
        mode: `"bbox_keypoint"`: the box's, times the mean of the keypoints' that are not low; `"bbox"`: the box's;
            `"keypoint"`: the mean of the keypoints'; `"bbox_rle"`: the box's, the mean and the greatest of the
            keypoints' in sum.

    Raises:
        ConfigError: for another mode.
    """
    if mode not in SCORE_MODES:
        raise ConfigError(f"The score mode is {mode!r}; expected one of {', '.join(SCORE_MODES)}.")
    if mode == "bbox" or not len(keypoint_scores):
        return box_scores
    if mode == "keypoint":
        return keypoint_scores.mean(1)
    if mode == "bbox_rle":
        return box_scores + keypoint_scores.mean(1) + keypoint_scores.max(1)
    high = keypoint_scores > KEYPOINT_SCORE_THRESHOLD
    return box_scores * (keypoint_scores * high).sum(1) / np.maximum(high.sum(1), 1)


def keypoint_areas(keypoints: np.ndarray) -> np.ndarray:
    """Area (N,) of the rectangle around the keypoints (N, K, 2) of each instance."""
    return (keypoints.max(1) - keypoints.min(1)).prod(-1) if len(keypoints) else np.zeros(0)


def suppress(
    keypoints: np.ndarray, areas: np.ndarray, scores: np.ndarray, sigmas: Sequence[float], mode: NmsMode = "oks"
) -> np.ndarray:
    """Indices (M,) of the instances that stay, best first.

    Args:
        keypoints: (N, K, 2) in pixels.
        areas, scores: (N,), areas in square pixels.
        sigmas: (K,) of the schema.
        mode: `"oks"`: one that is more similar to a better one than `OKS_NMS_THRESHOLD` is removed; `"soft_oks"`: the
            `SOFT_NMS_INSTANCES` best stay, when each that is taken lowers the scores of the others by
            exp(-similarity^2 / `OKS_NMS_THRESHOLD`); `"none"`: all, in their order.

    Raises:
        ConfigError: for another mode.
    """
    if mode not in NMS_MODES:
        raise ConfigError(f"The NMS mode is {mode!r}; expected one of {', '.join(NMS_MODES)}.")
    if mode == "none":
        return np.arange(len(keypoints))
    similarity = object_keypoint_similarity(keypoints, keypoints, areas, areas, sigmas)
    lowered, remaining = scores.astype(np.float64), _best_first(scores)
    kept: list[int] = []
    while len(remaining) and (mode == "oks" or len(kept) < SOFT_NMS_INSTANCES):
        best, remaining = remaining[0], remaining[1:]
        kept.append(int(best))
        alike = similarity[best, remaining]
        if mode == "oks":
            remaining = remaining[alike <= OKS_NMS_THRESHOLD]
        else:
            lowered[remaining] *= np.exp(-np.square(alike) / OKS_NMS_THRESHOLD)
            remaining = remaining[_best_first(lowered[remaining])]
    return np.array(kept, dtype=np.int64)


def _best_first(scores: np.ndarray) -> np.ndarray:
    """Indices (N,) of scores (N,); of equal ones the last comes first, as in the reference."""
    return np.argsort(scores, kind="stable")[::-1]


def rescore(
    results: Sequence[dict[str, Any]], sigmas: Sequence[float], score_mode: ScoreMode | None, nms_mode: NmsMode | None
) -> list[dict[str, Any]]:
    """Results in COCO's format with scores and suppression of other modes than those that they were written with.

    The score of a box is `bbox_score` of a result, else its `score`; the area for the suppression that of its `bbox`,
    else that around its keypoints.

    Args:
        results: that can be measured, see `hfpose.evaluation.coco_results.usable_results`.
        sigmas: (K,) of the schema.
        score_mode, nms_mode: see `instance_scores` and `suppress`; None: scores as they are, and no suppression.
    """
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for result in results:
        by_image.setdefault(result["image_id"], []).append(result)
    kept = []
    for found in by_image.values():
        keypoints = stacked_keypoints(found)
        scores = np.array([result["score"] for result in found], np.float64)
        if score_mode is not None:
            boxes = np.array([result.get("bbox_score", result["score"]) for result in found], np.float64)
            scores = instance_scores(keypoints[..., 2], boxes, score_mode)
        areas = keypoint_areas(keypoints[..., :2])
        if all(result["bbox"] for result in found):
            areas = np.array([result["bbox"][2] * result["bbox"][3] for result in found], np.float64)
        indices = suppress(keypoints[..., :2], areas, scores, sigmas, nms_mode or "none")
        kept += [found[index] | {"score": float(scores[index])} for index in indices.tolist()]
    return kept
