"""YOLOX-Pose's loss.

Source: `mmpose.models.heads.YOLOXPoseHead.loss`.
"""

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.nn import functional as F

from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.one_stage_losses import (
    InstancePredictions,
    assign_instances,
    box_l1_loss,
    box_loss,
    keypoint_sigmas,
    oks_loss,
    read_targets,
    visibility_loss,
)
from hfpose.models.yolox_pose.configuration_yolox_pose import YOLOXPoseConfig


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
        labels: see `YOLOXPoseForPoseEstimation.forward`.
    """
    logits, objectness, boxes, keypoints, keypoint_logits = (
        output[name].float() for name in ("logits", "objectness", "pred_boxes", "pred_keypoints", "keypoint_logits")
    )
    sigmas = keypoint_sigmas(config, logits.device)
    targets = read_targets(labels, label_count(config), logits.device)
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
