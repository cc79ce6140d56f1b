"""What goes into every image processor: arrays of RGB pixels, and the way from pixels to network input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfpose.errors import InputError

ImageLike = Any  # PIL image, numpy array or torch tensor


def rgb_arrays(images: ImageLike | Sequence[ImageLike]) -> list[np.ndarray]:
    """One image or several as RGB arrays (H, W, 3), uint8.

    Takes PIL images, and arrays or tensors of uint8 in the layouts (H, W), (H, W, 3) and (3, H, W).

    Raises:
        InputError: for anything else.
    """
    if isinstance(images, (list, tuple)):
        return [_rgb_array(image) for image in images]
    if isinstance(images, (np.ndarray, Tensor)) and images.ndim == 4:
        return [_rgb_array(image) for image in images]
    return [_rgb_array(images)]


def _rgb_array(image: ImageLike) -> np.ndarray:
    if hasattr(image, "convert"):  # a PIL image, without importing PIL to ask
        return np.asarray(image.convert("RGB"))
    array = image.cpu().numpy() if isinstance(image, Tensor) else np.asarray(image)
    if array.dtype != np.uint8:
        raise InputError(
            f"Expected an image of uint8 values from 0 to 255, got {array.dtype} of shape {array.shape}. "
            "Scale it to 0..255 and convert it with `.astype('uint8')`."
        )
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim == 3 and array.shape[-1] != 3 and array.shape[0] == 3:
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[-1] != 3 or array.size == 0:
        raise InputError(f"Expected an RGB image (height, width, 3) with at least one pixel, got shape {array.shape}.")
    return array


class PixelNormalization:
    """Mixin of the image processors: the last step, for the whole batch at once."""

    channel_order: str
    do_rescale: bool
    rescale_factor: float
    do_normalize: bool
    image_mean: Sequence[float]
    image_std: Sequence[float]

    def normalize_pixels(self, images: np.ndarray) -> Tensor:
        """RGB pixels (N, H, W, 3), uint8, as network input (N, 3, H, W), float32, in the network's channel order."""
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        if self.channel_order == "bgr":
            pixels = pixels.flip(1)
        values = pixels.to(torch.float32, memory_format=torch.contiguous_format)
        if self.do_rescale:
            values.mul_(self.rescale_factor)
        if self.do_normalize:
            shape = (1, 3, 1, 1)
            values.sub_(torch.tensor(self.image_mean).view(shape)).div_(torch.tensor(self.image_std).view(shape))
        return values
