from __future__ import annotations

import cv2
import numpy as np
import pytest

from hfpose.ops.affine import warp_affine

LONG = 40_000


def image_of(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_images_of_a_usual_size_are_warped_by_opencv():
    image, matrix = image_of(30, 40), np.array([[1.7, 0, 3.3], [0, 0.6, -2.1]])
    assert np.array_equal(warp_affine(image, matrix, (24, 20)), cv2.warpAffine(image, matrix, (24, 20)))


@pytest.mark.parametrize("flags", [cv2.INTER_LINEAR, cv2.INTER_CUBIC])
@pytest.mark.parametrize("start", [0, 20_000, LONG - 60])
@pytest.mark.parametrize("is_wide", [True, False])
def test_a_part_of_a_long_image_is_warped_as_if_it_were_alone(start: int, is_wide: bool, flags: int):
    image = image_of(20, LONG) if is_wide else image_of(LONG, 20)
    alone = image[:, start : start + 60] if is_wide else image[start : start + 60]
    # From 5 before the end of the part to 5 behind the end of the image, or from before its beginning.
    shift = {0: -5, LONG - 60: 10}.get(start, 5)
    offset = np.array([shift, 0] if is_wide else [0, shift])
    # By a power of two, so that OpenCV 5, which interpolates in float32, rounds the same wherever the part begins.
    matrix = np.array([[4.0, 0, 0], [0, 4.0, 0]])
    given, expected = matrix.copy(), matrix.copy()
    given[:, 2] = -4 * (offset + ([start, 0] if is_wide else [0, start]))
    expected[:, 2] = -4 * offset
    size = (200, 80) if is_wide else (80, 200)
    options = {"flags": flags, "borderValue": (7, 8, 9)}
    assert np.array_equal(warp_affine(image, given, size, **options), cv2.warpAffine(alone, expected, size, **options))


def test_a_long_image_is_seen_whole():
    brightness = np.linspace(0, 255, LONG).astype(np.uint8)
    image = np.broadcast_to(brightness[None, :, None], (4, LONG, 3))
    row = warp_affine(image, np.array([[100 / LONG, 0, 0], [0, 1, 0]]), (100, 4))[0, :, 0]
    assert np.abs(row.astype(int) - np.linspace(0, 252, 100)).max() <= 3


def test_what_lies_beside_a_long_image_is_black():
    matrix = np.array([[1.0, 0, 90_000], [0, 1, 0]])
    assert not warp_affine(np.full((4, LONG, 3), 255, np.uint8), matrix, (8, 4)).any()


# Quarters, halves and eighths of a turn, whose inverses are exact, as OpenCV 5 needs it.
@pytest.mark.parametrize("turn", [((0, 2), (-2, 0)), ((1, -1), (1, 1)), ((-1, 0), (0, -1))])
@pytest.mark.parametrize("is_flipped", [True, False])
def test_a_long_image_is_turned_and_flipped(turn: tuple[tuple[int, int], tuple[int, int]], is_flipped: bool):
    image = image_of(60, LONG)
    matrix = np.column_stack((turn, (30, 30) - np.array(turn) @ (20_030, 30))).astype(np.float64)
    if is_flipped:
        matrix[0] = (0, 0, 59) - matrix[0]
    alone = np.column_stack((matrix[:, :2], matrix @ (19_900, 0, 1)))
    expected = cv2.warpAffine(image[:, 19_900:20_160], alone, (60, 60))
    assert np.array_equal(warp_affine(image, matrix, (60, 60)), expected)
