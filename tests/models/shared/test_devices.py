"""Crops as an accelerator cuts them, here on the CPU."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from hfpose import RTMPoseImageProcessor
from hfpose.models.shared.devices import crop_on_device, to_device
from hfpose.models.shared.top_down import crop_matrices
from hfpose.pipelines.options import CallOptions
from hfpose.pipelines.stage import load_stage
from hfpose.pipelines.top_down_stage import TopDownEstimator

CPU = torch.device("cpu")
BOXES = np.array([[60, 40, 130, 220], [-30.5, -20, 80, 90], [250.25, 150, 330, 260], [10, 10, 12, 13]], np.float32)


def scene(seed: int = 0, blur: float = 2.0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), blur)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)


def both(processor, images, boxes) -> tuple[torch.Tensor, torch.Tensor]:
    expected = processor(images, boxes=boxes, return_tensors="pt")["pixel_values"]
    return processor.pixel_values_on_device(images, boxes, CPU), expected


@pytest.mark.parametrize("use_udp", [False, True])
def test_crops_are_those_of_opencv_within_a_few_levels(use_udp):
    processor = RTMPoseImageProcessor(do_normalize=False, do_rescale=False, use_udp=use_udp)
    images = [scene(0), scene(1)]
    found, expected = both(processor, images, [BOXES, BOXES[:2]])
    difference = (found - expected).abs()
    assert found.shape == expected.shape == (6, 3, 256, 192)
    assert difference.max() <= 4
    assert difference.mean() < 0.1
    assert torch.equal(found, found.round())


@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
def test_network_input_is_normalized_alike(channel_order):
    processor = RTMPoseImageProcessor(channel_order=channel_order)
    plain = np.full((50, 60, 3), (10, 100, 200), np.uint8)
    found, expected = both(processor, [plain], [np.array([[20, 20, 30, 30]], np.float32)])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_spot_lies_in_the_same_place():
    y, x = np.mgrid[:240, :320]
    spot = (255 * np.exp(-((x - 101.3) ** 2 + (y - 120.7) ** 2) / 50)).astype(np.uint8)
    processor = RTMPoseImageProcessor(do_normalize=False, do_rescale=False)
    centers = []
    for crops in both(processor, [np.repeat(spot[..., None], 3, 2)], [BOXES[:1]]):
        values = crops[0, 0].double()
        rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(192.0), indexing="ij")
        centers.append(torch.stack([(values * columns).sum(), (values * rows).sum()]) / values.sum())
    factor = 256 / (180 * 1.25)  # pixels of the crop for one of the image
    assert (centers[0] - centers[1]).abs().max() / factor < 0.02


def test_images_without_people_have_no_crops():
    processor = RTMPoseImageProcessor()
    none = np.zeros((0, 4), np.float32)
    assert processor.pixel_values_on_device([scene()], [none], CPU).shape == (0, 3, 256, 192)
    assert processor.pixel_values_on_device([scene(), scene(1)], [none, BOXES[:1]], CPU).shape == (1, 3, 256, 192)


def test_an_image_of_one_pixel():
    image = np.full((1, 1, 3), 77, np.uint8)
    matrices = crop_matrices(np.zeros((1, 2)), np.full((1, 2), 8.0), (8, 8), False)
    crop = crop_on_device([image], [matrices], (8, 8), CPU)
    assert crop[0, 0].max() == 77
    assert (crop > 0).sum() == 3


def test_keypoints_of_both_ways_agree(tiny_pose):
    estimator = TopDownEstimator(load_stage(tiny_pose, "pose"))
    images, boxes = [scene(0), scene(1)], [BOXES[:3], BOXES[:1]]
    options = CallOptions(pose_batch_size=8)
    expected = np.concatenate([poses["keypoints"] for poses in estimator(images, boxes, options)])

    def on_device(arrays, boxes_of_images):
        return estimator.stage.image_processor.pixel_values_on_device(arrays, boxes_of_images, CPU)

    estimator._pixel_values = on_device
    found = np.concatenate([poses["keypoints"] for poses in estimator(images, boxes, options)])
    distance = np.linalg.norm(found - expected, axis=-1)
    # The untrained network has near-ties between bins far from each other.
    assert (distance < 0.1).mean() > 0.9


def test_moving_casts_numbers_but_not_indices():
    assert to_device(torch.ones(2), CPU, torch.bfloat16).dtype == torch.bfloat16
    assert to_device(torch.ones(2, dtype=torch.long), CPU, torch.bfloat16).dtype == torch.long
