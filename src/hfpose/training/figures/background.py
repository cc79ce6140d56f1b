"""What is behind figures: rooms, streets and fields in the camera's perspective, studios, and plain clutter."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from hfpose.training.figures.camera import Camera

_WORDS = ("OPEN", "CAFE", "exit", "SALE", "2024", "hello", "Taxi", "No. 7", "BUS", "news", "PIZZA", "level 3", "Hotel", "go!")
_GROUND_TILE = 256
_FAR = 60.0


def random_background(rng: np.random.Generator, camera: Camera, farthest: float) -> tuple[np.ndarray, bool]:
    """A background (H, W, 3) uint8 RGB, and whether it shows ground that shadows fall on.

    Args:
        farthest: meters to the farthest person, behind whom walls, trees and houses are.
    """
    kind = rng.random()
    if kind < 0.36:
        picture, ground = _room(rng, camera, farthest), True
    elif kind < 0.72:
        picture, ground = _outdoors(rng, camera, farthest), True
    elif kind < 0.84:
        picture, ground = _studio(rng, camera), True
    else:
        picture, ground = _clutter(rng, camera), False
    if ground:
        # nothing is quite even: a weathering over all of it
        size = (camera.width, camera.height)
        relief = np.clip(128 + rng.uniform(2, 9) * noise(rng, *size, float(rng.uniform(0.6, 1.6))), 0, 255)
        picture = cv2.multiply(picture, cv2.cvtColor(relief.astype(np.uint8), cv2.COLOR_GRAY2RGB), scale=1 / 128)
    return picture, ground


def _bytes(picture: np.ndarray) -> np.ndarray:
    """A picture as contiguous uint8."""
    return np.ascontiguousarray(np.clip(picture, 0, 255), np.uint8)


# Materials ------------------------------------------------------------------------------------------------------------


@cache
def _noise_tile() -> np.ndarray:
    """(512, 512) float32 cloudy noise of mean 0 and deviation 1; it repeats without a seam."""
    rng = np.random.default_rng(20240607)
    tile = np.zeros((512, 512), np.float32)
    for size in (4, 8, 16, 32, 64, 128, 256, 512):
        octave = rng.standard_normal((size, size)).astype(np.float32)
        octave = np.pad(octave, 2, mode="wrap")
        factor = 512 // size
        large = cv2.resize(octave, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        tile += large[2 * factor : -2 * factor, 2 * factor : -2 * factor] * size**-0.6
    return (tile - tile.mean()) / tile.std()


def _relief() -> np.ndarray:
    """(256, 256, 1) the noise tile at half its size."""
    return _noise_tile()[::2, ::2, None]


def noise(rng: np.random.Generator, width: int, height: int, zoom: float = 1.0) -> np.ndarray:
    """(height, width) float32 cloudy noise of deviation 1; `zoom` pixels of the picture per pixel of noise."""
    tile = _noise_tile()
    rows, columns = int(np.ceil(height / zoom)) + 1, int(np.ceil(width / zoom)) + 1
    top, left = rng.integers(512, size=2)
    rows_at, columns_at = (top + np.arange(rows)) % 512, (left + np.arange(columns)) % 512
    if rng.random() < 0.5:
        columns_at = columns_at[::-1]
    part = tile[rows_at][:, columns_at]
    if zoom == 1.0:
        return part[:height, :width]
    return cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR)


def _color(rng: np.random.Generator, saturation: float, low: float = 40, high: float = 235) -> np.ndarray:
    """(3,) a color; saturation 0 to 1."""
    gray = rng.uniform(low, high)
    return np.clip(gray * (1 + saturation * rng.uniform(-1, 1, 3)), 5, 250)


def _flat(rng: np.random.Generator, height: int, width: int, color: np.ndarray, roughness: float) -> np.ndarray:
    """(height, width, 3) float32 of one color with cloudy roughness."""
    relief = noise(rng, width, height, float(rng.uniform(0.5, 2.0)))
    return (color * (1 + roughness * relief)[..., None]).astype(np.float32)


def _floor_tile(rng: np.random.Generator) -> np.ndarray:
    """(256, 256, 3) float32 material of a floor that repeats."""
    kind = rng.integers(5)
    n = _GROUND_TILE
    relief = _relief()
    if kind == 0:  # planks
        color = np.array([150, 108, 70]) * rng.uniform(0.5, 1.35)
        shade = np.repeat(rng.uniform(0.82, 1.12, 8), n // 8)[None, :, None]
        grain = np.repeat(_noise_tile()[:8, ::2], n // 8, axis=0).T[..., None]
        tile = color * shade * (1 + 0.05 * grain)
        tile[:, :: n // 8] *= 0.55
        for plank in range(8):
            start = int(rng.integers(n))
            tile[start : start + 2, plank * n // 8 : (plank + 1) * n // 8] *= 0.6
    elif kind == 1:  # tiles
        first, second = _color(rng, 0.15, 90), _color(rng, 0.15, 60)
        second = second if rng.random() < 0.5 else first * 0.94
        squares = (np.indices((n, n)) // (n // 4)).sum(0) % 2
        tile = np.where(squares[..., None] == 0, first, second) * (1 + 0.04 * relief)
        tile[:: n // 4] *= 0.7
        tile[:, :: n // 4] *= 0.7
    elif kind == 2:  # carpet
        tile = _color(rng, 0.35) * (1 + 0.08 * relief)
    elif kind == 3:  # stone
        tile = _color(rng, 0.06, 90, 190) * (1 + 0.16 * relief)
    else:  # concrete
        tile = _color(rng, 0.04, 110, 200) * (1 + 0.07 * relief)
    return tile.astype(np.float32)


def _ground_tile(rng: np.random.Generator) -> np.ndarray:
    """(256, 256, 3) float32 material of ground outdoors that repeats."""
    relief = _relief()
    kind = rng.integers(4)
    color, rough = (
        (np.array([92, 124, 58]) * rng.uniform(0.6, 1.3), 0.17),
        (np.array([112, 112, 114]) * rng.uniform(0.6, 1.4), 0.08),
        (np.array([208, 186, 146]) * rng.uniform(0.8, 1.1), 0.09),
        (np.array([132, 110, 86]) * rng.uniform(0.7, 1.2), 0.18),
    )[kind]
    tile = color * (1 + rough * relief)
    if kind == 1 and rng.random() < 0.6:  # paving
        tile[:: _GROUND_TILE // 4] *= 0.72
        tile[:, :: _GROUND_TILE // 4] *= 0.72
    return tile.astype(np.float32)


def _lay_ground(
    rng: np.random.Generator, picture: np.ndarray, camera: Camera, tile: np.ndarray, meters: float, far: float
) -> None:
    """Paints the ground up to the distance `far` over a picture, `tile` repeating every `meters`."""
    height, width = picture.shape[:2]
    points = np.array([(-1.0, 3), (1, 3), (1, 9), (-1, 9)])
    turned = np.deg2rad(rng.uniform(-30, 30))
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    world = np.concatenate((points, np.zeros((4, 1))), axis=1)
    pixels = camera.project_world(world).astype(np.float32)
    texels = ((points @ turn.T) / meters * _GROUND_TILE).astype(np.float32)
    to_tile = cv2.getPerspectiveTransform(pixels, texels)
    rows, columns = np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)
    divisor = to_tile[2, 0] * columns + to_tile[2, 1] * rows[:, None] + to_tile[2, 2]
    below = _rows_of_ground(camera, far)
    divisor = np.where(np.abs(divisor) < 1e-6, 1e-6, divisor)
    u = (to_tile[0, 0] * columns + to_tile[0, 1] * rows[:, None] + to_tile[0, 2]) / divisor
    v = (to_tile[1, 0] * columns + to_tile[1, 1] * rows[:, None] + to_tile[1, 2]) / divisor
    laid = cv2.remap(
        tile,
        np.mod(u, _GROUND_TILE).astype(np.float32),
        np.mod(v, _GROUND_TILE).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    # where one pixel spans many of the tile's, only its mean is left
    span = np.abs(np.gradient(v, axis=0)) if height > 1 else np.zeros_like(v)
    blur = np.clip(span / 10 - 0.3, 0, 1)[..., None].astype(np.float32)
    laid += blur * (tile.mean((0, 1)) - laid)
    np.copyto(picture, _bytes(laid), where=below[..., None])


def _rows_of_ground(camera: Camera, far: float) -> np.ndarray:
    """(H, W) where the picture shows ground nearer than `far`."""
    (left, right) = camera.project_world(np.array([(-0.3 * far, far, 0), (0.3 * far, far, 0)]))
    slope = (right[1] - left[1]) / (right[0] - left[0])
    edge = left[1] + slope * (np.arange(camera.width) - left[0])
    return np.arange(camera.height)[:, None] > edge


# Places ---------------------------------------------------------------------------------------------------------------


def _room(rng: np.random.Generator, camera: Camera, farthest: float) -> np.ndarray:
    height, width = camera.height, camera.width
    wall = farthest + rng.uniform(1.0, 3.5)
    color = _color(rng, 0.22, 80, 240)
    picture = _flat(rng, height, width, color, rng.uniform(0.01, 0.05))
    fall = np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.85, 1.15), width, dtype=np.float32)
    picture = _bytes(picture * fall[None, :, None])
    paint = _Painter(picture, camera)
    if rng.random() < 0.3:  # wallpaper, panels or bricks
        step = rng.uniform(0.15, 0.8)
        for x in np.arange(-8, 8, step):
            paint.face(x, x + step * rng.choice((0.5, 0.04)), 0, 3.5, wall, color * rng.uniform(0.85, 1.1))
    for _ in range(rng.integers(1, 5)):
        _decorate_wall(rng, paint, wall)
    if rng.random() < 0.7:
        paint.face(-12, 12, 0, rng.uniform(0.06, 0.14), wall, color * rng.choice((0.6, 1.2)))
    _lay_ground(rng, picture, camera, _floor_tile(rng), rng.uniform(0.8, 2.4), wall)
    for _ in range(rng.integers(0, 4)):
        depth = rng.uniform(0.3, 0.7)
        x, broad, tall = rng.uniform(-4.5, 4.0), rng.uniform(0.4, 1.8), rng.uniform(0.4, 2.1)
        front = wall - depth - rng.uniform(0, 0.15)
        paint.box(x, x + broad, front, front + depth, 0, tall, _color(rng, 0.3))
        for row in range(rng.integers(0, 4)):  # drawers
            low = tall * (row + 0.12) / 4
            paint.face(x + 0.06 * broad, x + 0.94 * broad, low, low + tall * 0.2, front - 0.005, _color(rng, 0.25))
    return picture


def _decorate_wall(rng: np.random.Generator, paint: _Painter, wall: float) -> None:
    x, z = rng.uniform(-4, 3.6), rng.uniform(0.9, 1.8)
    kind = rng.integers(5)
    if kind == 0:  # picture
        broad, tall = rng.uniform(0.3, 1.2, 2)
        paint.face(x, x + broad, z, z + tall, wall, _color(rng, 0.2, 20, 120))
        paint.face(x + 0.04, x + broad - 0.04, z + 0.04, z + tall - 0.04, wall, _color(rng, 0.5))
        for _ in range(4):
            left, low = x + 0.05 + rng.random() * (broad - 0.2), z + 0.05 + rng.random() * (tall - 0.2)
            paint.face(left, left + rng.uniform(0.04, 0.14), low, low + rng.uniform(0.04, 0.14), wall, _color(rng, 0.6))
    elif kind == 1:  # window
        broad, tall = rng.uniform(0.8, 2.0), rng.uniform(0.9, 1.4)
        paint.face(x - 0.06, x + broad + 0.06, z - 0.06, z + tall + 0.06, wall, _color(rng, 0.05, 180, 245))
        paint.face(x, x + broad, z, z + tall, wall, np.array([190, 214, 236]) * rng.uniform(0.8, 1.05))
        paint.face(x, x + broad, z, z + tall * rng.uniform(0.1, 0.4), wall, np.array([120, 150, 100]))
        paint.face(x + broad / 2 - 0.02, x + broad / 2 + 0.02, z, z + tall, wall, np.array([235, 235, 232]))
    elif kind == 2:  # door
        color = _color(rng, 0.25, 60, 220)
        paint.face(x - 0.07, x + 0.97, 0, 2.12, wall, color * 0.8)
        paint.face(x, x + 0.9, 0, 2.05, wall, color)
        for low in (0.2, 1.15):
            paint.face(x + 0.14, x + 0.76, low, low + 0.7, wall, color * 0.9)
    elif kind == 3:  # shelf with books
        broad = rng.uniform(0.6, 1.8)
        paint.face(x, x + broad, z, z + 0.04, wall, _color(rng, 0.25, 50, 160))
        left = x
        while left < x + broad:
            thick = rng.uniform(0.02, 0.07)
            paint.face(left, left + thick * 0.94, z + 0.04, z + rng.uniform(0.18, 0.34), wall, _color(rng, 0.6))
            left += thick
    else:
        paint.text(str(rng.choice(_WORDS)), x, z + 0.3, wall, rng.uniform(0.15, 0.4), _color(rng, 0.5))


def _outdoors(rng: np.random.Generator, camera: Camera, farthest: float) -> np.ndarray:
    height, width = camera.height, camera.width
    horizon = float(camera.project_world(np.array([0.0, _FAR, 0]))[1])
    top = np.array([104, 152, 214]) * rng.uniform(0.6, 1.15) if rng.random() < 0.7 else _color(rng, 0.15, 120, 230)
    low = np.array([214, 224, 232]) * rng.uniform(0.75, 1.08)
    share = np.clip(np.linspace(0, height / max(horizon, 1), height, dtype=np.float32), 0, 1)[:, None, None]
    picture = np.broadcast_to(top + share * (low - top), (height, width, 3)).astype(np.float32)
    if rng.random() < 0.6:
        cover = np.clip(noise(rng, width, height, rng.uniform(1.0, 3.0)) - rng.uniform(-0.2, 0.8), 0, 1)[..., None]
        picture = picture + cover * (245 - picture) * rng.uniform(0.3, 0.9)
    picture = _bytes(picture)
    paint = _Painter(picture, camera)
    town = rng.random() < 0.5
    if not town:
        _hills(rng, picture, horizon)
    _lay_ground(rng, picture, camera, _ground_tile(rng), rng.uniform(1.2, 4.0), 45.0)
    if town:
        x = -34.0
        while x < 34:
            broad = rng.uniform(4, 12)
            _building(rng, paint, x, x + broad, farthest + rng.uniform(4, 18))
            x += broad + rng.choice((0.0, 0.0, rng.uniform(1, 5)))
    for _ in range(rng.integers(0, 6)):
        _tree(rng, paint, rng.uniform(-10, 10), farthest + rng.uniform(2, 16))
    if rng.random() < 0.35:  # fence
        away, color = farthest + rng.uniform(1, 5), _color(rng, 0.15)
        step = rng.uniform(0.2, 1.4)
        for x in np.arange(-9, 9, step):
            paint.face(x, x + 0.08, 0, 1.1, away, color)
        for z in (0.35, 0.9):
            paint.face(-9, 9, z, z + 0.09, away, color * 0.93)
    for _ in range(rng.integers(0, 3)):  # poles and signs
        x, away = rng.uniform(-5, 5), farthest + rng.uniform(1, 7)
        paint.face(x, x + 0.1, 0, rng.uniform(2, 4.5), away, _color(rng, 0.1, 60, 160))
        if rng.random() < 0.5:
            paint.face(x - 0.3, x + 0.4, 2.0, 2.6, away, _color(rng, 0.7))
            paint.text(str(rng.choice(_WORDS)), x - 0.25, 2.22, away, 0.16, np.array([250, 250, 245]))
    return picture


def _building(rng: np.random.Generator, paint: _Painter, left: float, right: float, away: float) -> None:
    color = _color(rng, 0.2, 70, 215)
    tall = rng.uniform(5, 16)
    paint.face(left, right, 0, tall, away, color)
    glass = np.array([70, 84, 100]) * rng.uniform(0.6, 1.7)
    broad, high = rng.uniform(0.9, 1.8), rng.uniform(1.2, 2.0)
    for z in np.arange(rng.uniform(0.8, 3.0), tall - high, high * rng.uniform(1.5, 2.0)):
        for x in np.arange(left + 0.5, right - broad, broad * 1.9):
            paint.face(x, x + broad, z, z + high, away, glass * rng.uniform(0.85, 1.2))
    if rng.random() < 0.5:
        paint.face(left, right, 2.5, 3.1, away, _color(rng, 0.6))
        paint.text(str(rng.choice(_WORDS)), left + 0.4, 2.62, away, 0.3, np.array([246, 244, 236]))


def _hills(rng: np.random.Generator, picture: np.ndarray, horizon: float) -> None:
    height, width = picture.shape[:2]
    x = np.arange(width)
    for layer in range(rng.integers(1, 4)):
        waves = sum(np.sin(x / width * f * 2 * np.pi + p) / f for f, p in zip((1, 2.3, 5.1), rng.random(3) * 6.3, strict=True))
        edge = horizon - height * (0.09 - 0.025 * layer) * (1 + 0.5 * waves)
        color = np.array([96, 124, 88]) * rng.uniform(0.6, 1.2) + (2 - layer) * 18
        below = np.arange(height)[:, None] > edge
        np.copyto(picture, _bytes(color), where=below[..., None])


def _tree(rng: np.random.Generator, paint: _Painter, x: float, away: float) -> None:
    trunk = rng.uniform(1.0, 2.6)
    paint.face(x - 0.14, x + 0.14, 0, trunk, away, np.array([84, 64, 48]) * rng.uniform(0.7, 1.3))
    green = np.array([74, 104, 54]) * rng.uniform(0.6, 1.25)
    for height in np.linspace(0, 1, 34):  # leaves are lighter toward the top
        radius = rng.uniform(0.18, 0.5)
        spread = 0.25 + 0.75 * np.sin(np.pi * (0.15 + 0.75 * height))
        place = (x + spread * rng.normal(0, 0.6), away, trunk + 2.3 * height)
        paint.ball(place, radius, green * (0.7 + 0.45 * height) * rng.uniform(0.85, 1.15))


def _studio(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    height, width = camera.height, camera.width
    first, second = _color(rng, 0.3), _color(rng, 0.3)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    share = np.clip(0.5 + 0.5 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)[..., None]
    picture = first + share * (second - first)
    glow = np.exp(-((x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.6, 0.3)) ** 2) / rng.uniform(0.3, 1.5))
    picture = picture * (0.8 + 0.4 * glow[..., None])
    return _bytes(picture * (1 + rng.uniform(0, 0.04) * noise(rng, width, height)[..., None]))


def _clutter(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    """Noise of several sizes under shapes, bars the colors of skin and cloth, and text."""
    height, width = camera.height, camera.width
    picture = np.empty((height, width, 3), np.float32)
    base, spread = _color(rng, 0.3), rng.uniform(8, 55)
    for channel in range(3):
        picture[..., channel] = base[channel] + spread * noise(rng, width, height, rng.uniform(0.5, 4.0))
    picture = _bytes(picture)
    size = max(height, width)
    for _ in range(rng.integers(4, 28)):
        color = _color(rng, 0.6).tolist()
        place = rng.uniform(0, 1, 2) * (width, height)
        extent = size * rng.uniform(0.02, 0.3)
        kind = rng.integers(4)
        if kind == 0:
            corners = place + extent * rng.normal(0, 0.7, (rng.integers(3, 7), 2))
            cv2.fillPoly(picture, [corners.astype(np.int32)], color, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(extent * rng.uniform(0.2, 1)) + 1, int(extent * rng.uniform(0.2, 1)) + 1)
            center = tuple(place.astype(int).tolist())
            cv2.ellipse(picture, center, axes, rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
        elif kind == 2:
            end = place + extent * rng.normal(0, 1.2, 2)
            thick = max(1, int(size * rng.uniform(0.003, 0.04)))
            cv2.line(picture, place.astype(int).tolist(), end.astype(int).tolist(), color, thick, cv2.LINE_AA)
        else:
            scale = size / 320 * rng.uniform(0.4, 1.6)
            font = int(rng.integers(8))
            cv2.putText(picture, str(rng.choice(_WORDS)), place.astype(int).tolist(), font, scale, color, 1, cv2.LINE_AA)
    return picture


class _Painter:
    """Draws things of the world onto a background."""

    def __init__(self, picture: np.ndarray, camera: Camera) -> None:
        self.picture, self.camera = picture, camera

    def polygon(self, corners: np.ndarray, color: np.ndarray) -> None:
        """A convex polygon (n, 3) of the world."""
        limit = 8 * max(self.picture.shape)
        pixels = np.clip(self.camera.project_world(corners), -limit, limit)
        low, high = pixels.min(0), pixels.max(0)
        if (high < 0).any() or low[0] > self.camera.width or low[1] > self.camera.height:
            return
        cv2.fillConvexPoly(self.picture, np.round(pixels * 16).astype(np.int32), color.tolist(), cv2.LINE_AA, 4)

    def face(self, left: float, right: float, low: float, high: float, away: float, color: np.ndarray) -> None:
        """An upright rectangle that faces the camera."""
        corners = [(left, away, low), (right, away, low), (right, away, high), (left, away, high)]
        self.polygon(np.array(corners, float), np.clip(color, 0, 255))

    def box(
        self, left: float, right: float, near: float, far: float, low: float, high: float, color: np.ndarray
    ) -> None:
        """A box, its top and the side that is seen darker or lighter than its front."""
        side = left if left > 0 else right
        if left > 0 or right < 0:
            corners = [(side, near, low), (side, far, low), (side, far, high), (side, near, high)]
            self.polygon(np.array(corners, float), np.clip(color * 0.75, 0, 255))
        if high < self.camera.elevation:
            corners = [(left, near, high), (right, near, high), (right, far, high), (left, far, high)]
            self.polygon(np.array(corners, float), np.clip(color * 1.15, 0, 255))
        self.face(left, right, low, high, near, color)

    def ball(self, center: tuple[float, float, float], radius: float, color: np.ndarray) -> None:
        x, y = self.camera.project_world(np.array(center)).tolist()
        pixels = radius * self.camera.focal / max(center[1], 0.5)
        if -pixels < x < self.camera.width + pixels and -pixels < y < self.camera.height + pixels:
            cv2.circle(self.picture, (int(x), int(y)), max(int(pixels), 1), np.clip(color, 0, 255).tolist(), -1)

    def text(self, words: str, x: float, z: float, away: float, tall: float, color: np.ndarray) -> None:
        u, v = self.camera.project_world(np.array([x, away, z])).tolist()
        if 0 <= u < self.camera.width and 0 <= v < self.camera.height:
            scale = tall * self.camera.focal / away / 22
            thick = max(1, round(scale * 2))
            color = np.clip(color, 0, 255)
            cv2.putText(self.picture, words, (int(u), int(v)), 0, scale, color.tolist(), thick, cv2.LINE_AA)
