"""From pixels to network input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hfpose.errors import InputError
from hfpose.models.shared.pixels import PixelImageProcessor, rgb_arrays

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)


@pytest.mark.parametrize("channel_order", ["rgb", "bgr"])
@pytest.mark.parametrize("do_rescale", [True, False])
@pytest.mark.parametrize("do_normalize", [True, False])
def test_values_are_those_of_the_arithmetic_to_the_last_bit(channel_order, do_rescale, do_normalize):
    values = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float()
    if channel_order == "bgr":
        values = values.flip(1)
    if do_rescale:
        values = values * (1 / 255)
    if do_normalize:
        mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (MEAN, STD))
        values = (values - mean) / std
    processor = PixelImageProcessor(
        channel_order=channel_order, do_rescale=do_rescale, do_normalize=do_normalize, image_mean=MEAN, image_std=STD
    )
    given = processor.normalize_pixels(PIXELS)
    assert given.is_contiguous()
    assert torch.equal(given, values)


def test_values_may_stay_in_the_order_of_the_pixels():
    plain, last = (
        PixelImageProcessor().normalize_pixels(PIXELS, memory_format)
        for memory_format in (torch.contiguous_format, torch.channels_last)
    )
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, last)


def test_the_pixels_stay_as_they_are():
    pixels = PIXELS.copy()
    PixelImageProcessor(channel_order="bgr").normalize_pixels(pixels)
    np.testing.assert_array_equal(pixels, PIXELS)


def test_nobody_to_crop():
    assert PixelImageProcessor().normalize_pixels(np.zeros((0, 16, 24, 3), np.uint8)).shape == (0, 3, 16, 24)


@pytest.mark.parametrize("mean", ["abc", 0.5, [0.5] * 4, ["a", "b", "c"]])
def test_a_mean_is_three_numbers(mean):
    with pytest.raises(InputError, match=r"image_mean is .*number"):
        PixelImageProcessor(image_mean=mean)


def test_settings_that_change_are_followed():
    normalization = PixelImageProcessor()
    before = normalization.normalize_pixels(PIXELS)
    normalization.image_mean = [0.0, 0.0, 0.0]
    assert not torch.equal(normalization.normalize_pixels(PIXELS), before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("do_normalize", "yes"),
        ("channel_order", "grb"),
        ("rescale_factor", float("nan")),
        ("image_std", [0, 1, 1]),
        ("size", {"height": 10**9, "width": 10**9}),
        ("size", {"shortest_edge": 64}),
    ],
)
def test_a_setting_of_another_type_or_beyond_memory_is_named(name, value):
    with pytest.raises(InputError, match=f"{name} is "):
        PixelImageProcessor(**{name: value})
    with pytest.raises(InputError, match=f"{name} is "):
        PixelImageProcessor().with_settings(**{name: value})


def test_a_size_is_one_number_or_a_pair_too_and_none_is_not_given():
    assert PixelImageProcessor(size=64).size == {"height": 64, "width": 64}
    assert PixelImageProcessor(size=(64, 48)).size == {"height": 64, "width": 48}
    assert PixelImageProcessor(size=None, image_mean=None).size == PixelImageProcessor.size


def test_settings_replace_those_of_a_file():
    file = {**PixelImageProcessor().to_dict(), "of_a_later_version": 1}
    assert PixelImageProcessor.from_dict(file, do_normalize=False).do_normalize is False
    with pytest.raises(InputError, match="size"):
        PixelImageProcessor.from_dict(file, size=10**9)


def test_a_pil_image_of_16_bits_is_scaled_and_a_path_is_no_image():
    levels = np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4)
    (array,) = rgb_arrays(Image.fromarray(levels))
    np.testing.assert_array_equal(array[..., 0], levels >> 8)
    with pytest.raises(InputError, match=r"got a str\. Open it"):
        rgb_arrays("photo.jpg")
