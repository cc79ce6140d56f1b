"""Other looks of rendered images, and close-ups of their people."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.training.augmentation import ImageSample
from rendered_people.styles import CloseUp, convolved, restyled, toned


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_restyled_images_differ_and_keep_their_size(image):
    changed = [restyled(np.random.default_rng(seed), image) for seed in range(8)]
    assert all(one.shape == image.shape and one.dtype == np.uint8 for one in changed)
    assert sum((one != image).any() for one in changed) > 4
    np.testing.assert_array_equal(changed[3], restyled(np.random.default_rng(3), image))


def test_a_random_convolution_keeps_mean_and_deviation(image):
    pixels = image.astype(np.float32) / 255
    for seed in range(5):
        changed = convolved(np.random.default_rng(seed), pixels)
        np.testing.assert_allclose(changed.mean((0, 1)), pixels.mean((0, 1)), atol=1e-4)
        assert (changed.std((0, 1)) <= pixels.std((0, 1)) + 1e-4).all()


def test_tones_are_finite(image):
    for seed in range(12):
        changed = toned(np.random.default_rng(seed), image.astype(np.float32) / 255)
        assert changed.shape == image.shape and np.isfinite(changed).all()


def test_a_close_up_shows_a_person_and_moves_the_boxes_with_the_pixels():
    canvas = np.zeros((300, 400, 3), np.uint8)
    canvas[50:250, 100:200] = 200
    sample = ImageSample(canvas, np.array([[100, 50, 200, 250], [2, 2, 30, 40]], np.float32), np.array([0, 0]))
    for seed in range(10):
        near = CloseUp()(np.random.default_rng(seed), sample)
        assert near.image.size < canvas.size
        x1, y1, x2, y2 = near.boxes[0].astype(int)
        assert (near.image[y1:y2, x1:x2] == 200).all()
        assert near.image.any(-1).sum() == (x2 - x1) * (y2 - y1)
        assert len(near.labels) == len(near.boxes)


def test_small_people_are_not_looked_at_closely():
    sample = ImageSample(np.zeros((50, 50, 3), np.uint8), np.array([[2, 2, 30, 40]], np.float32), np.array([0]))
    assert CloseUp()(np.random.default_rng(0), sample) is sample
