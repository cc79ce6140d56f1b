"""Boxes as arrays (N, 4) of x1, y1, x2, y2 in pixels."""

from __future__ import annotations

import numpy as np


def pairwise_iou(boxes: np.ndarray, others: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """Intersection over union (N, M) of boxes (N, 4) and others (M, 4).

    `offset` is added to widths and heights: 1 counts the pixels of integer boxes, as `mmpose.evaluation.nms` does.
    """
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    intersection = np.clip(bottom_right - top_left + offset, 0, None).prod(-1)
    area = (boxes[:, 2:] - boxes[:, :2] + offset).prod(-1)
    other_area = (others[:, 2:] - others[:, :2] + offset).prod(-1)
    union = area[:, None] + other_area[None] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    labels: np.ndarray | None = None,
    max_detections: int | None = None,
    offset: float = 0.0,
) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes that stay, best first.

    Boxes with different `labels` never suppress each other. The loop runs over the boxes that stay, so its cost is
    the number of detections times the number of candidates.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: a box goes when it overlaps a better one by more than this.
        labels: (N,) class of each box, None for a single class.
        max_detections: stop after this many.
        offset: see `pairwise_iou`.
    """
    remaining = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(remaining) and (max_detections is None or len(kept) < max_detections):
        best, remaining = remaining[0], remaining[1:]
        kept.append(best)
        suppressed = pairwise_iou(boxes[best : best + 1], boxes[remaining], offset)[0] > iou_threshold
        if labels is not None:
            suppressed &= labels[remaining] == labels[best]
        remaining = remaining[~suppressed]
    return np.asarray(kept, dtype=np.int64)
