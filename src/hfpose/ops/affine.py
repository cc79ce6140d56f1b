"""Images moved by affine matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

# Pixels of a side, at most, of an image that OpenCV warps.
_LONGEST_SIDE = 32_766
# Pixels around what is seen, which interpolation looks at.
_MARGIN = 4


def warp_affine(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int], **options: Any) -> np.ndarray:
    """What `cv2.warpAffine` makes of an image (h, w, 3) of any size by a matrix (2, 3) without rotation.

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
    matrix, parts = np.array(matrix, np.float64), []
    for axis, (seen, side) in enumerate(zip(size, image.shape[1::-1], strict=True)):
        scale, shift = matrix[axis, axis], matrix[axis, 2]
        first = int(np.clip(-shift / scale - _MARGIN, 0, side - 1))
        end = int(np.clip((seen - shift) / scale + _MARGIN, first + 1, side))
        step = -(-(end - first) // _LONGEST_SIDE)
        matrix[axis, [axis, 2]] = scale * step, shift + scale * first
        parts.append(slice(first, end, step))
    x, y = parts
    return image[y, x], matrix
