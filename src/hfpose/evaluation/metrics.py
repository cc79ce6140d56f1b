"""Measures of keypoints as plain functions of arrays, and what holds them.

Source: `mmpose.evaluation.functional.keypoint_eval`; the definitions of NME's distances are those of
`mmpose.evaluation.metrics.NME`.

Shapes: N instances, K keypoints, D coordinates. `mask` (N, K) is True for the keypoints that count. Measures of no
keypoint at all are NaN, which `Metrics.add` turns into a reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from hfpose.media.left_out import LeftOut

# Schema -> the two keypoints whose true distance is the unit of NME: the outer corners of the eyes.
NME_KEYPOINTS = {"300w": (36, 45), "coco_wholebody_face": (36, 45), "cofw": (8, 9), "wflw": (60, 72), "lapa": (66, 79)}

AUC_THRESHOLDS, AUC_SIZE = 20, 30.0  # the size in units of the coordinates


class Metrics(dict[str, float]):
    """Finite numbers by name.

    Attributes:
        missing: name -> why it could not be measured.
        left_out: results that were not measured, by reason.
        notices: what else there is to know about the numbers.
    """

    def __init__(self, notices: Iterable[str] = ()) -> None:
        super().__init__()
        self.missing: dict[str, str] = {}
        self.left_out = LeftOut()
        self.notices = list(notices)

    def add(self, name: str, value: float, reason: str) -> None:
        """Keep a number; one that is NaN, infinite or below zero was not measured, for the reason that is given."""
        if math.isfinite(value) and value >= 0:
            self[name] = float(value)
        else:
            self.missing[name] = reason

    def without(self, names: Iterable[str], reason: str) -> Metrics:
        """Itself, in which these could not be measured."""
        self.missing |= dict.fromkeys(names, reason)
        return self

    def include(self, other: Metrics) -> None:
        """Take over what another one holds."""
        self.update(other)
        self.missing |= other.missing
        self.notices += other.notices
        self.left_out.include(other.left_out)

    def lines(self) -> list[str]:
        """What was left out, is missing or should be known, for the user."""
        by_reason: dict[str, list[str]] = {}
        for name, reason in self.missing.items():
            by_reason.setdefault(reason, []).append(name)
        return [
            *(f"left out: {line}" for line in self.left_out.lines()),
            *self.notices,
            *(f"not measured: {', '.join(names)}: {reason}." for reason, names in by_reason.items()),
        ]


def distances(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Euclidean distances (N, K) of keypoints (N, K, D)."""
    return np.linalg.norm(np.asarray(predicted, np.float64) - np.asarray(target, np.float64), axis=-1)


def pck(
    predicted: np.ndarray, target: np.ndarray, mask: np.ndarray, sizes: np.ndarray, threshold: float = 0.05
) -> float:
    """Percentage of correct keypoints, from 0 to 1: the share nearer than `threshold` sizes.

    As in the reference it is taken for each keypoint, then averaged over the keypoints that count at least once.

    Args:
        predicted, target: (N, K, D).
        mask: (N, K).
        sizes: (N,) what is 1 in units of the threshold, such as the longer side of the box (`box_sizes`) or the length
            of the head (PCKh). Instances of size 0 do not count.
        threshold: in units of the size.
    """
    shares = keypoint_pck(predicted, target, mask, sizes, threshold)
    return float(np.nanmean(shares)) if np.isfinite(shares).any() else math.nan


def keypoint_pck(
    predicted: np.ndarray, target: np.ndarray, mask: np.ndarray, sizes: np.ndarray, threshold: float
) -> np.ndarray:
    """The share (K,) of each keypoint that is correct, NaN for those that count nowhere; see `pck`."""
    normalized, counts = _normalized_distances(predicted, target, mask, sizes)
    total = counts.sum(0)
    return np.where(total > 0, ((normalized < threshold) & counts).sum(0) / np.maximum(total, 1), np.nan)


def auc(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    """Area under the curve of PCK, from 0 to 1, of keypoints (N, K, D) in pixels and their mask (N, K).

    There are `AUC_THRESHOLDS` thresholds from 0 up to, not including, `AUC_SIZE`.
    """
    sizes = np.full(len(predicted), AUC_SIZE)
    thresholds = np.arange(AUC_THRESHOLDS) / AUC_THRESHOLDS
    return float(np.mean([pck(predicted, target, mask, sizes, threshold) for threshold in thresholds]))


def epe(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray) -> float:
    """End-point error: mean distance of keypoints (N, K, D) with a mask (N, K), in units of the coordinates."""
    return _mean(distances(predicted, target), np.asarray(mask, bool))


def nme(predicted: np.ndarray, target: np.ndarray, mask: np.ndarray, sizes: np.ndarray) -> float:
    """Normalized mean error: mean distance in units of each instance's size.

    Args:
        predicted, target: (N, K, D).
        mask: (N, K).
        sizes: (N,) such as `keypoint_sizes` of the eyes for faces, or `box_sizes`. Instances of size 0 do not count.
    """
    return _mean(*_normalized_distances(predicted, target, mask, sizes))


def mpjpe(
    predicted: np.ndarray,
    target: np.ndarray,
    mask: np.ndarray,
    alignment: Literal["none", "scale", "procrustes"] = "none",
) -> float:
    """Mean per-joint position error in units of the coordinates.

    Args:
        predicted, target: (N, K, 3).
        mask: (N, K).
        alignment: what is fitted to the target first, in the least squares sense: nothing (MPJPE), the scale
            (N-MPJPE), or scale, rotation and place (P-MPJPE). All keypoints take part in the fit.

    Raises:
        ValueError: for another `alignment`.
    """
    predicted, target = np.asarray(predicted, np.float64), np.asarray(target, np.float64)
    if alignment == "scale":
        factors = _ratio((predicted * target).sum((1, 2)), np.square(predicted).sum((1, 2)))
        predicted = predicted * factors[:, None, None]
    elif alignment == "procrustes":
        predicted = similarity_aligned(predicted, target)
    elif alignment != "none":
        raise ValueError(f"alignment is {alignment!r}; expected 'none', 'scale' or 'procrustes'.")
    return epe(predicted, target, mask)


def similarity_aligned(points: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (N, K, D) moved, rotated and scaled, each N by itself, to lie as near to the target (N, K, D) as they
    can. Points that are all in one place come to the middle of the target.

    Source: Umeyama, 1991, "Least-squares estimation of transformation parameters between two point patterns".
    """
    center, target_center = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    centered, target_centered = points - center, target - target_center
    u, singular, vt = np.linalg.svd(centered.transpose(0, 2, 1) @ target_centered)
    signs = np.ones(singular.shape)
    signs[:, -1] = np.sign(np.linalg.det(u @ vt))  # a rotation, not a mirror image
    rotation = (u * signs[:, None]) @ vt
    scale = _ratio((singular * signs).sum(-1), np.square(centered).sum((1, 2)))
    return scale[:, None, None] * centered @ rotation + target_center


def _ratio(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Values over others, 0 where these are 0."""
    return np.divide(values, others, out=np.zeros_like(values), where=others > 0)


def box_sizes(boxes: np.ndarray) -> np.ndarray:
    """Longer side (N,) of boxes (N, 4) x1, y1, x2, y2."""
    return (boxes[:, 2:] - boxes[:, :2]).max(-1)


def keypoint_sizes(target: np.ndarray, first: int, second: int) -> np.ndarray:
    """Distance (N,) of two keypoints of (N, K, D), such as that of the eyes."""
    return np.linalg.norm(target[:, first] - target[:, second], axis=-1)


def _normalized_distances(
    predicted: np.ndarray, target: np.ndarray, mask: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (N, K) in units of the sizes (N,), and which of them count."""
    sizes = np.asarray(sizes, np.float64)
    counts = np.asarray(mask, bool) & (sizes > 0)[:, None]
    return distances(predicted, target) / np.where(sizes > 0, sizes, 1)[:, None], counts


def _mean(values: np.ndarray, counts: np.ndarray) -> float:
    return float(values[counts].mean()) if counts.any() else math.nan
