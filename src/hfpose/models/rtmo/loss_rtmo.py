"""RTMO's loss.

Source: `mmpose.models.heads.RTMOHead.loss`, `mmpose.models.losses.MLECCLoss`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from hfpose.models.rtmo.configuration_rtmo import RTMOConfig
from hfpose.models.rtmo.head_rtmo import CoordinateDistributions, DynamicCoordinateClassifier, RTMOAnchors
from hfpose.models.shared.coco_labels import one_per_image
from hfpose.models.shared.configuration import label_count
from hfpose.models.shared.losses import visibility_loss
from hfpose.models.shared.one_stage_losses import (
    InstancePredictions,
    assign_instances,
    box_l1_loss,
    box_loss,
    keypoint_sigmas,
    normalized,
    oks_loss,
    read_targets,
    similarity,
    varifocal_loss,
)

_LEAST_SPREAD = 1e-3
_LIKELIHOOD_EPS = 1e-4


def rtmo_loss(
    config: RTMOConfig,
    classifier: DynamicCoordinateClassifier,
    anchors: RTMOAnchors,
    labels: Sequence[Mapping[str, Tensor]],
) -> Tensor:
    """Weighted sum of the losses of scores, boxes, visibilities, coordinates and of the poses that assignment goes by.

    Args:
        anchors: what its head says, with keypoints.
        labels: see `RTMOForPoseEstimation.forward`.
    """
    logits, sigmas = anchors.logits.float(), keypoint_sigmas(config, anchors.logits.device)
    targets = read_targets(one_per_image(labels, len(logits)), label_count(config), logits.device)
    assert anchors.keypoints is not None
    scores = logits.detach().sigmoid().sqrt()
    predictions = [InstancePredictions(*one) for one in zip(scores, anchors.boxes, anchors.keypoints, strict=True)]
    assigned = assign_instances(
        predictions, targets, anchors.points, anchors.strides, sigmas, by_keypoints=config.assigns_by_keypoints
    )
    mask, wanted = assigned.is_positive, assigned.targets
    count = max(len(wanted.areas), 1)
    boxes, offsets_keypoints, vectors = anchors.boxes[mask], anchors.keypoints[mask], anchors.pose_vectors[mask]
    total = config.box_loss_weight * box_loss(boxes, wanted.boxes) / count
    if config.box_l1_loss_weight:
        error = box_l1_loss(anchors.regressions[mask], wanted.boxes, assigned.points, assigned.strides)
        total = total + config.box_l1_loss_weight * error / count
    visibility = visibility_loss(anchors.keypoint_logits[mask].float(), wanted.weights)
    total = total + config.visibility_loss_weight * visibility

    found = classifier(vectors, boxes, assigned.points)
    spreads = classifier.spreads(vectors).float()
    coordinate = coordinate_loss(found, spreads, wanted.keypoints, wanted.weights, wanted.areas)
    total = total + config.coordinate_loss_weight * coordinate
    pose_targets, pose_weights, similarities = wanted.keypoints, wanted.weights, assigned.similarities
    if config.uses_pose_targets:
        pose_targets = found.keypoints.detach()
        distances = (pose_targets - wanted.keypoints).norm(dim=-1)
        is_better = (offsets_keypoints.detach() - wanted.keypoints).norm(dim=-1) > distances
        pose_weights = wanted.weights * is_better
        shares = normalized(wanted.weights)
        similarities = similarity(pose_targets, wanted.keypoints, shares, wanted.areas, sigmas).sum(-1)
    poses = oks_loss(offsets_keypoints, pose_targets, pose_weights, wanted.areas, sigmas, by_labeled=False)
    total = total + config.oks_loss_weight * poses

    score_targets = torch.zeros_like(logits)
    score_targets[mask] = similarities**config.overlap_power
    return total + config.class_loss_weight * varifocal_loss(logits, score_targets) / count


def coordinate_loss(
    found: CoordinateDistributions, spreads: Tensor, keypoints: Tensor, weights: Tensor, areas: Tensor
) -> Tensor:
    """Negative log-likelihood of the true coordinates under Laplacians around the bins, mean over M instances and K
    keypoints.

    Args:
        found: what the coordinate classifier says of the M instances.
        spreads: (M, K) scales of the Laplacians, relative to the square roots of the areas.
        keypoints: (M, K, 2) true positions in pixels.
        weights: (M, K), 0 for keypoints that are not labeled.
        areas: (M,) of the instances.
    """
    scales, spreads = areas.sqrt().clamp(min=1)[:, None, None], spreads.clamp(min=_LEAST_SPREAD)[..., None]
    likelihood = found.x.new_ones(weights.shape)
    for axis, probabilities, bins in ((0, found.x, found.x_bins), (1, found.y, found.y_bins)):
        distances = (keypoints[..., axis, None] - bins[:, None]).abs() / scales / spreads
        density = (-distances / 2).exp() / spreads
        likelihood = likelihood * (probabilities * density).sum(-1)
    values = -(likelihood + _LIKELIHOOD_EPS).log() * weights
    return values.sum() / max(values.numel(), 1)
