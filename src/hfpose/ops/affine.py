"""Images moved by affine matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

# Pixels of a side, at most, of an image that OpenCV warps.
_LONGEST_SIDE = 32_766
# Pixels around what is seen, which interpolation looks at.
_MARGIN = 4


def warp_affine(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], **options: Any) -> np.ndarray:
    """What `cv2.warpAffine` makes of an image (h, w, 3) of any size by a matrix (2, 3).

    Of an image that is too long for OpenCV the part that is seen is warped, and where that is too long as well every
    second pixel of it, or fewer.

    Args:
        size: width and height of the result.
        options: keyword arguments of `cv2.warpAffine`.
    """
    import cv2

    if max(image.shape[:2]) > _LONGEST_SIDE:
        image, matrix = _part_in_view(image, matrix, size)
    return cv2.warpAffine(image, matrix, size, **options)


def _part_in_view(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image (h, w, 3) that a matrix (2, 3) maps onto `size`, and the matrix for it."""
    linear, shift = np.split(np.array(matrix, np.float64), [2], axis=1)
    corners = np.linalg.inv(linear) @ (np.array([[0, size[0]] * 2, [0, 0, size[1], size[1]]]) - shift)
    sides = np.array(image.shape[1::-1])
    first = (corners.min(1) - _MARGIN).clip(0, sides - 1).astype(int)
    end = (corners.max(1) + _MARGIN).clip(first + 1, sides).astype(int)
    step = -(-(end - first) // _LONGEST_SIDE)
    x, y = map(slice, first, end, step)
    return image[y, x], np.column_stack((linear * step, shift + linear @ first[:, None]))
