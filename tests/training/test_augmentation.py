"""Random changes of samples: keypoints and boxes stay on what they are on."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

import hfpose
from hfpose.keypoints import load_schema
from hfpose.training.augmentation import (
    DetectionAugmentation,
    FittedImages,
    ImageSample,
    PersonCrops,
    PersonSample,
    PixelAugmentation,
    PoseAugmentation,
    _region_matrix,
    change_colors,
    change_pixels,
    cut_out,
    truncated_normal,
)

COCO = load_schema("coco")
NO_PIXELS = PixelAugmentation(hue=0, saturation=0, value=0)
# Nothing but geometry, as much of it as there is.
GEOMETRY = PoseAugmentation(
    flip_probability=0.5, half_body_probability=0.0, shift_probability=1.0, rotation_probability=1.0, pixels=NO_PIXELS
)


def cropped(image, box, keypoints, visibility, *arguments) -> tuple[np.ndarray, ...]:
    schema, processor, augmentation, rng = arguments
    make = PersonCrops(processor, schema, augmentation)
    return tuple(make(PersonSample(image, box, keypoints, visibility), rng).values())


def fitted(image, boxes, labels, *arguments) -> tuple[np.ndarray, ...]:
    *settings, rng = arguments
    return tuple(FittedImages(*settings)(ImageSample(image, boxes, labels), rng).values())


def image_of(keypoints: np.ndarray, size: tuple[int, int] = (400, 320)) -> np.ndarray:
    """A black image of (width, height) with a spot at each keypoint, whose color tells which one it is."""
    image = np.zeros((size[1], size[0], 3), np.float32)
    y, x = np.mgrid[: size[1], : size[0]]
    for index, (px, py) in enumerate(keypoints):
        spot = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 5.0**2))[..., None]
        image = np.maximum(image, spot * (250, 250 * share_of_green(index), 0))
    return image.round().astype(np.uint8)


def share_of_green(index: int) -> float:
    return 0.1 + 0.05 * index


def spot_near(crop: np.ndarray, point: np.ndarray, radius: int = 4) -> tuple[np.ndarray, float]:
    """Place (2,) of the brightest spot near a point of a crop, and its share of green."""
    smooth = cv2.GaussianBlur(crop.astype(np.float32), (3, 3), 0)
    x, y = np.round(point).astype(int)
    left, top = max(x - radius, 0), max(y - radius, 0)
    window = smooth[top : y + radius + 1, left : x + radius + 1, 0]
    row, column = np.unravel_index(window.argmax(), window.shape)
    red, green = smooth[top + row, left + column, :2]
    return np.array([left + column, top + row]), float(green / red)


@pytest.fixture
def person():
    """A person of 17 keypoints that lie apart, in a box of 240x200 pixels."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.linspace(90, 290, 6), np.linspace(80, 240, 3)), -1).reshape(-1, 2)[:17]
    keypoints = grid + rng.uniform(-6, 6, grid.shape)
    return image_of(keypoints), np.array([70.0, 60, 310, 260], np.float32), keypoints, np.full(17, 2)


@pytest.mark.parametrize("use_udp", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_keypoints_stay_on_their_spots(person, seed, use_udp):
    image, box, keypoints, visibility = person
    processor = hfpose.RTMPoseImageProcessor(size={"height": 192, "width": 256}, use_udp=use_udp)
    rng = np.random.default_rng(seed)
    crop, moved, weights = cropped(image, box, keypoints, visibility, COCO, processor, GEOMETRY, rng)
    assert crop.shape == (192, 256, 3) and weights.tolist() == [1] * 17
    checked, mirrored = 0, 0
    for index, point in enumerate(moved):
        if not (8 < point[0] < 248 and 8 < point[1] < 184):
            continue
        place, green = spot_near(crop, point)
        assert np.linalg.norm(place - point) < 1.5
        mirror = COCO.flip_indices[index]
        if abs(green - share_of_green(index)) > 0.02:
            assert green == pytest.approx(share_of_green(mirror), abs=0.02)
            mirrored += 1
        checked += 1
    assert checked >= 8
    assert mirrored == 0 or mirrored >= checked - 1  # the nose is its own mirror image


def test_a_mirrored_crop_swaps_left_and_right_and_their_weights(person):
    image, box, keypoints, visibility = person
    visibility = visibility.copy()
    visibility[COCO.index("left_wrist")] = 0
    processor = hfpose.RTMPoseImageProcessor()
    still = replace(GEOMETRY, scale_range=(1, 1), shift=0, rotation=0)
    arguments = (image, box, keypoints, visibility, COCO, processor)
    plain, moved, weights = cropped(*arguments, replace(still, flip_probability=0), np.random.default_rng(0))
    mirror, mirrored, swapped = cropped(*arguments, replace(still, flip_probability=1), np.random.default_rng(0))
    order = list(COCO.flip_indices)
    np.testing.assert_allclose(mirrored[:, 0], 192 - moved[order, 0], atol=1e-3)
    np.testing.assert_allclose(mirrored[:, 1], moved[order, 1], atol=1e-3)
    assert weights[COCO.index("left_wrist")] == 0 and swapped[COCO.index("right_wrist")] == 0
    assert weights.sum() == swapped.sum() == 16
    # Width 192 maps onto 192 - x, as in the reference: the mirror image lies a pixel further.
    assert np.abs(mirror[:, 1:, 0].astype(int) - plain[:, :0:-1, 0]).max() <= 2


def test_without_augmentation_the_crop_is_the_image_processors(person):
    image, box, keypoints, visibility = person
    processor = hfpose.RTMPoseImageProcessor()
    rng = np.random.default_rng(0)
    crop, moved, _ = cropped(image, box, keypoints, visibility, COCO, processor, None, rng)
    assert np.array_equal(crop, processor.crop([image], [box[None]])[0])
    place, _ = spot_near(crop, moved[3])
    assert np.linalg.norm(place - moved[3]) < 1


def test_images_that_are_too_long_for_opencv(person):
    image, box, keypoints, visibility = person
    far = np.array([40_000, 0])
    long = np.zeros((image.shape[0], 40_400, 3), np.uint8)
    long[:, 40_000:] = image
    samples = [(image, box, keypoints, visibility), (long, box + np.tile(far, 2), keypoints + far, visibility)]
    near, moved = (
        cropped(*sample, COCO, hfpose.RTMPoseImageProcessor(), GEOMETRY, np.random.default_rng(1))
        for sample in samples
    )
    assert np.abs(near[0].astype(int) - moved[0]).max() <= 2
    np.testing.assert_allclose(moved[1], near[1], atol=0.01)


def test_the_same_seed_gives_the_same_sample_and_another_seed_another(person):
    processor = hfpose.RTMPoseImageProcessor()
    samples = [
        cropped(*person, COCO, processor, PoseAugmentation(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    ]
    for first, second in zip(samples[0], samples[1], strict=True):
        assert np.array_equal(first, second)
    assert not np.array_equal(samples[0][1], samples[2][1])


def test_ranges_of_the_geometry(person):
    """Scale, rotation and shift of many samples lie within what was asked for, and come near its limits."""
    image, box, keypoints, visibility = person
    processor = hfpose.RTMPoseImageProcessor()
    base = cropped(image, box, keypoints, visibility, COCO, processor, None, np.random.default_rng(0))[1]
    augmentation = replace(GEOMETRY, flip_probability=0.0)
    factors, angles, shifts = [], [], []
    padded = (box[2:] - box[:2]) * processor.box_padding
    region = np.maximum(padded, padded[::-1] * [0.75, 1 / 0.75]) / padded
    for seed in range(200):
        rng = np.random.default_rng(seed)
        moved = cropped(image, box, keypoints, visibility, COCO, processor, augmentation, rng)[1]
        fitted = np.linalg.lstsq(np.c_[base, np.ones(17)], moved, rcond=None)[0]
        linear = fitted[:2]
        factors.append(1 / np.sqrt(abs(np.linalg.det(linear))))
        angles.append(np.rad2deg(np.arctan2(linear[1, 0], linear[0, 0])))
        center = np.linalg.solve(linear.T, np.array([96, 128]) - fitted[2])  # what is now in the middle
        shifts.append(region * (center - [96, 128]) / [192, 256])
    assert 0.6 <= min(factors) < 0.68 and 1.32 < max(factors) <= 1.4
    assert -80 <= min(angles) < -70 and 70 < max(angles) <= 80
    assert np.abs(shifts).max() <= 0.16 + 1e-6 and np.abs(shifts).max() > 0.14


def test_a_tall_box_moves_by_its_own_width():
    """By 0.16 of the padded box, that is 0.2 of its width, and not of the crop's region, which is wider."""
    box = np.array([100.0, 50, 150, 450])
    plain, moved = (_region_matrix(box, 1.25, (192, 256), False, shift) for shift in ((0, 0), (0.16, 0.16)))
    pixels = (plain - moved)[:, 2] / plain[0, 0]
    np.testing.assert_allclose(pixels, [0.2 * 50, 0.2 * 400], rtol=1e-4)


def test_the_half_body_is_the_upper_or_the_lower_one(person):
    image, box, _, visibility = person
    upper, lower = list(COCO.upper_body_ids), list(COCO.lower_body_ids)
    keypoints = np.zeros((17, 2))
    keypoints[upper] = np.random.default_rng(0).uniform((120, 80), (200, 140), (len(upper), 2))
    keypoints[lower] = np.random.default_rng(1).uniform((120, 220), (200, 300), (len(lower), 2))
    processor = hfpose.RTMPoseImageProcessor()
    always = replace(GEOMETRY, half_body_probability=1, scale_range=(1, 1), shift=0, rotation=0, flip_probability=0)
    halves = {"upper": 0, "lower": 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        moved = cropped(image, box, keypoints, visibility, COCO, processor, always, rng)[1]
        middle = np.array([96, 128])
        is_upper = np.linalg.norm(moved[upper].mean(0) - middle) < 1
        assert is_upper or np.linalg.norm(moved[lower].mean(0) - middle) < 1
        halves["upper" if is_upper else "lower"] += 1
    assert halves["upper"] > halves["lower"] > 5
    few = np.where(np.arange(17) < 8, 2, 0)  # fewer than nine labeled keypoints: no half body
    moved = cropped(image, box, keypoints, few, COCO, processor, always, np.random.default_rng(0))[1]
    plain = cropped(image, box, keypoints, few, COCO, processor, None, np.random.default_rng(0))[1]
    np.testing.assert_allclose(moved, plain, atol=1e-3)


def test_the_truncated_normal_ends_at_one_and_is_symmetric():
    values = truncated_normal(np.random.default_rng(0), 4000)
    assert np.abs(values).max() <= 1 and np.abs(values).max() > 0.99
    assert abs(values.mean()) < 0.02
    assert values.std() == pytest.approx(0.5396, abs=0.02)  # of a standard normal cut off at -1 and 1


def scene_with_boxes(size: tuple[int, int] = (200, 100)):
    """A gray image with a red, a green and a blue rectangle and their boxes, in pixels of their sides."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    boxes = np.array([[10, 10, 60, 50], [80, 30, 120, 90], [140, 5, 190, 95]], np.float32)
    for channel, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        image[y1:y2, x1:x2] = np.eye(3)[channel] * 255
    return image, boxes, np.array([0, 1, 2])


def painted_box(image: np.ndarray, channel: int) -> np.ndarray:
    """Sides of what is painted in one channel alone."""
    others = [c for c in range(3) if c != channel]
    mask = (image[..., channel] > 192) & (image[..., others] < 64).all(-1)
    y, x = np.nonzero(mask)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])


@pytest.fixture
def detection_processor():
    return hfpose.RTMDetImageProcessor(size={"height": 160, "width": 160})


@pytest.mark.parametrize("seed", range(12))
def test_boxes_stay_on_what_is_in_them(detection_processor, seed):
    image, boxes, labels = scene_with_boxes()
    rng = np.random.default_rng(seed)
    augmentation = DetectionAugmentation(pixels=NO_PIXELS)
    pixels, moved, kept = fitted(image, boxes, labels, detection_processor, augmentation, rng)
    assert pixels.shape == (160, 160, 3) and moved.dtype == np.float32
    assert len(moved) > 0
    for box, label in zip(moved, kept, strict=True):
        if (box[2:] - box[:2]).min() > 6:
            assert np.abs(painted_box(pixels, int(label)) - box).max() <= 1.5
    assert moved.min() >= 0 and moved.max() <= 160


def test_images_are_mirrored_grow_shrink_and_lose_boxes(detection_processor):
    image, boxes, labels = scene_with_boxes()
    augmentation = DetectionAugmentation(pixels=NO_PIXELS)
    widths, order, lost = [], set(), 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        _, moved, kept = fitted(image, boxes, labels, detection_processor, augmentation, rng)
        lost += len(kept) < 3
        if 1 in kept.tolist():
            middle = moved[kept.tolist().index(1)]
            if middle[0] > 0 and middle[2] < 160:
                widths.append((middle[2] - middle[0]) / 40)
        if {0, 1} <= set(kept.tolist()):
            order.add(bool(moved[kept.tolist().index(0)][0] < moved[kept.tolist().index(1)][0]))
    assert order == {True, False}
    assert 0.4 <= min(widths) < 0.45 and 1.1 < max(widths) <= 1.2  # 160/200 times 0.5 to 1.5
    assert lost > 0


def test_without_augmentation_an_image_is_as_the_image_processor_makes_it(detection_processor):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (90, 200, 3), dtype=np.uint8), (9, 9), 3)
    boxes = np.array([[20, 10, 100, 80]], np.float32)
    pixels, moved, _ = fitted(image, boxes, np.array([0]), detection_processor, None, rng)
    expected = detection_processor.preprocess(image)["pixel_values"]
    given = detection_processor.normalize_pixels(pixels[None])
    assert float((given - expected).abs().mean()) < 0.01
    np.testing.assert_allclose(moved, boxes * 0.8, rtol=1e-6)


def test_boxes_of_which_nothing_is_left_are_dropped(detection_processor):
    image, _, _ = scene_with_boxes()
    boxes = np.array([[10, 10, 11, 60], [10, 10, 60, 60]], np.float32)
    kept = fitted(image, boxes, np.array([5, 6]), detection_processor, None, np.random.default_rng(0))[2]
    assert kept.tolist() == [6]


def test_colors_change_within_their_limits_and_shape_does_not():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    pixels = PixelAugmentation()
    changed = [change_colors(image, pixels, np.random.default_rng(seed)) for seed in range(40)]
    differences = [np.abs(one.astype(int) - image).mean() for one in changed]
    assert min(differences) == 0 and max(differences) > 5  # all three stay with a chance of 1 in 8
    value = [cv2.cvtColor(one, cv2.COLOR_RGB2HSV)[..., 2].astype(int) for one in changed]
    original = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)[..., 2].astype(int)
    assert 20 < max(np.abs(one - original).max() for one in value) <= 32


def test_the_cut_out_has_a_fifth_to_two_fifths_of_each_side():
    for seed in range(20):
        image = np.full((100, 200, 3), 255, np.uint8)
        cut_out(image, (0.2, 0.4), np.random.default_rng(seed))
        y, x = np.nonzero(image[..., 0] == 0)
        height, width = np.ptp(y) + 1, np.ptp(x) + 1
        assert 20 <= height <= 40 and 40 <= width <= 80
        assert len(y) == height * width


def test_blur_smooths_and_without_chance_nothing_changes():
    image = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    assert np.array_equal(change_pixels(image, NO_PIXELS, np.random.default_rng(0)), image)
    blurred = change_pixels(image, replace(NO_PIXELS, blur_probability=1.0), np.random.default_rng(0))
    assert blurred.std() < image.std() / 2
