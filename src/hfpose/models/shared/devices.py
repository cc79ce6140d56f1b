"""Where models are, images on their way to an accelerator, and crops that are cut out there."""

from collections.abc import Generator, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hfpose.errors import InputError

T = TypeVar("T")


def accelerate_hook(model: nn.Module) -> Any:
    """What accelerate has put on a model that it spreads over devices or brings to one in turns; None on others."""
    return vars(model).get("_hf_hook")  # getattr of a module is slow where there is nothing


def default_device() -> torch.device:
    """The accelerator of this machine if torch sees one, else the CPU."""
    return _accelerator() or torch.device("cpu")


def _accelerator() -> torch.device | None:
    # torch 2.6 knows no `current_accelerator(check_available=True)`.
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def existing_device(device: torch.device | str | int | None) -> torch.device:
    """A device of this machine, the default one for None; an accelerator without a number gets the current one's.

    Raises:
        InputError: if there is no such device.
    """
    if device is None:
        return _numbered(default_device())
    try:
        wanted = torch.device(int(device) if isinstance(device, str) and device.isdecimal() else device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"{device!r} names no device. This machine has: {', '.join(_devices())}.") from error
    numbered = _numbered(wanted)
    if str(numbered) not in _devices():
        raise InputError(f"There is no device {str(wanted)!r}. This machine has: {', '.join(_devices())}.")
    return numbered


def _numbered(device: torch.device) -> torch.device:
    accelerator = _accelerator()
    if device.index is None and accelerator is not None and device.type == accelerator.type != "mps":
        return torch.device(device.type, torch.accelerator.current_device_index())
    return torch.device("cpu") if device.type == "cpu" else device


def _devices() -> list[str]:
    accelerator = _accelerator()
    if accelerator is None:
        return ["cpu"]
    if accelerator.type == "mps":
        return ["cpu", "mps", "mps:0"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def to_device(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor on a device; the program goes on while it is copied there.

    Args:
        tensor: of any shape, on any device.
        dtype: its floating point type there, if it has one; the cast happens on the device.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # else the copy waits for the device, and the program for the copy
    moved = tensor.to(device, non_blocking=True)
    return moved if dtype is None or not moved.is_floating_point() else moved.to(dtype)


def on_own_stream(items: Generator[T, None, None], device: torch.device) -> Generator[T, None, None]:
    """The items of a generator that runs in a thread of its own and computes beside other threads on the same
    device."""
    with torch.cuda.stream(torch.cuda.Stream(device)) if device.type == "cuda" else nullcontext():
        yield from items


def crop_on_device(
    images: Sequence[np.ndarray],
    matrices: Sequence[np.ndarray],
    size: tuple[int, int],
    device: torch.device,
    enlarges_cubically: bool = False,
) -> Tensor:
    """Upright crops of images, all people of an image at once.

    What `cv2.warpAffine` computes with linear (or cubic) interpolation and black around the image, from exact places
    instead of places rounded to a 32nd of a pixel: values differ by a few levels at sharp edges.

    Args:
        images: RGB images (h, w, 3), uint8.
        matrices: for each image (n, 2, 3), from its pixels to the pixels of its crops, without rotation.
        size: width and height of a crop.
        enlarges_cubically: whether regions of fewer pixels than a crop are interpolated cubically.

    Returns:
        (N, 3, height, width) float32 on the device, whole numbers from 0 to 255: the first image's crops, the
        second's, and so on.
    """
    width, height = size
    crops = [torch.empty((0, 3, height, width), device=device)]
    for image, image_matrices in zip(images, matrices, strict=True):
        if len(image_matrices) == 0:
            continue
        pixels = to_device(torch.from_numpy(np.ascontiguousarray(image)), device).permute(2, 0, 1)[None].float()
        # One tall image of all crops, so that the source need not be repeated for each.
        for group in image_matrices[:, None] if enlarges_cubically else (image_matrices,):
            mode = "bicubic" if enlarges_cubically and enlarges(group[0]) else "bilinear"
            grid = to_device(torch.from_numpy(_sampling_grid(group, size, image.shape[1::-1])), device)
            stacked = nn.functional.grid_sample(pixels, grid, mode=mode, padding_mode="zeros", align_corners=False)
            crops.append(stacked.view(3, -1, height, width).transpose(0, 1))
    return torch.cat(crops).round().clamp(0, 255)


def enlarges(matrix: np.ndarray) -> bool:
    """Whether a matrix (2, 3) without rotation maps no side of a region onto fewer pixels."""
    return bool(min(matrix[0, 0], matrix[1, 1]) >= 1)


def _sampling_grid(matrices: np.ndarray, size: tuple[int, int], image_size: tuple[int, ...]) -> np.ndarray:
    """Where the pixels of crops lie in the image (1, n * height, width, 2), -1 to 1 from border to border, float32."""
    places = []
    for axis, (pixels, extent) in enumerate(zip(size, image_size, strict=True)):
        scale, offset = matrices[:, axis, axis, None], matrices[:, axis, 2, None]
        places.append((2 * (np.arange(pixels) - offset) / scale + 1) / extent - 1)
    x, y = places
    grid = np.empty((len(matrices), size[1], size[0], 2), np.float32)
    grid[..., 0] = x[:, None, :]
    grid[..., 1] = y[:, :, None]
    return grid.reshape(1, -1, size[0], 2)
