"""Overlap and suppression of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.ops.boxes import NMS_BLOCK, nms, pairwise_iou


def random_boxes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 200, (count, 2))
    boxes = np.concatenate((corners, corners + random.uniform(5, 80, (count, 2))), axis=1).astype(np.float32)
    return boxes, random.random(count).astype(np.float32), random.integers(0, 3, count)


def greedy(boxes, scores, threshold, labels, limit, offset) -> list[int]:
    """One box at a time, as the algorithm is defined."""
    kept: list[int] = []
    overlaps = pairwise_iou(boxes, boxes, offset)
    for index in np.argsort(-scores, kind="stable"):
        rivals = [other for other in kept if labels is None or labels[other] == labels[index]]
        if len(kept) < limit and all(overlaps[other, index] <= threshold for other in rivals):
            kept.append(int(index))
    return kept


@pytest.mark.parametrize("count", [0, 1, 2, 40, NMS_BLOCK + 1, 3 * NMS_BLOCK])
@pytest.mark.parametrize("by_label", [False, True])
def test_suppression_in_blocks_is_the_greedy_one(count, by_label):
    boxes, scores, labels = random_boxes(count)
    for limit, offset in ((None, 0.0), (7, 1.0), (300, 0.0)):
        expected = greedy(boxes, scores, 0.4, labels if by_label else None, limit or count, offset)
        assert nms(boxes, scores, 0.4, labels if by_label else None, limit, offset).tolist() == expected


def test_equal_scores_keep_their_order():
    boxes = np.float32([[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9]])
    assert nms(boxes, np.float32([0.5, 0.5, 0.5]), 0.5).tolist() == [0, 1, 2]


def test_a_suppressed_box_suppresses_nothing():
    boxes = np.float32([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]])  # each overlaps the next by 0.43
    assert nms(boxes, np.float32([0.9, 0.8, 0.7]), 0.4).tolist() == [0, 2]


def test_overlap_of_integer_boxes_counts_pixels():
    box = np.float32([[0, 0, 9, 9]])
    assert pairwise_iou(box, np.float32([[5, 0, 14, 9]]), offset=1.0)[0, 0] == pytest.approx(50 / 150)
