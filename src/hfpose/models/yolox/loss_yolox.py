"""The training loss of YOLOX.

Source: `mmdet.models.dense_heads.YOLOXHead`, `mmdet.models.task_modules.assigners.SimOTAAssigner`.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.models.shared.losses import pad_labels, pairwise_iou
from hfpose.models.shared.one_stage_losses import IOU_COST_WEIGHT, box_l1_loss, box_loss, near_boxes, simota

BOX_LOSS_WEIGHT = 5.0
_EPS = 1e-7


def yolox_loss(
    logits: Tensor,
    objectness: Tensor,
    boxes: Tensor,
    regressions: Tensor,
    points: Tensor,
    strides: Tensor,
    labels: Sequence[Mapping[str, Tensor]],
) -> Tensor:
    """Losses of classes, objectness and boxes, as at the end of the reference's training: sums, divided by the number
    of anchor points that learn a box.

    Args:
        logits: (B, P, C) of the classes.
        objectness: (B, P).
        boxes: (B, P, 4) x1, y1, x2, y2 in pixels.
        regressions: (B, P, 4) that they were made of.
        points: (P, 2) upper left corners of the anchor points, in pixels.
        strides: (P,) of their levels.
        labels: for each image `class_labels` (n,) and `boxes` (n, 4) x1, y1, x2, y2 in pixels.
    """
    logits, objectness = logits.float(), objectness.float()
    images = zip(logits, objectness, boxes, labels, strict=True)
    assigned = zip(*(_assign_image(*one, points, strides) for one in images), strict=True)
    owners, ious = (torch.stack(values) for values in assigned)
    is_positive = owners >= 0
    true_boxes, true_classes, _ = pad_labels(labels, logits.device)
    chosen = owners.clamp(min=0)
    wanted = true_boxes.gather(1, chosen[..., None].expand(-1, -1, 4))[is_positive]
    classes = F.one_hot(true_classes.gather(1, chosen)[is_positive], logits.shape[-1]) * ious[is_positive][:, None]
    count = is_positive.sum().clamp(min=1)
    anchors = torch.nonzero(is_positive)[:, 1]
    return (
        F.binary_cross_entropy_with_logits(logits[is_positive], classes, reduction="sum")
        + F.binary_cross_entropy_with_logits(objectness, is_positive.float(), reduction="sum")
        + BOX_LOSS_WEIGHT * box_loss(boxes[is_positive], wanted)
        + box_l1_loss(regressions[is_positive], wanted, points[anchors], strides[anchors])
    ) / count


@torch.no_grad()
def _assign_image(
    logits: Tensor, objectness: Tensor, boxes: Tensor, label: Mapping[str, Tensor], points: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor]:
    """Index (P,) of the box that each anchor point learns, -1 for none, and its IoU (P,) with the predicted one."""
    wanted = label["boxes"].to(boxes)
    classes = F.one_hot(label["class_labels"].to(logits.device), logits.shape[-1]).float()

    def costs_of(anchors: Tensor) -> tuple[Tensor, Tensor]:
        ious = pairwise_iou(boxes[anchors][None], wanted[None])[0]
        scores = logits[anchors].sigmoid() * objectness[anchors, None].sigmoid()
        return _class_cost(scores, classes) - IOU_COST_WEIGHT * (ious + _EPS).log(), ious

    middles = (wanted[:, :2] + wanted[:, 2:]) / 2
    return simota(*near_boxes(wanted, middles, points + strides[:, None] / 2, strides), costs_of)


def _class_cost(scores: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy (P, n) of scores (P, C) and classes (n, C), summed over C."""
    shape = len(scores), *classes.shape
    losses = F.binary_cross_entropy(scores[:, None].expand(shape), classes.expand(shape), reduction="none")
    return losses.sum(-1)
