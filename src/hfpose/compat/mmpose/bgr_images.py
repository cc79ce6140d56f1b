"""Images as MMPose takes them: paths, and arrays of blue, green and red."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.media.images import load_image


def imread(img: str | Path | np.ndarray, channel_order: str = "bgr") -> np.ndarray:
    """Read an image as `mmcv.imread` does, (H, W, 3), uint8, of a path or URL, BGR or with `channel_order="rgb"` RGB;
    an array is returned as it is.

    Raises:
        InputError: if it cannot be read.
        ValueError: for another channel order.
    """
    if channel_order not in ("bgr", "rgb"):
        raise ValueError(f"channel_order must be 'bgr' or 'rgb', got {channel_order!r}.")
    if isinstance(img, np.ndarray):
        return img
    image = load_image(img)
    return image if channel_order == "rgb" else np.ascontiguousarray(image[..., ::-1])


def rgb_image(img: str | Path | np.ndarray) -> np.ndarray:
    """An image, given by its path, as URL or as BGR array, as RGB array (H, W, 3)."""
    image = img[..., ::-1] if isinstance(img, np.ndarray) else imread(img, channel_order="rgb")
    return np.ascontiguousarray(image)


def rgb_inputs(inputs: Any) -> Any:
    """Inputs with BGR arrays, as MMPose takes them, turned into RGB ones."""
    if isinstance(inputs, np.ndarray):  # (..., H, W, 3 or 4); anything else as it is
        return inputs[..., 2::-1] if inputs.ndim >= 3 and inputs.shape[-1] in (3, 4) else inputs
    if isinstance(inputs, (list, tuple)):
        return [rgb_inputs(each) for each in inputs]
    if isinstance(inputs, Iterator):
        return (rgb_inputs(each) for each in inputs)
    return inputs
