"""How OpenCV 4, with which the reference's goldens were made, rounds where it interpolates. OpenCV 5 rounds less."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

FIXED, BITS = 1024, 5  # places are whole numbers of 1/1024 of a pixel, and at last of 1/32
HALF = 1 << (BITS - 1)

_WARP_AFFINE = cv2.warpAffine


def _places(column: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Places (H, W) in the image along one axis, in 1/32 of a pixel."""
    steps, rows = (np.rint(values * FIXED).astype(np.int64) for values in (column, start))
    return (rows[:, None] + HALF + steps) >> BITS


def warp_affine(
    image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], dst: np.ndarray | None = None, **options: Any
) -> np.ndarray:
    """What OpenCV 4's `cv2.warpAffine` computes with linear interpolation, with any version of OpenCV.

    Other interpolation is that of the installed version.
    """
    flags = options.pop("flags", cv2.INTER_LINEAR)
    if flags != cv2.INTER_LINEAR:
        return _WARP_AFFINE(image, matrix, size, dst=dst, flags=flags, **options)
    (a, b, left), (c, d, top) = cv2.invertAffineTransform(np.float64(matrix))
    across, down = np.arange(size[0]), np.arange(size[1])
    x, y = _places(a * across, b * down + left), _places(c * across, d * down + top)
    mask = (1 << BITS) - 1
    shares = ((y & mask) << BITS | (x & mask)).astype(np.uint16)
    whole = np.stack([x >> BITS, y >> BITS], axis=-1).astype(np.int16)
    return cv2.remap(image, whole, shares, flags, dst=dst, borderMode=cv2.BORDER_CONSTANT, **options)
