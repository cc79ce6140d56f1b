"""Losses of the one-stage estimators: which anchor points learn which instance, and what they learn.

Source: `mmpose.models.heads.YOLOXPoseHead` and `RTMOHead`, `mmpose.models.task_modules.assigners.SimOTAAssigner`,
`mmpose.models.losses`; SimOTA is Ge et al., 2021, https://arxiv.org/abs/2107.08430, the OKS loss Maji et al., 2022,
https://arxiv.org/abs/2204.06806.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from hfpose.errors import InputError
from hfpose.keypoints import schema_for_config
from hfpose.models.shared.detection_losses import cheapest_owners, pairwise_iou
from hfpose.models.shared.losses import known_keypoints

# Settings of SimOTA, the same for all models.
CENTER_RADIUS = 2.5
CANDIDATES = 10
IOU_COST_WEIGHT = OKS_COST_WEIGHT = 3.0
_FAR_COST = 1e5  # of an anchor point that is not in the middle of the instance
_COST_EPS = 1e-7
_EPS = 1e-8

# Varifocal loss (Zhang et al., 2021, https://arxiv.org/abs/2008.13367).
VARIFOCAL_ALPHA, VARIFOCAL_GAMMA = 0.75, 2.0


class InstanceTargets(NamedTuple):
    """True instances, in pixels of `pixel_values`.

    `boxes` (n, 4) x1, y1, x2, y2; `keypoints` (n, K, 2); `weights` (n, K), 0 for keypoints that are not labeled;
    `areas` (n,).
    """

    boxes: Tensor
    keypoints: Tensor
    weights: Tensor
    areas: Tensor


class InstancePredictions(NamedTuple):
    """What P anchor points of an image predict: `scores` (P,) from 0 to 1, `boxes` (P, 4), `keypoints` (P, K, 2)."""

    scores: Tensor
    boxes: Tensor
    keypoints: Tensor


class Assignment(NamedTuple):
    """Which anchor points of a batch learn an instance, M of them.

    `is_positive` (B, P); the others in the order of the anchor points: `targets`, the instance of each; `similarities`
    (M,), OKS of prediction and instance; `points` (M, 2) and `strides` (M,) of the anchor points.
    """

    is_positive: Tensor
    targets: InstanceTargets
    similarities: Tensor
    points: Tensor
    strides: Tensor


def keypoint_sigmas(config: Any, device: torch.device) -> Tensor:
    """Standard deviations (K,) of OKS by the schema of a configuration; 0.5, which divides by 1, where it has none."""
    schema = schema_for_config(config)
    return torch.tensor(schema.sigmas or [0.5] * schema.num_keypoints, dtype=torch.float32, device=device)


def read_targets(
    labels: Sequence[Mapping[str, Tensor]], num_keypoints: int, device: torch.device
) -> list[InstanceTargets]:
    """The labels of a batch as targets, see `InstanceTargets` for their shapes; keypoints that are not finite weigh 0.

    Raises:
        InputError: for labels without a field, or of another number of keypoints.
    """
    targets = []
    for index, label in enumerate(labels):
        missing = [name for name in ("boxes", "keypoints", "keypoint_weights", "areas") if name not in label]
        if missing:
            raise InputError(
                f"The labels of image {index} lack {', '.join(missing)}. Give boxes (n, 4), keypoints (n, K, 2), "
                "keypoint_weights (n, K) and areas (n,) for each image, with n = 0 where there is no instance."
            )
        given = label["keypoints"].to(device, torch.float32)
        if given.shape[1:] != (num_keypoints, 2) and given.numel():
            raise InputError(
                f"The labels of image {index} have keypoints of shape {tuple(given.shape)}; expected (n, "
                f"{num_keypoints}, 2)."
            )
        boxes, weights, areas = (
            label[name].to(device, torch.float32) for name in ("boxes", "keypoint_weights", "areas")
        )
        keypoints = given.reshape(-1, num_keypoints, 2)
        known = known_keypoints(keypoints, weights.reshape(keypoints.shape[:2]))
        targets.append(InstanceTargets(boxes.reshape(-1, 4), *known, areas))
    return targets


def similarity(keypoints: Tensor, others: Tensor, weights: Tensor, areas: Tensor, sigmas: Tensor) -> Tensor:
    """Object keypoint similarity of each keypoint (..., K), before any mean.

    Args:
        keypoints, others: (..., K, 2).
        weights: (..., K), what it is multiplied with.
        areas: (...,) of the instances.
        sigmas: (K,).
    """
    distances = (keypoints - others).norm(dim=-1) / areas.sqrt().clamp(min=_EPS)[..., None] / (2 * sigmas)
    return (-distances.square() / 2).exp() * weights


def normalized(weights: Tensor) -> Tensor:
    """Weights (..., K) that sum to 1, or to 0 where all are 0."""
    return weights / weights.sum(-1, keepdim=True).clamp(min=_EPS)


# Assignment


@torch.no_grad()
def assign_instances(
    predictions: Sequence[InstancePredictions],
    targets: Sequence[InstanceTargets],
    points: Tensor,
    strides: Tensor,
    sigmas: Tensor,
    by_keypoints: bool = False,
) -> Assignment:
    """SimOTA with OKS: each instance takes the anchor points that predict it best already, as many as they predict it
    well.

    Args:
        predictions, targets: of each image.
        points: (P, 2) x and y of the anchor points in pixels.
        strides: (P,) of their levels.
        sigmas: (K,) of OKS.
        by_keypoints: whether the middle of an instance is the mean of its labeled keypoints, not that of its box.
    """
    owners, similarities = zip(
        *(
            _assign_image(given, wanted, points, strides, sigmas, by_keypoints)
            for given, wanted in zip(predictions, targets, strict=True)
        ),
        strict=True,
    )
    is_positive = torch.stack([owner >= 0 for owner in owners])
    chosen = [
        InstanceTargets(*(values[owner[owner >= 0]] for values in wanted))
        for owner, wanted in zip(owners, targets, strict=True)
    ]
    anchors = torch.cat([torch.nonzero(mask).flatten() for mask in is_positive])
    return Assignment(
        is_positive,
        InstanceTargets(*(torch.cat(values) for values in zip(*chosen, strict=True))),
        torch.cat([values[owner >= 0] for owner, values in zip(owners, similarities, strict=True)]),
        points[anchors],
        strides[anchors],
    )


def _assign_image(
    given: InstancePredictions,
    wanted: InstanceTargets,
    points: Tensor,
    strides: Tensor,
    sigmas: Tensor,
    by_keypoints: bool,
) -> tuple[Tensor, Tensor]:
    """Index (P,) of the instance of each anchor point, -1 for none, and the OKS (P,) of both."""
    middles = (wanted.boxes[:, :2] + wanted.boxes[:, 2:]) / 2
    if by_keypoints:
        counts = wanted.weights.sum(-1, keepdim=True)
        means = (wanted.keypoints * wanted.weights[..., None]).sum(1) / counts.clamp(min=_EPS)
        middles = torch.where(counts > 0, means, middles)

    def costs_of(anchors: Tensor) -> tuple[Tensor, Tensor]:
        ious = pairwise_iou(given.boxes[anchors][None], wanted.boxes[None])[0]
        keypoints, weights = given.keypoints[anchors][:, None], normalized(wanted.weights)
        similarities = similarity(keypoints, wanted.keypoints, weights, wanted.areas, sigmas).sum(-1)
        score_cost = -given.scores[anchors].log().clamp(min=-100)  # as `binary_cross_entropy` limits it
        cost = score_cost[:, None] - IOU_COST_WEIGHT * (ious + _COST_EPS).log()
        return cost - OKS_COST_WEIGHT * (similarities + _COST_EPS).log(), similarities

    return simota(*near_boxes(wanted.boxes, middles, points, strides), costs_of)


def simota(
    in_box: Tensor, in_middle: Tensor, costs_of: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Index (P,) of the instance that each anchor point learns, -1 for none, and the similarity (P,) of both.

    Anchor points in no instance take no part; those in the middle of an instance come first, see `cheapest_owners`.

    Args:
        in_box, in_middle: (P, n), see `near_boxes`.
        costs_of: for indices (A,) of anchor points their costs (A, n) for the instances, and similarities (A, n), 0 to
            1.
    """
    owners = torch.full((len(in_box),), -1, device=in_box.device)
    best = torch.zeros(len(in_box), device=in_box.device)
    anchors = torch.nonzero((in_box | in_middle).any(1)).flatten()
    if len(anchors):
        cost, similarities = costs_of(anchors)
        cost = cost + _FAR_COST * ~(in_box & in_middle)[anchors]
        owners[anchors] = cheapest_owners(cost, similarities, CANDIDATES)
        best[anchors] = similarities.gather(1, owners[anchors].clamp(min=0)[:, None]).squeeze(1)
    return owners, best


def near_boxes(boxes: Tensor, middles: Tensor, points: Tensor, strides: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each of P anchor points is inside of each of n boxes, and whether it is near the middle of each, both
    (P, n)."""
    sides = torch.cat((points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]), -1)
    distances = (points[:, None] - middles).abs().amax(-1)
    return sides.amin(-1) > 0, distances < CENTER_RADIUS * strides[:, None]


# What is learned


def oks_loss(
    keypoints: Tensor, others: Tensor, weights: Tensor, areas: Tensor, sigmas: Tensor, *, by_labeled: bool
) -> Tensor:
    """Mean over M instances of 1 less their OKS; 0 where there is none.

    Args:
        keypoints, others, weights, areas, sigmas: see `similarity`.
        by_labeled: whether the similarities are divided by the sum of the weights, else by K.
    """
    shares = normalized(weights) if by_labeled else weights / weights.shape[-1]
    values = 1 - similarity(keypoints, others, shares, areas, sigmas).sum(-1)
    return values.sum() / max(len(values), 1)


def box_loss(boxes: Tensor, others: Tensor) -> Tensor:
    """Sum over boxes (M, 4) of 1 less the square of their IoU with as many others (M, 4), x1, y1, x2, y2."""
    ious = pairwise_iou(boxes[:, None], others[:, None]).flatten()
    return (1 - ious.clamp(min=1e-16).square()).sum()


def box_l1_loss(regressions: Tensor, boxes: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Sum of the absolute errors of M box regressions (M, 4), see `decode_center_boxes`.

    Args:
        regressions: (M, 4).
        boxes: (M, 4) true boxes.
        points, strides: (M, 2) and (M,) of the anchor points.
    """
    centers, sizes = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    targets = torch.cat(((centers - points) / strides[:, None], (sizes / strides[:, None] + _EPS).log()), dim=-1)
    return (regressions - targets).abs().sum()


def varifocal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum of the varifocal loss of logits, targets from 0 to 1 and 0 for background; any shape."""
    is_background = targets <= 1e-4
    weights = torch.where(is_background, VARIFOCAL_ALPHA * logits.sigmoid() ** VARIFOCAL_GAMMA, targets)
    limited = logits.clamp(-10, 10)
    return (F.binary_cross_entropy_with_logits(limited, targets, reduction="none") * weights).sum()
