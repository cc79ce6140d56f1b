"""YOLOX learns: labels in, loss out."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from hfpose.models.yolox.modeling_yolox import YOLOXForObjectDetection, _class_cost, yolox_loss
from networks import losses_of_steps
from small_models import small_model

POINTS = torch.tensor([[x, y] for y in range(0, 64, 8) for x in range(0, 64, 8)], dtype=torch.float32)
STRIDES = torch.full((64,), 8.0)
LABELS = [{"boxes": torch.tensor([[8.0, 8, 40, 56]]), "class_labels": torch.tensor([1])}]


def loss_of(boxes: torch.Tensor, objectness: torch.Tensor) -> torch.Tensor:
    logits = torch.tensor([-5.0, 5.0]).expand(1, 64, 2)
    return yolox_loss(logits, objectness[None], boxes[None], torch.zeros(1, 64, 4), POINTS, STRIDES, LABELS)


def test_the_loss_falls_with_better_boxes_and_objectness():
    right = LABELS[0]["boxes"].expand(64, 4)
    in_middle = ((POINTS + 4 - torch.tensor([24.0, 32.0])).abs().amax(-1) < 20).float() * 10 - 5
    shifted = loss_of(right + 6, in_middle)
    assert loss_of(right, in_middle) < shifted
    assert loss_of(right, in_middle) < loss_of(right, -in_middle)


def test_the_cost_of_classes_is_their_cross_entropy():
    scores, classes = torch.tensor([[0.0, 0.3, 1.0], [0.5, 1e-30, 0.2]]), torch.eye(3)[:2]
    expected = torch.stack([F.binary_cross_entropy(scores, row.expand(2, 3), reduction="none") for row in classes], 1)
    assert torch.equal(_class_cost(scores, classes), expected.sum(-1))


def test_a_few_steps_lower_the_loss_and_an_image_may_be_empty():
    model = YOLOXForObjectDetection(small_model("yolox")[0].config).train()
    pixel_values = torch.rand(2, 3, 64, 64) * 255
    boxes = torch.tensor([[0.4, 0.5, 0.5, 0.6]])
    empty = {"boxes": torch.zeros(0, 4), "class_labels": torch.zeros(0, dtype=torch.long)}
    labels = [{"boxes": boxes, "class_labels": torch.tensor([2])}, empty]
    losses = losses_of_steps(model, 15, 5e-3, pixel_values=pixel_values, labels=labels)
    assert min(losses[-5:]) < 0.7 * losses[0]
