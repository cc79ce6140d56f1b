"""Losses of detectors against numbers worked out by hand and against slow versions of their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hfpose.models.shared.detection_losses import (
    assign_boxes,
    detection_loss,
    generalized_iou,
    pad_labels,
    quality_focal_loss,
)


def overlap(box: np.ndarray, other: np.ndarray) -> float:
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    intersection = max(width, 0) * max(height, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return intersection / (sum(areas) - intersection)


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def focal(logit: float, quality: float) -> float:
    probability = sigmoid(logit)
    entropy = -quality * math.log(probability) - (1 - quality) * math.log(1 - probability)
    return entropy * abs(quality - probability) ** 2


def slow_assignment(logits, pred_boxes, points, strides, boxes, labels) -> dict[int, int]:
    """Place -> true box, for one image, as the paper and the reference describe it."""
    inside = [
        [b[0] < p[0] < b[2] and b[1] < p[1] < b[3] for b in boxes]  # strictly
        for p in points
    ]
    places = [i for i in range(len(points)) if any(inside[i])]
    cost = {}
    for place in places:
        for g, box in enumerate(boxes):
            iou = overlap(pred_boxes[place], box)
            classes = sum(
                focal(logit, iou if c == labels[g] else 0.0) for c, logit in enumerate(logits[place].tolist())
            )
            center = (box[:2] + box[2:]) / 2
            distance = math.dist(points[place], center) / strides[place]
            cost[place, g] = classes - 3 * math.log(iou + 1e-7) + 10 ** (distance - 3)
    wanted: dict[int, list[int]] = {}
    for g, box in enumerate(boxes):
        best = sorted((overlap(pred_boxes[p], box) for p in places), reverse=True)[:13]
        number = max(int(sum(best)), 1)
        for place in sorted(places, key=lambda p: cost[p, g])[:number]:
            wanted.setdefault(place, []).append(g)
    return {
        place: owners[0] if len(owners) == 1 else min(range(len(boxes)), key=lambda g: cost[place, g])
        for place, owners in wanted.items()
    }


def grid(size: int, strides: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    points, levels = [], []
    for stride in strides:
        for y in range(0, size, stride):
            for x in range(0, size, stride):
                points.append((x, y))
                levels.append(stride)
    return torch.tensor(points, dtype=torch.float32), torch.tensor(levels, dtype=torch.float32)


def random_scene(seed: int, classes: int = 3):
    """Predictions near three overlapping true boxes of an image of 64 pixels."""
    rng = np.random.default_rng(seed)
    points, strides = grid(64, (8, 16, 32))
    boxes = np.array([[4, 4, 40, 50], [20, 10, 60, 60], [30, 30, 44, 46]], np.float32) + rng.normal(size=(3, 4)) * 2
    nearest = rng.integers(0, 3, len(points))
    pred_boxes = boxes[nearest] + rng.normal(size=(len(points), 4)) * 4
    logits = rng.normal(size=(len(points), classes))
    return logits, pred_boxes, points, strides, boxes, rng.integers(0, classes, 3)


def as_batch(scene) -> tuple[torch.Tensor, ...]:
    logits, pred_boxes, points, strides, boxes, labels = scene
    padded = pad_labels([{"boxes": torch.tensor(boxes), "class_labels": torch.tensor(labels)}], torch.device("cpu"))
    return (
        torch.tensor(logits, dtype=torch.float32)[None],
        torch.tensor(pred_boxes, dtype=torch.float32)[None],
        points,
        strides,
        *padded,
    )


@pytest.mark.parametrize("seed", range(8))
def test_assignment_equals_its_definition(seed):
    scene = random_scene(seed)
    owners, overlaps = assign_boxes(*as_batch(scene))
    expected = slow_assignment(*scene)
    assert len(expected) > 3
    assert {p: int(g) for p, g in enumerate(owners[0]) if g >= 0} == expected
    for place, g in expected.items():
        assert float(overlaps[0, place]) == pytest.approx(overlap(scene[1][place], scene[4][g]), abs=1e-5)


def test_a_place_that_two_boxes_want_goes_to_the_cheaper_one():
    # Both boxes want the one place inside; its prediction fits the second box exactly.
    points, strides = torch.tensor([[10.0, 10.0]]), torch.tensor([8.0])
    boxes = torch.tensor([[[0.0, 0.0, 20.0, 24.0], [0.0, 0.0, 20.0, 20.0]]])
    owners, overlaps = assign_boxes(
        torch.zeros(1, 1, 1), boxes[:, 1:], points, strides, boxes, torch.zeros(1, 2).long(), torch.ones(1, 2).bool()
    )
    assert owners.tolist() == [[1]]
    assert overlaps.tolist() == [[1.0]]


def test_images_of_a_batch_do_not_disturb_each_other():
    scenes = [as_batch(random_scene(seed)) for seed in (0, 1)]
    labels = [
        {"boxes": scene[4][0, :count], "class_labels": scene[5][0, :count]}
        for scene, count in zip(scenes, (3, 1), strict=True)
    ]
    together = assign_boxes(
        torch.cat([scene[0] for scene in scenes]),
        torch.cat([scene[1] for scene in scenes]),
        *scenes[0][2:4],
        *pad_labels(labels, torch.device("cpu")),
    )[0]
    for scene, label, row in zip(scenes, labels, together, strict=True):
        alone = assign_boxes(*scene[:4], *pad_labels([label], torch.device("cpu")))[0]
        assert torch.equal(row, alone[0])


def test_detection_loss_equals_its_definition():
    scene = random_scene(3)
    logits, pred_boxes, points, strides, boxes, labels = scene
    owners = slow_assignment(*scene)
    quality = {place: overlap(pred_boxes[place], boxes[g]) for place, g in owners.items()}
    class_loss = sum(
        focal(logit, quality[place] if place in owners and labels[owners[place]] == c else 0.0)
        for place, row in enumerate(logits.tolist())
        for c, logit in enumerate(row)
    )
    box_loss = 0.0
    for place, g in owners.items():
        first, second = pred_boxes[place], boxes[g]
        hull = np.concatenate((np.minimum(first[:2], second[:2]), np.maximum(first[2:], second[2:])))
        areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second, hull)]
        union = (areas[0] + areas[1]) / (1 + quality[place])
        box_loss += quality[place] * (1 - quality[place] + (areas[2] - union) / areas[2])
    expected = (class_loss + 2 * box_loss) / max(sum(quality.values()), 1)
    label = {"boxes": torch.tensor(boxes), "class_labels": torch.tensor(labels)}
    given = detection_loss(*as_batch(scene)[:2], points, strides, [label])
    assert float(given) == pytest.approx(expected, rel=1e-4)


def test_detection_loss_without_boxes_is_the_background_loss_and_has_gradients():
    points, strides = grid(64, (8, 16, 32))
    logits = torch.zeros(1, len(points), 2, requires_grad=True)
    pred_boxes = torch.rand(1, len(points), 4, requires_grad=True)
    empty = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    loss = detection_loss(logits, pred_boxes, points, strides, [empty])
    # Each logit 0: cross entropy ln 2, weighted by (1/2)^2.
    assert loss.item() == pytest.approx(len(points) * 2 * math.log(2) / 4, rel=1e-5)
    loss.backward()
    assert logits.grad is not None and pred_boxes.grad is not None and torch.isfinite(pred_boxes.grad).all()


def test_generalized_iou_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 2.0, 2.0]])
    others = torch.tensor([[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 3.0, 1.0], [1.0, 0.0, 3.0, 2.0]])
    # The same box; two unit squares in a hull of 3 by 1; overlap 2 of 6 in a hull of 6.
    torch.testing.assert_close(generalized_iou(boxes, others), torch.tensor([1.0, -1 / 3, 1 / 3]))


def test_quality_focal_loss_by_hand():
    # sigmoid(0) = 1/2: entropy ln 2, weighted by (quality - 1/2)^2.
    given = quality_focal_loss(torch.zeros(3), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(given, torch.tensor([math.log(2) / 4, 0.0, math.log(2) / 4]))
