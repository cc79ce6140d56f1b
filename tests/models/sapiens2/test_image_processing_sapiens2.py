"""Our image processor agrees with the one that transformers ships, which needs torchvision.

Expected values were computed once by the functions of `transformers.models.sapiens2.image_processing_sapiens2` (5.23),
with torchvision's Gaussian blur written out.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from hfpose.models.sapiens2.image_processing_sapiens2 import Sapiens2ImageProcessor
from hfpose.models.shared.devices import crop_on_device
from hfpose.models.shared.top_down import crop_matrices

BOXES = np.array([[120, 60, 260, 420], [10.5, 20.25, 50.5, 50.25]], np.float32)
# fmt: off
KEYPOINTS = [
    [[13.913, 472.258], [68.772, 435.353], [124.108, 204.519], [303.049, 198.287], [207.337, 7.743], [278.360, 257.623]],
    [[21.692, 54.967], [56.587, 0.841], [12.155, 28.621], [15.243, 19.001], [43.448, 20.219]],
]
CROP_BOXES = np.array([[10, 5, 40, 44], [30.5, 8, 45, 24.25]], np.float32)
# Red and green of two rows of crops of 64 x 48 pixels, both enlarged, and of one of 24 x 18 pixels, made smaller.
ENLARGED = [
    [[[124.0, 74.0, 217.2], [28.6, 220.0, 67.4], [166.8, 143.1, 58.5]],
     [[220.5, 69.7, 61.7], [37.7, 104.5, 226.6], [152.2, 213.5, 56.4]]],
    [[[201.9, 213.0, 106.4], [225.6, 146.5, 39.9], [181.7, 65.4, 32.2]],
     [[34.5, 38.6, 107.4], [192.9, 110.4, 39.2], [173.3, 224.5, 203.5]]],
]
REDUCED = [
    [[[56.4, 155.0, 146.6], [85.2, 205.6, 28.5], [226.0, 42.1, 175.6]],
     [[225.0, 85.6, 53.4], [82.0, 56.7, 215.1], [59.2, 217.7, 135.8]]],
]
# fmt: on


def noisy_heatmaps() -> torch.Tensor:
    """Heatmaps (2, 6, 32, 24) with noise, two of the peaks near a corner, and one without any response."""
    cells = np.random.default_rng(1).uniform((-0.4, -0.4), (23.4, 31.4), (2, 6, 2))
    cells[0, 0], cells[1, 1] = (0.2, 31.1), (23.2, -0.3)
    y, x = np.mgrid[:32, :24]
    squared = (x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2
    heatmaps = 0.9 * np.exp(-squared / 18) + np.random.default_rng(2).uniform(0, 0.02, squared.shape)
    heatmaps[1, 5] = 0
    return torch.from_numpy(heatmaps).float()


def test_keypoints_of_the_same_heatmaps_are_the_same() -> None:
    processor = Sapiens2ImageProcessor(size={"height": 128, "width": 96})
    given = processor.post_process_pose_estimation({"heatmaps": noisy_heatmaps()}, boxes=BOXES[:, None])  # type: ignore[arg-type]
    for (person,), expected in zip(given, KEYPOINTS, strict=True):
        np.testing.assert_allclose(person["keypoints"][: len(expected)], expected, atol=0.01)
    assert given[1][0]["scores"][5] == 0


def wavy_image() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    waves = (127 + 100 * np.sin(x / 5 + y / 9), 127 + 100 * np.cos(x / 7 - y / 4), 2.5 * x + y)
    return np.stack(waves, axis=-1).astype(np.uint8)


def test_crops_have_the_same_pixels_on_every_device() -> None:
    small = Sapiens2ImageProcessor(size={"height": 24, "width": 18})
    (reduced,) = small.crop([wavy_image()], [CROP_BOXES[:1]])
    np.testing.assert_allclose(reduced[4::8, 4::6, :2].transpose(2, 0, 1), REDUCED[0], atol=1)
    large = Sapiens2ImageProcessor(size={"height": 64, "width": 48})
    enlarged = large.crop([wavy_image()], [CROP_BOXES]).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(enlarged[:, :2, 8::20, 8::16], ENLARGED, atol=1)
    matrices = crop_matrices(*large.centers_and_scales(CROP_BOXES), (48, 64), use_udp=True)
    on_device = crop_on_device([wavy_image()], [matrices], (48, 64), torch.device("cpu"), enlarges_cubically=True)
    np.testing.assert_allclose(on_device[:, :2, 8::20, 8::16], ENLARGED, atol=0.6)


def test_files_of_hub_repositories_are_read(tmp_path: Path) -> None:
    settings = {
        "do_center_crop": False,
        "do_normalize": True,
        "do_reduce_labels": False,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "Sapiens2ImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "keypoint_heatmap_sigma": 6.0,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 1024, "width": 768},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    given, fresh = Sapiens2ImageProcessor.from_pretrained(tmp_path), Sapiens2ImageProcessor()
    assert given.to_dict() == fresh.to_dict() | settings
    assert (given.use_udp, given.heatmap_decoding, given.shift_flipped_heatmaps) == (True, "udp", False)
