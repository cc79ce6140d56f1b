"""Textures of the kinds that photographs are full of: leaves, grass, cloth, brick, gravel, glare.

Gray tiles are made once; a texture is a window of one, zoomed, turned and dyed by a palette.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

_TILE = 256
# Colors that much of the world has: sky, foliage, soil, wood, stone, concrete, snow, brick, skin, dusk.
_COMMON = np.array(
    [
        *((150, 185, 222), (74, 104, 44), (104, 138, 62), (46, 62, 34), (128, 100, 72), (186, 160, 120)),
        *((150, 108, 68), (92, 62, 40), (140, 138, 134), (196, 194, 190), (236, 238, 240), (150, 74, 56)),
        *((214, 164, 130), (120, 80, 58), (28, 28, 32), (60, 64, 72), (244, 242, 236), (70, 92, 130)),
    ],
    float,
)


def any_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) a color as it may occur in a photograph: mostly a common one, else any."""
    if rng.random() < 0.8:
        return np.clip(
            _COMMON[rng.integers(len(_COMMON))] * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 10, 3), 0, 255
        )
    return rng.uniform(0, 255, 3)


def texture(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8 of a random texture and palette."""
    tile = _tiles()[rng.integers(len(_tiles()))]
    angle = rng.uniform(-180, 180) if rng.random() < 0.3 else rng.normal(0, 4)
    matrix = cv2.getRotationMatrix2D((0, 0), angle, float(np.exp(rng.uniform(np.log(0.3), np.log(2.0)))))
    matrix[:, 2] = rng.uniform(0, _TILE, 2)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    relief = cv2.warpAffine(tile, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return cv2.LUT(cv2.cvtColor(relief, cv2.COLOR_GRAY2RGB), _palette(rng)[None])


def relief(rng: np.random.Generator, width: int, height: int, zoom: float) -> np.ndarray:
    """(height, width) float32 of mean 0 and about 1 at most, from a cloudy tile; folds and stains."""
    tile = _tiles()[rng.integers(_SOFT)]
    matrix = np.array([[1 / zoom, 0, rng.uniform(0, _TILE)], [0, rng.uniform(0.4, 1.2) / zoom, rng.uniform(0, _TILE)]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    window = cv2.warpAffine(tile, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT)
    return (window.astype(np.float32) - 128) / 100


def _palette(rng: np.random.Generator) -> np.ndarray:
    """(256, 3) uint8 what gray becomes: shades of one color, or from one to another."""
    color, contrast = any_color(rng), rng.uniform(0.05, 0.9)
    ends = np.stack((color * (1 - contrast), color * (1 + 0.6 * contrast)))
    if rng.random() < 0.35:
        ends[rng.integers(2)] = any_color(rng)
    share = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.normal(0, 0.4))
    return np.clip(ends[0] + share * (ends[1] - ends[0]), 0, 255).astype(np.uint8)


_SOFT, _CLOUDS, _LEAVES, _GRIDS = 12, 14, 20, 14


@cache
def _tiles() -> tuple[np.ndarray, ...]:
    """(256, 256) uint8 tiles, stretched to the whole range; the first `_SOFT` are cloudy."""
    rng = np.random.default_rng(20261127)
    kinds = [_soft_cloud] * _SOFT + [_cloud] * _CLOUDS + [_leaves] * _LEAVES + [_grid] * _GRIDS
    tiles = []
    for make in kinds:
        tile = make(rng)
        low, high = np.percentile(tile, (2, 98))
        tiles.append(np.clip((tile - low) / max(high - low, 1e-6) * 255, 0, 255).astype(np.uint8))
    return tuple(tiles)


def _soft_cloud(rng: np.random.Generator) -> np.ndarray:
    return _cloud(rng, smoothest=2.2, roughest=1.3)


def _cloud(rng: np.random.Generator, smoothest: float = 2.0, roughest: float = 0.5) -> np.ndarray:
    """Noise whose spectrum falls with some power of the frequency, stretched in one direction: clouds to gravel and
    grass."""
    frequency = np.fft.fftfreq(_TILE)
    stretch = np.exp(rng.normal(0, 0.7))
    radius = np.hypot(frequency[:, None] * stretch, frequency / stretch) + 1 / _TILE
    spectrum = radius ** -rng.uniform(roughest, smoothest) * np.exp(2j * np.pi * rng.random((_TILE, _TILE)))
    return np.fft.ifft2(spectrum).real


def _leaves(rng: np.random.Generator) -> np.ndarray:
    """Shapes on shapes of sizes as in nature (dead leaves), each lighter toward one side."""
    tile = np.full((_TILE, _TILE), 128, np.uint8)
    smallest, largest = np.exp(rng.uniform(np.log(2), np.log(6))), rng.uniform(12, 60)
    round_share, slim = rng.random(), rng.uniform(0.25, 1)
    for _ in range(int(3 * _TILE**2 / (smallest * largest * 3))):
        size = smallest * (largest / smallest) ** (rng.random() ** 2)
        axes = (int(size) + 1, int(size * rng.uniform(slim, 1)) + 1)
        center, angle, shade = rng.integers(0, _TILE, 2).tolist(), rng.uniform(0, 180), rng.integers(0, 256)
        if rng.random() < round_share:
            cv2.ellipse(tile, center, axes, angle, 0, 360, int(shade), -1, cv2.LINE_AA)
        else:
            corners = cv2.boxPoints((center, (2.0 * axes[0], 2.0 * axes[1]), angle))
            cv2.fillConvexPoly(tile, corners.astype(np.int32), int(shade), cv2.LINE_AA)
    return tile + 14 * _normal(_cloud(rng))


def _grid(rng: np.random.Generator) -> np.ndarray:
    """Stripes, checks, bricks, windows, slats and nets, with stains."""
    rows, columns = (max(4.0, step) for step in np.exp(rng.uniform(np.log(5), np.log(70), 2)).tolist())
    y, x = np.indices((_TILE, _TILE), dtype=float)
    x += (y // rows % 2) * columns * rng.choice((0, 0.5))
    wide, tall = rng.uniform(0.1, 0.9, 2)
    across, along = x % columns < columns * wide, y % rows < rows * tall
    kind = rng.integers(4)
    pattern = (across, across & along, across | along, across ^ along)[kind].astype(float)
    shade = rng.random((_TILE, _TILE))[(y // rows).astype(int) % _TILE, (x // columns).astype(int) % _TILE]
    return pattern + rng.uniform(0, 0.7) * shade + rng.uniform(0.02, 0.25) * _normal(_cloud(rng))


def _normal(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()
