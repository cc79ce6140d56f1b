"""Things in images that are no people: shapes of any texture, poles, signs, trees, animals, far crowds."""

from __future__ import annotations

import cv2
import numpy as np

from rendered_people.textures import any_color, texture

# Of a limb's width: light falls on its middle.
_LIMB_SHADES = ((1.0, 0.62), (0.72, 0.85), (0.4, 1.05))


def scatter(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    """Draws `count` random things on an image (H, W, 3), in place."""
    for _ in range(count):
        _THINGS[rng.choice(len(_THINGS), p=_CHANCES)](rng, image)


def textured(rng: np.random.Generator, image: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Fills an outline (n, 2) with a texture lighter to one side; returns the mask (H, W) of what it covers."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    left, top, broad, tall = cv2.boundingRect(mask)
    if not broad:
        return mask
    window = slice(top, top + tall), slice(left, left + broad)
    first, last = rng.uniform(0.55, 1.25, 2)
    light = np.linspace(first, last, broad if rng.random() < 0.6 else tall, dtype=np.float32)
    light = np.broadcast_to(light if len(light) == broad else light[:, None], (tall, broad))
    filling = cv2.multiply(texture(rng, broad, tall), cv2.merge([np.ascontiguousarray(light)] * 3), dtype=cv2.CV_8U)
    share = mask[window][..., None].astype(np.float32) / 255
    image[window] = image[window] * (1 - share) + filling * share
    return mask


def polygon(rng: np.random.Generator, center: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """(n, 2) an upright rectangle seen a little from the side, an ellipse or a blob around a center."""
    kind = rng.random()
    if kind < 0.5:
        corners = np.array([(-1.0, -1), (1, -1), (1, 1), (-1, 1)]) * extent / 2
        return center + corners * (1 + rng.normal(0, 0.08, (4, 2))) @ _turn(rng.normal(0, 0.08))
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    radius = np.ones(24)
    if kind > 0.7:
        for wave in (2, 3, 4, 5):
            radius += rng.normal(0, 0.5 / wave) * np.cos(wave * angle + rng.uniform(0, 6.3))
    circle = np.stack((np.cos(angle), np.sin(angle)), 1) * np.maximum(radius, 0.2)[:, None]
    return center + circle * extent / 2 @ _turn(rng.uniform(0, 3.2))


def _turn(radians: float) -> np.ndarray:
    return np.array([[np.cos(radians), np.sin(radians)], [-np.sin(radians), np.cos(radians)]])


def _place(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    return rng.uniform(-0.05, 1.05, 2) * image.shape[1::-1]


def _size(rng: np.random.Generator, image: np.ndarray, low: float = 0.04, high: float = 0.6) -> float:
    return float(max(image.shape) * np.exp(rng.uniform(np.log(low), np.log(high))))


def _shape(rng: np.random.Generator, image: np.ndarray) -> None:
    extent = _size(rng, image) * np.exp(rng.normal(0, 0.5, 2))
    textured(rng, image, polygon(rng, _place(rng, image), extent))


def _pole(rng: np.random.Generator, image: np.ndarray) -> None:
    long = _size(rng, image, 0.2, 1.5)
    along = np.array([0, long / 2]) @ _turn(rng.normal(0, 0.05) if rng.random() < 0.7 else rng.uniform(0, 3.2))
    across = np.array([along[1], -along[0]]) * rng.uniform(0.01, 0.09)
    textured(
        rng, image, _place(rng, image) + np.stack((along + across, along - across, -along - across, across - along))
    )


def _sign(rng: np.random.Generator, image: np.ndarray) -> None:
    text = "".join(chr(code) for code in rng.integers(48, 122, rng.integers(1, 8)))
    scale = _size(rng, image, 0.01, 0.15) / 22
    color, place = any_color(rng).tolist(), _place(rng, image).astype(int).tolist()
    cv2.putText(image, text, place, int(rng.integers(8)), scale, color, max(1, round(2 * scale)), cv2.LINE_AA)


def limbs(image: np.ndarray, ends: np.ndarray, widths: np.ndarray, color: np.ndarray) -> None:
    """Draws rounded bars from ends (n, 2, 2), `widths` (n,) pixels thick and lighter in their middle."""
    for (start, end), width in zip(np.round(ends * 16).astype(int).tolist(), widths.tolist(), strict=True):
        for share, shade in _LIMB_SHADES:
            value = np.clip(color * shade, 0, 255).tolist()
            cv2.line(image, start, end, value, max(1, round(width * share)), cv2.LINE_AA, 4)


def _tree(rng: np.random.Generator, image: np.ndarray) -> None:
    size, foot = _size(rng, image, 0.15, 0.9), _place(rng, image)
    top = foot - (rng.normal(0, 0.1) * size, size)
    count = int(rng.integers(3, 12))
    starts = foot + (top - foot) * rng.uniform(0.3, 1, (count, 1))
    tips = starts + size * np.stack((rng.normal(0, 0.3, count), rng.uniform(-0.5, 0.1, count)), 1)
    ends = np.concatenate((np.stack((foot, top))[None], np.stack((starts, tips), 1)))
    limbs(image, ends, size * np.r_[0.08, rng.uniform(0.01, 0.05, count)], any_color(rng))
    for tip in tips[: rng.integers(0, count + 1)]:
        textured(rng, image, polygon(rng, tip, size * rng.uniform(0.15, 0.5, 2)))


def _animal(rng: np.random.Generator, image: np.ndarray) -> None:
    """A body on four legs, with a neck, a head and a tail."""
    size, color = _size(rng, image, 0.05, 0.4), any_color(rng)
    side, leg, neck = rng.choice((-1, 1)), rng.uniform(0.2, 0.7), rng.uniform(-0.5, 0.1)
    hips = np.linspace(-0.5, 0.5, 4) + rng.normal(0, 0.05, 4)
    feet = np.stack((hips + rng.normal(0, 0.12, 4), np.full(4, leg)), 1)
    bones = [[(-0.5, 0), (0.5, 0)], *([(hip, 0), foot] for hip, foot in zip(hips, feet, strict=True))]
    bones += [
        [(0.5, -0.05), (0.75, neck)],
        [(0.75, neck), (0.95, neck + 0.1)],
        [(-0.5, 0), (-0.8, rng.uniform(-0.4, 0.4))],
    ]
    ends = np.array(bones) * (side, 1) * size + _place(rng, image)
    thick = rng.uniform(0.25, 0.5)
    limbs(image, ends, size * np.array([thick, 0.09, 0.09, 0.09, 0.09, thick * 0.5, thick * 0.5, 0.05]), color)


def _tangle(rng: np.random.Generator, image: np.ndarray) -> None:
    """Bars that hang together like limbs, but not like a body, with a ball or two."""
    size, color = _size(rng, image, 0.05, 0.5), any_color(rng)
    count = int(rng.integers(2, 8))
    joints = np.cumsum(rng.normal(0, 0.35, (count + 1, 2)), 0) * size + _place(rng, image)
    limbs(image, np.stack((joints[:-1], joints[1:]), 1), size * rng.uniform(0.04, 0.3, count), color)
    for joint in joints[: rng.integers(0, 3)]:
        limbs(image, np.stack((joint, joint))[None], size * rng.uniform(0.1, 0.4, 1), any_color(rng))


def crowd(rng: np.random.Generator, image: np.ndarray) -> None:
    """Rows of far spectators: balls on ovals of any color, too small and blurred to be labeled."""
    height, width = image.shape[:2]
    tall = height * rng.uniform(0.015, 0.05)
    top, rows = rng.uniform(0, 0.5) * height, int(rng.integers(1, 7))
    for row in range(rows):
        for x in np.arange(0, width, tall * rng.uniform(0.9, 2.5)) + rng.normal(0, tall * 0.2):
            y = top + row * tall * 1.3 + rng.normal(0, tall * 0.15)
            skin = np.array([214, 164, 130]) * rng.uniform(0.35, 1.15)
            ends = np.array([[(x, y), (x + rng.normal(0, tall * 0.15), y + tall * rng.uniform(0.3, 1))]])
            limbs(image, ends, np.array([tall * rng.uniform(0.6, 0.9)]), any_color(rng))
            limbs(image, np.array([[(x, y - tall * 0.55)] * 2]), np.array([tall * 0.5]), skin)


_THINGS = (_shape, _pole, _sign, _tree, _animal, _tangle)
_CHANCES = np.array([0.5, 0.16, 0.08, 0.1, 0.06, 0.1])
