"""How the image moves where no person is: sparse optical flow and an affine model of four degrees of freedom."""

from __future__ import annotations

import cv2
import numpy as np

_LONGER_SIDE = 360  # pixels of the images that are compared
_CORNERS, _LEAST_CORNERS = 80, 8  # 150 take a third longer, for the same identities
_LEAST_AGREEMENT = 0.3  # share of the corners that move as one; else it is not the camera that moves


class CameraMotion:
    """Follows what stands still from frame to frame."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin a new video."""
        self._before: np.ndarray | None = None
        self._boxes = np.zeros((0, 4))

    def update(self, image: np.ndarray | None, boxes: np.ndarray | None) -> np.ndarray | None:
        """Affine motion (2, 3) in pixels from the frame before to this one, None where it is not known.

        Args:
            image: RGB (H, W, 3), or None.
            boxes: (N, 4) of people, who move by themselves.
        """
        if image is None:
            self.reset()
            return None
        scale = min(_LONGER_SIDE / max(image.shape[:2]), 1.0)
        small = cv2.resize(image, None, fx=scale, fy=scale)
        gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        before, masked = self._before, self._boxes
        self._before, self._boxes = gray, np.zeros((0, 4)) if boxes is None else boxes * scale
        if before is None or before.shape != gray.shape:
            return None
        motion = _motion(before, gray, masked)
        if motion is not None:
            motion[:, 2] /= scale
        return motion


def _motion(before: np.ndarray, after: np.ndarray, boxes: np.ndarray) -> np.ndarray | None:
    mask = np.full(before.shape, 255, np.uint8)
    for x1, y1, x2, y2 in boxes.round().clip(0).astype(int).tolist():
        mask[y1:y2, x1:x2] = 0
    corners = cv2.goodFeaturesToTrack(before, _CORNERS, 0.01, 8, mask=mask)
    if corners is None or len(corners) < _LEAST_CORNERS:
        return None
    moved, is_found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None)  # type: ignore[call-overload]
    known = is_found[:, 0] == 1
    if known.sum() < _LEAST_CORNERS:
        return None
    motion, is_inlier = cv2.estimateAffinePartial2D(corners[known], moved[known], ransacReprojThreshold=2.0)
    return motion if is_inlier.mean() >= _LEAST_AGREEMENT else None
