"""The motion of the camera between two images."""

from __future__ import annotations

import cv2
import numpy as np

from hfpose.tracking.camera_motion import CameraMotion


def wall(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 3)


def test_a_pan_is_found():
    camera = CameraMotion()
    camera.update(wall(), None)
    motion = camera.update(np.roll(wall(), (3, -5), (0, 1)), None)
    np.testing.assert_allclose(motion, [[1, 0, -5], [0, 1, 3]], atol=0.1)


def test_images_that_have_nothing_in_common_have_no_motion():
    camera = CameraMotion()
    camera.update(wall(0), None)
    assert all(camera.update(wall(seed), None) is None for seed in range(1, 6))
