"""Other looks of rendered images, and people as near as on photographs: changes of training samples of the detector.

A network cannot rely then on how the renderer draws surfaces.

Source: `convolved` is the random convolution of Xu et al., "Robust and Generalizable Visual Representation Learning
via Random Convolutions" (2021), mixed with the image.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from hfpose.training.augmentation import FittedImages, ImageSample
from rendered_people.photograph import jpeg
from rendered_people.textures import relief


def restyled(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """RGB pixels (H, W, 3), uint8, with other filters, tones and light; shapes stay where they are."""
    pixels = image.astype(np.float32) / 255
    if rng.random() < 0.4:
        pixels = convolved(rng, pixels)
    if rng.random() < 0.4:
        pixels = toned(rng, pixels)
    if rng.random() < 0.4:
        height, width = image.shape[:2]
        zoom = np.exp(rng.uniform(np.log(0.1), np.log(3)))
        pixels = pixels * (1 + rng.uniform(0, 0.5) * relief(rng, width, height, float(zoom))[..., None])
    if rng.random() < 0.25:
        pixels = pixels + rng.uniform(0.5, 2.5) * (pixels - cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.7, 2.0)))
    if rng.random() < 0.25:
        pixels = pixels + rng.normal(0, rng.uniform(0.01, 0.08), pixels.shape).astype(np.float32)
    image = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.3:
        image = jpeg(image, int(rng.integers(12, 70)))
    return image


def convolved(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) mixed with what a random convolution makes of them, of the same mean and deviation."""
    size = int(rng.choice((1, 3, 3, 5, 7)))
    kernels = rng.normal(0, 1, (3, 3, size, size)).astype(np.float32)
    filtered = np.stack([sum(cv2.filter2D(pixels[..., c], -1, k[c]) for c in range(3)) for k in kernels], -1)
    mean, deviation = filtered.mean((0, 1)), filtered.std((0, 1)) + 1e-4
    filtered = (filtered - mean) / deviation * pixels.std((0, 1)) + pixels.mean((0, 1))
    share = np.float32(rng.uniform(0.2, 0.9))
    return share * filtered + (1 - share) * pixels


def toned(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Pixels (H, W, 3) with other tone curves: gray, channels swapped, or each channel with its own gamma and gain."""
    kind = rng.random()
    if kind < 0.25:
        return np.repeat(pixels @ rng.dirichlet((3, 3, 3)).astype(np.float32)[:, None], 3, axis=2)
    if kind < 0.4:
        return pixels[..., rng.permutation(3)]
    gamma, gain = np.exp(rng.normal(0, 0.4, 3)), np.exp(rng.normal(0, 0.2, 3))
    return (np.clip(pixels, 0, 1) ** gamma * gain).astype(np.float32)


@dataclass(frozen=True)
class CloseUp:
    """A window of an image around one of its people, so that most people are as large as on photographs.

    Args:
        least_side: pixels of the longer side of a person's box from which on it may be looked at closely.
        context: smallest and greatest longer side of the window, relative to the person's box.
        least_share: of a box's area; people of whom less is in the window are no objects.
    """

    least_side: float = 90.0
    context: tuple[float, float] = (0.9, 2.4)
    least_share: float = 0.25

    def __call__(self, rng: np.random.Generator, sample: ImageSample) -> ImageSample:
        boxes = sample.boxes
        sides = (boxes[:, 2:] - boxes[:, :2]).max(1) if len(boxes) else np.zeros(0)
        large = np.flatnonzero(sides >= self.least_side)
        if not len(large):
            return sample
        person = rng.choice(large)
        size = sides[person] * np.exp(rng.uniform(*np.log(self.context)))
        extent = size * np.array([rng.uniform(0.6, 1), 1.0])[:: rng.choice((-1, 1))]
        center = rng.uniform(boxes[person, :2], boxes[person, 2:])
        center = (center + boxes[person].reshape(2, 2).mean(0)) / 2
        limits = np.array(sample.image.shape[1::-1])
        low = np.clip(center - extent / 2, 0, limits - 16).astype(int)
        high = np.clip(center + extent / 2, low + 16, limits).astype(int)
        cut = np.clip(boxes.reshape(-1, 2, 2), low, high)
        share = np.prod(cut[:, 1] - cut[:, 0], axis=1) / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1)
        is_left = share >= self.least_share
        window = np.ascontiguousarray(sample.image[low[1] : high[1], low[0] : high[0]])
        return ImageSample(window, (cut - low).reshape(-1, 4)[is_left].astype(np.float32), sample.labels[is_left])


@dataclass(frozen=True)
class VariedImages:
    """Makes training samples of rendered images, some of them a close-up, most of them restyled.

    Args:
        make: see `hfpose.training.augmentation.FittedImages`.
        close_up_probability, style_probability: of each change.
    """

    make: FittedImages
    close_up_probability: float = 0.4
    style_probability: float = 0.6

    def __call__(self, sample: ImageSample, rng: np.random.Generator, progress: float) -> dict[str, np.ndarray]:
        if rng.random() < self.close_up_probability:
            sample = CloseUp()(rng, sample)
        if rng.random() < self.style_probability:
            sample = replace(sample, image=restyled(rng, sample.image))
        return self.make(sample, rng, progress)
