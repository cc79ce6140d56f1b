"""Boxes as arrays (N, 4) of x1, y1, x2, y2 in pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Boxes that are compared with each other at once in suppression.
NMS_BLOCK = 256


def pairwise_iou(boxes: np.ndarray, others: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """Intersection over union (..., N, M) of boxes (..., N, 4) and others (..., M, 4).

    `offset` is added to widths and heights: 1 counts the pixels of integer boxes, as `mmpose.evaluation.nms` does.
    """
    intersection = _intersections(boxes, others, offset)
    area, other_area = (_areas(some[..., 2:] - some[..., :2] + offset) for some in (boxes, others))
    union = area[..., None] + other_area[..., None, :] - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def shares_within(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share (N, M) of the area of boxes (N, 4) that lies in others (M, 4)."""
    areas = _areas(boxes[:, 2:] - boxes[:, :2])[:, None]
    intersection = _intersections(boxes, others)
    return np.divide(intersection, areas, out=np.zeros_like(intersection), where=areas > 0)


def _intersections(boxes: np.ndarray, others: np.ndarray, offset: float = 0.0) -> np.ndarray:
    """Areas (..., N, M) of what boxes have in common."""
    top_left = np.maximum(boxes[..., None, :2], others[..., None, :, :2])
    bottom_right = np.minimum(boxes[..., None, 2:], others[..., None, :, 2:])
    return _areas(np.maximum(bottom_right - top_left + offset, 0))


def _areas(sides: np.ndarray) -> np.ndarray:
    """Products (...) of sides (..., 2)."""
    return sides[..., 0] * sides[..., 1]


def extents(points: np.ndarray) -> np.ndarray:
    """Smallest boxes (..., 4) around points (..., K, 2)."""
    return np.concatenate((points.min(-2), points.max(-2)), axis=-1)


def with_sizes(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) x1, y1, x2, y2 as x, y, width and height (N, 4), as COCO has them."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def are_on_image(boxes: np.ndarray, image_size: Sequence[float]) -> np.ndarray:
    """Which boxes (N, 4) have a size and show a part of an image of (width, height)."""
    within = boxes.clip(0, [*image_size, *image_size])
    return np.all(within[:, 2:] > within[:, :2], axis=1)


def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    iou_threshold: float,
    labels: np.ndarray | None = None,
    max_detections: int | None = None,
    offset: float = 0.0,
) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the boxes that stay, best first.

    Boxes with different `labels` never suppress each other.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: a box whose IoU with a better one is greater is removed.
        labels: (N,) class of each box, None for a single class.
        max_detections: stop after this many.
        offset: see `pairwise_iou`.
    """

    def overlap(some: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Whether boxes suppress others (len(some), len(others)), both given by their indices."""
        too_much = pairwise_iou(boxes[some], boxes[others], offset) > iou_threshold
        return too_much if labels is None else too_much & (labels[some, None] == labels[others])

    remaining = np.argsort(-scores, kind="stable")
    limit = len(remaining) if max_detections is None else max_detections
    kept = remaining[:0]
    while len(remaining) and len(kept) < limit:
        best, remaining = remaining[:NMS_BLOCK], remaining[NMS_BLOCK:]
        best = best[_unsuppressed(overlap(best, best))][: limit - len(kept)]
        kept = np.concatenate((kept, best))
        if len(remaining):
            remaining = remaining[~overlap(best, remaining).any(0)]
    return kept


def _unsuppressed(suppresses: np.ndarray) -> np.ndarray:
    """Which of M boxes stay (M,), best first, where `suppresses` (M, M) says which others each would suppress."""
    stays = np.ones(len(suppresses), dtype=bool)
    for better in range(len(suppresses) - 1):
        if stays[better]:
            stays[better + 1 :] &= ~suppresses[better, better + 1 :]
    return stays
