"""The rounding of OpenCV 4 is told as it is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from opencv_4 import warp_affine


@pytest.mark.skipif(cv2.__version__.startswith("5"), reason="needs OpenCV 4 to compare with")
def test_it_is_opencv_4_bit_by_bit():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (120, 90, 3), dtype=np.uint8)
    for _ in range(20):
        matrix = np.hstack([np.eye(2) + random.normal(0, 0.5, (2, 2)), random.normal(0, 20, (2, 1))])
        expected = cv2.warpAffine(image, matrix, (64, 80), flags=cv2.INTER_LINEAR, borderValue=(1, 2, 3))
        np.testing.assert_array_equal(warp_affine(image, matrix, (64, 80), borderValue=(1, 2, 3)), expected)
