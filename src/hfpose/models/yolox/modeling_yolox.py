"""YOLOX: CSPDarknet features, a path aggregation neck, a decoupled head with objectness.

Source: Ge et al., 2021, https://arxiv.org/abs/2107.08430; `mmdet.models.backbones.CSPDarknet`,
`mmdet.models.necks.YOLOXPAFPN`, `mmdet.models.dense_heads.YOLOXHead`,
`mmdet.models.task_modules.assigners.SimOTAAssigner`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from hfpose.models.backbones.csp_darknet import CSPDarknetBackbone, CSPDarknetBackboneConfig, YOLOXNeck
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_stack
from hfpose.models.shared.csp import csp_backbone_arguments
from hfpose.models.shared.dense_prediction import (
    DenseDetector,
    ScorePrediction,
    anchor_points,
    by_level,
    decode_center_boxes,
    flatten_levels,
)
from hfpose.models.shared.detection_losses import pad_labels, pairwise_iou
from hfpose.models.shared.one_stage_losses import IOU_COST_WEIGHT, box_l1_loss, box_loss, near_boxes, simota
from hfpose.models.yolox.configuration_yolox import YOLOXConfig


@dataclass
class YOLOXObjectDetectionOutput(ModelOutput):
    """Output of [`YOLOXForObjectDetection`]; see [`ObjectDetectionOutput`].

    Args:
        logits: (B, P, num_labels) score of each class before the sigmoid, given that there is an object.
        objectness: (B, P) score of there being an object, before the sigmoid.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    objectness: Tensor | None = None
    pred_boxes: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class YOLOXHead(nn.Module):
    """Class logits, boxes and objectness at every anchor point of every level."""

    def __init__(self, config: YOLOXConfig) -> None:
        super().__init__()
        size, levels = config.neck_size, range(len(config.strides))
        sizes = [size] * (config.num_head_layers + 1)

        def branch() -> nn.ModuleList:
            return nn.ModuleList(conv_stack(config, sizes, config.use_depthwise) for _ in levels)

        self.class_branch = branch()
        self.box_branch = branch()
        self.class_predictions = nn.ModuleList(ScorePrediction(size, label_count(config), 1) for _ in levels)
        self.box_predictions = nn.ModuleList(nn.Conv2d(size, 4, 1) for _ in levels)
        self.objectness_predictions = nn.ModuleList(ScorePrediction(size, 1, 1) for _ in levels)

    def forward(self, feature_maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """By level class logits (B, C, h, w), boxes (B, 4, h, w) as `decode_center_boxes` takes them, and objectness
        logits (B, 1, h, w)."""
        classes, boxes = by_level(self.class_branch, feature_maps), by_level(self.box_branch, feature_maps)
        return (
            by_level(self.class_predictions, classes),
            by_level(self.box_predictions, boxes),
            by_level(self.objectness_predictions, boxes),
        )


class YOLOXForObjectDetection(DenseDetector):
    """YOLOX with its detection head; used as [`RTMDetForObjectDetection`]."""

    config: YOLOXConfig
    base_model_prefix = "yolox"
    output_class = YOLOXObjectDetectionOutput
    _no_split_modules = ["YOLOXNeck", "YOLOXHead"]

    def __init__(self, config: YOLOXConfig) -> None:
        super().__init__(config)
        self.backbone = CSPDarknetBackbone(CSPDarknetBackboneConfig(**csp_backbone_arguments(config)))
        self.neck = YOLOXNeck(config, self.backbone.channels)
        self.head = YOLOXHead(config)
        self.post_init()

    def find(
        self, features: Sequence[Tensor], labels: Sequence[Mapping[str, Tensor]] | None
    ) -> dict[str, Tensor | None]:
        class_levels, box_levels, objectness_levels = self.head(features)
        points, strides = anchor_points(box_levels, self.config.strides)
        logits, objectness = flatten_levels(class_levels), flatten_levels(objectness_levels)[..., 0]
        regressions = flatten_levels(box_levels).float()
        boxes, loss = decode_center_boxes(regressions, points, strides), None
        if labels is not None:
            loss = yolox_loss(logits, objectness, boxes, regressions, points, strides, labels)
        return {"loss": loss, "logits": logits, "objectness": objectness, "pred_boxes": boxes}


# Loss

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
    """Cross entropy (P, n) of scores (P, C) and classes (n, C), 0 or 1, summed over C."""
    # Not `binary_cross_entropy`, which torch refuses where mixed precision is on; limits are the same.
    positive, negative = (values.clamp(min=-100)[:, None] for values in (scores.log(), (-scores).log1p()))
    return -(positive * classes + negative * (1 - classes)).sum(-1)
