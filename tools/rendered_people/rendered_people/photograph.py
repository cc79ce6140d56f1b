"""What a camera does to an image: exposure, color cast, blur, noise and JPEG artefacts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np


@dataclass(frozen=True)
class Lens:
    """How a camera sees; the same for all frames of a clip.

    Args:
        table: (256, 3) uint8 what a channel's value becomes.
        vignette: how much darker corners are, 0 to 1.
        blur: deviation of the blur in pixels, 0 for none.
        motion: pixels that the image is smeared, 0 for none, in the direction `motion_angle` in degrees.
        noise: deviation of the noise in values of 0 to 255.
        quality: of JPEG, or None.
    """

    table: np.ndarray
    vignette: float
    blur: float
    motion: float
    motion_angle: float
    noise: float
    quality: int | None

    @classmethod
    def random(cls, rng: np.random.Generator, size: int) -> Lens:
        """A camera as good as those people have; `size` is the longer side of its images in pixels."""
        gamma, gain = np.exp(rng.normal(0, 0.15)), np.exp(rng.normal(0, 0.09))
        contrast, cast = np.exp(rng.normal(0, 0.1)), np.exp(rng.normal(0, 0.05, 3))
        value = np.arange(256)[:, None] / 255
        table = ((value**gamma - 0.5) * contrast + 0.5) * gain * cast * 255
        if rng.random() < 0.04:
            table = np.repeat(table.mean(1, keepdims=True), 3, axis=1)
        scale = float(np.sqrt(size / 320))
        return cls(
            table=np.clip(table, 0, 255).astype(np.uint8),
            vignette=float(rng.uniform(0, 0.4)) if rng.random() < 0.3 else 0.0,
            blur=float(rng.uniform(0.3, 1.1)) * scale if rng.random() < 0.35 else 0.0,
            motion=float(rng.uniform(2, 5)) * scale if rng.random() < 0.06 else 0.0,
            motion_angle=float(rng.uniform(0, 180)),
            noise=float(rng.uniform(1, 9)) if rng.random() < 0.65 else 0.0,
            quality=int(rng.integers(38, 96)) if rng.random() < 0.5 else None,
        )

    def photograph(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(H, W, 3) uint8 what becomes of an image; noise is drawn again from `rng`."""
        height, width = image.shape[:2]
        if self.blur > 0:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        if self.motion >= 2:
            image = cv2.filter2D(image, -1, _smear(self.motion, self.motion_angle))
        image = cv2.LUT(image, self.table[:, None, :])
        if self.vignette > 0:
            x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
            share = ((1 - self.vignette * (x * x + y * y) / 2) * 255).astype(np.uint8)
            image = cv2.multiply(image, cv2.cvtColor(share, cv2.COLOR_GRAY2RGB), scale=1 / 255)
        if self.noise > 0:
            image = _grainy(image, rng, self.noise)
        if self.quality is not None:
            image = jpeg(image, self.quality)
        return image


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """RGB pixels (H, W, 3), uint8, as they come out of a JPEG file of a quality of 1 to 100."""
    coded = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.cvtColor(np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), cv2.COLOR_BGR2RGB)


def _smear(length: float, angle: float) -> np.ndarray:
    """Kernel that smears along a line."""
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), np.float32)
    middle = size // 2
    step = np.array([np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))]) * length / 2
    start, stop = np.round(middle - step).astype(int).tolist(), np.round(middle + step).astype(int).tolist()
    cv2.line(kernel, start, stop, 1.0, 1)
    return kernel / kernel.sum()


_GRAIN_TILE, _GRAIN_DEVIATION = 512, 32.0


@cache
def _grain_tile() -> np.ndarray:
    """(1024, 1024, 3) uint8 white noise of mean 128; drawing it again for every image would cost more."""
    rng = np.random.default_rng(20240608)
    tile = 128 + _GRAIN_DEVIATION * rng.standard_normal((_GRAIN_TILE, _GRAIN_TILE, 3), np.float32)
    return np.tile(np.clip(np.round(tile), 0, 255).astype(np.uint8), (2, 2, 1))


def _grainy(image: np.ndarray, rng: np.random.Generator, deviation: float) -> np.ndarray:
    """An image with noise from a random place of the tile."""
    height, width = image.shape[:2]
    top, left = rng.integers(_GRAIN_TILE, size=2).tolist()
    tile = _grain_tile()
    repeats = (-(-(top + height) // tile.shape[0]), -(-(left + width) // tile.shape[1]), 1)
    tile = tile if repeats == (1, 1, 1) else np.tile(tile, repeats)
    share = deviation / _GRAIN_DEVIATION
    return cv2.addWeighted(image, 1, tile[top : top + height, left : left + width], share, -128 * share)
