"""How alike poses are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

AREA_OF_BOX = 0.53
"""Part of a box that a segmented person covers, where an annotation states no area; as in `xtcocotools.cocoeval`."""


def object_keypoint_similarity(
    keypoints: np.ndarray,
    others: np.ndarray,
    areas: np.ndarray,
    other_areas: np.ndarray,
    sigmas: Sequence[float] | np.ndarray,
) -> np.ndarray:
    """Similarity (N, M) from 0 to 1 of instances: the mean over keypoints of exp(-d^2 / (2 area (2 sigma)^2)).

    Source: https://cocodataset.org/#keypoints-eval; `mmpose.evaluation.functional.oks_iou`, where the area is the mean
    of both.

    Args:
        keypoints, others: (N, K, 2) and (M, K, 2) in pixels.
        areas, other_areas: (N,) and (M,) in square pixels.
        sigmas: (K,) of the schema.
    """
    x, y = (np.square(keypoints[:, None, :, axis] - others[..., axis]) for axis in (0, 1))
    scale = (areas[:, None] + other_areas[None]) / 2 + np.spacing(1)
    return np.exp(-(x + y) / (2 * scale[..., None] * np.square(2 * np.asarray(sigmas)))).mean(-1)
