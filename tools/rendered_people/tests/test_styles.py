"""Other looks of rendered images, close-ups of their people, and people who are cut off."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose import RTMPoseImageProcessor
from hfpose.keypoints import load_schema
from hfpose.training.augmentation import ImageSample, PersonSample
from hfpose.training.datasets import PersonCrops
from rendered_people.styles import CloseUp, VariedPeople, convolved, cut_off, restyled, toned


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


@pytest.fixture
def person() -> PersonSample:
    """A person whose keypoints are bright pixels, spread over a box."""
    rng = np.random.default_rng(0)
    keypoints = rng.integers((40, 20), (100, 180), (17, 2)).astype(np.float32)
    canvas = np.zeros((200, 140, 3), np.uint8)
    canvas[keypoints[:, 1].astype(int), keypoints[:, 0].astype(int)] = 255
    return PersonSample(canvas, np.array([40, 20, 100, 180], np.float32), keypoints, np.full(17, 2))


def test_people_who_are_cut_off_lose_keypoints_beyond_the_edge_and_keep_the_others(person):
    edges = set()
    for seed in range(40):
        cut = cut_off(np.random.default_rng(seed), person)
        height, width = cut.image.shape[:2]
        assert height * width < person.image.shape[0] * person.image.shape[1]
        assert (cut.box >= 0).all() and (cut.box[2:] <= (width, height)).all()
        edges.add(
            int(np.flatnonzero([cut.box[0] == 0, cut.box[1] == 0, cut.box[2] == width, cut.box[3] == height])[0])
        )
        seen = cut.keypoints[cut.visibility == 2].astype(int)
        assert 5 <= len(seen) <= 17
        assert (cut.image[seen[:, 1], seen[:, 0]] == 255).all()
        gone = cut.keypoints[cut.visibility == 0]
        assert ((gone < 0) | (gone >= (width, height))).any(1).all()
    assert edges == {0, 1, 2, 3}


def test_people_of_whom_too_little_is_seen_are_not_cut_off(person):
    person.visibility[4:] = 1
    assert cut_off(np.random.default_rng(0), person) is person


def test_crops_are_cut_off_and_restyled_as_often_as_asked_for(person):
    make = PersonCrops(RTMPoseImageProcessor(size={"height": 64, "width": 48}), load_schema("coco"), None)
    plain = make(person, np.random.default_rng(0), 0.0)
    same, cut, restyled_ = (
        VariedPeople(make, *shares)(person, np.random.default_rng(0), 0.0) for shares in ((0, 0), (1, 0), (0, 1))
    )
    np.testing.assert_array_equal(same["image"], plain["image"])
    assert cut["weights"].sum() < 17 == plain["weights"].sum()
    assert (restyled_["image"] != plain["image"]).any()
    np.testing.assert_array_equal(restyled_["keypoints"], plain["keypoints"])
