"""Loss of the detectors of boxes, and what others share of it: which anchor points learn which box, and IoU.

Source: `mmdet.models.dense_heads.RTMDetHead`, `mmdet.models.task_modules.DynamicSoftLabelAssigner`.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# Settings of RTMDet's assignment and losses, the same for all its sizes.
ASSIGNMENT_CANDIDATES = 13
SOFT_CENTER_RADIUS = 3.0
IOU_COST_WEIGHT = 3.0
QUALITY_FOCAL_BETA = 2.0
BOX_LOSS_WEIGHT = 2.0

_IOU_EPS = 1e-7  # keeps the logarithm of an IoU finite
_AREA_EPS = 1e-6  # keeps a quotient of areas finite


def detection_loss(
    logits: Tensor, pred_boxes: Tensor, points: Tensor, strides: Tensor, labels: Sequence[Mapping[str, Tensor]]
) -> Tensor:
    """RTMDet's loss: quality focal loss of the classes, generalized IoU of the assigned boxes.

    Both are sums over the batch, divided by the sum of the assigned boxes' IoUs (at least 1).

    Source: `mmdet.models.dense_heads.RTMDetHead`; the quality focal loss is Li et al., 2020,
    https://arxiv.org/abs/2006.04388, the generalized IoU Rezatofighi et al., 2019, https://arxiv.org/abs/1902.09630.

    Args:
        logits: (B, P, C) of all anchor points.
        pred_boxes: (B, P, 4) x1, y1, x2, y2 in pixels of `pixel_values`.
        points: (P, 2) x and y of each anchor point in these pixels.
        strides: (P,) stride of each anchor point's level.
        labels: for each image `class_labels` (n,) and `boxes` (n, 4), x1, y1, x2, y2 in pixels of `pixel_values`.
    """
    logits, pred_boxes = logits.float(), pred_boxes.float()
    boxes, class_labels, is_real = pad_labels(labels, logits.device)
    with torch.no_grad():
        owners, ious = assign_boxes(logits, pred_boxes, points, strides, boxes, class_labels, is_real)
        is_assigned = owners >= 0
        owners = owners.clamp(min=0)
        quality = torch.zeros_like(logits)
        quality.scatter_(2, class_labels.gather(1, owners)[..., None], (ious * is_assigned)[..., None])
        target_boxes = boxes.gather(1, owners[..., None].expand(-1, -1, 4))[is_assigned]
        weights = ious[is_assigned]
    class_loss = quality_focal_loss(logits, quality).sum()
    box_loss = ((1 - generalized_iou(pred_boxes[is_assigned], target_boxes)) * weights).sum()
    return (class_loss + BOX_LOSS_WEIGHT * box_loss) / weights.sum().clamp(min=1)


def pad_labels(labels: Sequence[Mapping[str, Tensor]], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Labels of all images as boxes (B, G, 4), classes (B, G) and which of them are real (B, G); G is at least 1."""
    counts = [len(label["boxes"]) for label in labels]
    boxes = torch.zeros(len(labels), max([1, *counts]), 4, device=device)
    class_labels = torch.zeros(boxes.shape[:2], dtype=torch.long, device=device)
    for index, (label, count) in enumerate(zip(labels, counts, strict=True)):
        boxes[index, :count] = label["boxes"].to(boxes).reshape(count, 4)
        class_labels[index, :count] = label["class_labels"].to(class_labels)
    is_real = torch.arange(boxes.shape[1], device=device) < torch.tensor(counts, device=device)[:, None]
    return boxes, class_labels, is_real


def assign_boxes(
    logits: Tensor,
    pred_boxes: Tensor,
    points: Tensor,
    strides: Tensor,
    boxes: Tensor,
    class_labels: Tensor,
    is_real: Tensor,
) -> tuple[Tensor, Tensor]:
    """Which true box each anchor point shall predict: those whose prediction is near already, in class, box and
    center.

    Only anchor points inside of some true box take part; see `cheapest_owners`.

    Source: `mmdet.models.task_modules.DynamicSoftLabelAssigner`.

    Args:
        logits, pred_boxes, points, strides: see `detection_loss`.
        boxes: (B, G, 4) true boxes.
        class_labels: (B, G) their classes.
        is_real: (B, G) False for padding.

    Returns:
        (B, P) index of each anchor point's true box, -1 for none; and (B, P) IoU of prediction and true box, any value
        where there is none.
    """
    sides = torch.cat((points[:, None] - boxes[:, None, :, :2], boxes[:, None, :, 2:] - points[:, None]), -1)
    takes_part = ((sides.amin(-1) > 0) & is_real[:, None]).any(-1)  # (B, P)
    is_pair = takes_part[..., None] & is_real[:, None]  # (B, P, G)
    ious = pairwise_iou(pred_boxes, boxes).masked_fill(~is_pair, 0)

    centers = (boxes[..., :2] + boxes[..., 2:]) / 2
    distances = (points[:, None] - centers[:, None]).norm(dim=-1) / strides[:, None]
    cost = _class_cost(logits, class_labels, ious)
    cost = cost - IOU_COST_WEIGHT * (ious + _IOU_EPS).log() + 10 ** (distances - SOFT_CENTER_RADIUS)
    cost = cost.masked_fill(~is_pair, math.inf)

    owners = cheapest_owners(cost, ious, ASSIGNMENT_CANDIDATES)
    return owners, ious.gather(2, owners.clamp(min=0)[..., None]).squeeze(2)


def cheapest_owners(cost: Tensor, similarities: Tensor, num_candidates: int) -> Tensor:
    """Index (..., P) of the instance that each anchor point learns, -1 for none.

    Each instance takes its cheapest anchor points, as many as the sum of its best similarities; the cheapest instance
    gets an anchor point that several want.

    Args:
        cost: (..., P, n) of an anchor point for an instance; infinite where it is none for it.
        similarities: (..., P, n), 0 to 1.
        num_candidates: how many of them are summed up, and the most that an instance takes.
    """
    count = min(num_candidates, cost.shape[-2])
    wanted = similarities.topk(count, dim=-2).values.sum(-2, keepdim=True).int().clamp(min=1)
    cheapest = cost.topk(count, dim=-2, largest=False).indices  # (..., count, n)
    ranks = torch.arange(count, device=cost.device)[:, None]
    chosen = torch.zeros_like(cost, dtype=torch.bool).scatter(-2, cheapest, ranks < wanted) & cost.isfinite()
    owners = torch.where(chosen.sum(-1) > 1, cost.argmin(-1), chosen.int().argmax(-1))
    return torch.where(chosen.any(-1), owners, -1)


def _class_cost(logits: Tensor, class_labels: Tensor, ious: Tensor) -> Tensor:
    """Quality focal loss (B, P, G) of each anchor point if it had the class of each true box, at their IoU."""
    as_background = quality_focal_loss(logits, torch.zeros_like(logits))
    index = class_labels[:, None].expand(-1, logits.shape[1], -1)
    as_owner = quality_focal_loss(logits.gather(2, index), ious)
    return as_background.sum(-1, keepdim=True) - as_background.gather(2, index) + as_owner


def quality_focal_loss(logits: Tensor, quality: Tensor) -> Tensor:
    """Cross entropy of logits and a quality from 0 to 1, weighted by the square of their difference; any shape."""
    difference = quality - logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, quality, reduction="none")
    return entropy * difference.abs() ** QUALITY_FOCAL_BETA


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (B, P, G) of boxes (B, P, 4) and others (B, G, 4)."""
    return _iou_and_union(boxes[:, :, None], others[:, None])[0]


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalized IoU (N,) of boxes (N, 4) with as many others: the IoU less the share of the hull that is empty."""
    iou, union = _iou_and_union(boxes, others)
    hull = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    area = hull.clamp(min=0).prod(-1).clamp(min=_AREA_EPS)
    return iou - (area - union) / area


def _iou_and_union(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, and union, of boxes (..., 4) and others (..., 4)."""
    inner = torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])
    intersection = inner.clamp(min=0).prod(-1)
    areas = [(given[..., 2:] - given[..., :2]).prod(-1) for given in (boxes, others)]
    union = (areas[0] + areas[1] - intersection).clamp(min=_AREA_EPS)
    return intersection / union, union
