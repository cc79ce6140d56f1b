"""YOLOX-Pose: YOLOX with a branch that regresses the keypoints of each box.

Source: Maji et al., 2022, https://arxiv.org/abs/2204.06806; `mmpose.models.heads.YOLOXPoseHead`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F
from transformers.utils import ModelOutput

from hfpose.models.backbones.csp_darknet import YOLOXNeck
from hfpose.models.shared.coco_labels import one_per_image
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.convolution import conv_stack
from hfpose.models.shared.dense_prediction import (
    DensePredictionModel,
    ScorePrediction,
    anchor_points,
    by_level,
    decode_center_boxes,
    flatten_levels,
)
from hfpose.models.shared.image_model import EstimatorModel
from hfpose.models.shared.losses import visibility_loss
from hfpose.models.shared.one_stage_losses import (
    InstancePredictions,
    assign_instances,
    box_l1_loss,
    box_loss,
    keypoint_sigmas,
    oks_loss,
    read_targets,
)
from hfpose.models.yolox_pose.configuration_yolox_pose import YOLOXPoseConfig


@dataclass
class YOLOXPoseOutput(ModelOutput):
    """Output of [`YOLOXPoseForPoseEstimation`]. P counts the anchor points of all levels, level by level, row by row.

    Args:
        loss: scalar, where `labels` were given.
        logits: (B, P) score of the class before the sigmoid, given that there is an instance.
        objectness: (B, P) score of there being an instance, before the sigmoid.
        pred_boxes: (B, P, 4) x1, y1, x2, y2 in pixels of `pixel_values`; they may reach beyond its borders.
        pred_keypoints: (B, P, K, 2) x and y in these pixels.
        keypoint_logits: (B, P, K) score of each keypoint before the sigmoid.
        hidden_states: outputs of the neck, where asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    objectness: Tensor | None = None
    pred_boxes: Tensor | None = None
    pred_keypoints: Tensor | None = None
    keypoint_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class YOLOXPoseHead(nn.Module):
    """Scores, boxes and keypoints at every anchor point of every level, each kind from a branch of its own."""

    def __init__(self, config: YOLOXPoseConfig) -> None:
        super().__init__()
        size, keypoints, levels = config.head_size, label_count(config), range(len(config.strides))

        def branch(depth: int) -> nn.ModuleList:
            return nn.ModuleList(conv_stack(config, [config.neck_size, *[size] * depth]) for _ in levels)

        self.class_branch = branch(config.num_head_layers)
        self.box_branch = branch(config.num_head_layers)
        self.keypoint_branch = branch(2 * config.num_head_layers)
        self.class_predictions = nn.ModuleList(ScorePrediction(size, 1, 1) for _ in levels)
        self.objectness_predictions = nn.ModuleList(ScorePrediction(size, 1, 1) for _ in levels)
        self.box_predictions = nn.ModuleList(nn.Conv2d(size, 4, 1) for _ in levels)
        self.offset_predictions = nn.ModuleList(nn.Conv2d(size, 2 * keypoints, 1) for _ in levels)
        self.visibility_predictions = nn.ModuleList(nn.Conv2d(size, keypoints, 1) for _ in levels)

    def forward(self, feature_maps: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """By level `logits` and `objectness` (B, 1, h, w), `boxes` (B, 4, h, w) as `decode_center_boxes` takes them,
        `offsets` (B, 2 * K, h, w) of keypoints in units of the level's stride, `visibilities` (B, K, h, w)."""
        classes, boxes, keypoints = (
            by_level(branch, feature_maps) for branch in (self.class_branch, self.box_branch, self.keypoint_branch)
        )
        return {
            "logits": by_level(self.class_predictions, classes),
            "objectness": by_level(self.objectness_predictions, boxes),
            "boxes": by_level(self.box_predictions, boxes),
            "offsets": by_level(self.offset_predictions, keypoints),
            "visibilities": by_level(self.visibility_predictions, keypoints),
        }


class YOLOXPoseForPoseEstimation(DensePredictionModel, EstimatorModel):
    """YOLOX-Pose, which finds people and their keypoints in one pass; used as [`RTMOForPoseEstimation`]."""

    config: YOLOXPoseConfig
    base_model_prefix = "yolox_pose"
    output_class = YOLOXPoseOutput
    _no_split_modules = ["CSPStage", "YOLOXNeck", "YOLOXPoseHead"]

    def make_head(self, channels: Sequence[int]) -> None:
        self.neck = YOLOXNeck(self.config, channels)
        self.head = YOLOXPoseHead(self.config)

    def find(
        self, features: Sequence[Tensor], labels: Sequence[Mapping[str, Tensor]] | None
    ) -> dict[str, Tensor | None]:
        levels = self.head(features)
        points, scales = anchor_points(levels["logits"], self.config.strides)
        regressions = flatten_levels(levels["boxes"]).float()
        offsets = flatten_levels(levels["offsets"]).float().unflatten(-1, (-1, 2))
        found = {
            "logits": flatten_levels(levels["logits"])[..., 0],
            "objectness": flatten_levels(levels["objectness"])[..., 0],
            "pred_boxes": decode_center_boxes(regressions, points, scales),
            "pred_keypoints": offsets * scales[:, None, None] + points[:, None],
            "keypoint_logits": flatten_levels(levels["visibilities"]),
        }
        loss = None
        if labels is not None:
            loss = yolox_pose_loss(self.config, found, regressions, points, scales, labels)
        return {"loss": loss, **found}


# Loss


def yolox_pose_loss(
    config: YOLOXPoseConfig,
    output: Mapping[str, Tensor],
    regressions: Tensor,
    points: Tensor,
    strides: Tensor,
    labels: Sequence[Mapping[str, Tensor]],
) -> Tensor:
    """Weighted sum of the losses of objectness, class, boxes, keypoints and visibilities.

    Args:
        output: fields of the model's `YOLOXPoseOutput`.
        regressions: (B, P, 4) that `pred_boxes` were made of.
        points: (P, 2) of the anchor points in pixels.
        strides: (P,) of their levels.
    """
    logits, objectness, boxes, keypoints, keypoint_logits = (
        output[name].float() for name in ("logits", "objectness", "pred_boxes", "pred_keypoints", "keypoint_logits")
    )
    sigmas = keypoint_sigmas(config, logits.device)
    targets = read_targets(one_per_image(labels, len(logits)), label_count(config), logits.device)
    scores = (logits.detach().sigmoid() * objectness.detach().sigmoid()).sqrt()
    predictions = [InstancePredictions(*one) for one in zip(scores, boxes, keypoints, strict=True)]
    assigned = assign_instances(predictions, targets, points, strides, sigmas)
    mask, wanted = assigned.is_positive, assigned.targets
    count = max(len(wanted.areas), 1)
    score_targets = assigned.similarities**config.overlap_power
    scored = F.binary_cross_entropy_with_logits(logits[mask], score_targets, reduction="sum")
    found = F.binary_cross_entropy_with_logits(objectness, mask.float(), reduction="sum")
    l1 = box_l1_loss(regressions[mask], wanted.boxes, assigned.points, assigned.strides)
    summed = (
        config.class_loss_weight * scored
        + config.objectness_loss_weight * found
        + config.box_loss_weight * box_loss(boxes[mask], wanted.boxes)
        + config.box_l1_loss_weight * l1
    )
    poses = oks_loss(keypoints[mask], wanted.keypoints, wanted.weights, wanted.areas, sigmas, by_labeled=True)
    visible = visibility_loss(keypoint_logits[mask], wanted.weights)
    return summed / count + config.oks_loss_weight * poses + config.visibility_loss_weight * visible
