"""What is behind figures: rooms, streets and fields in the camera's perspective, studios, and plain clutter."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from rendered_people.camera import Camera

_WORDS = ("OPEN", "CAFE", "exit", "SALE", "2024", "hello", "Taxi", "BUS", "news", "PIZZA", "level 3", "Hotel", "go!")
_TILE, _GROUND_TILE, _TILES = 512, 128, 8
# Meters that the ground outdoors reaches, and from which its grain is too fine to be seen.
_FAR, _FADE = 45.0, (7.0, 16.0)


def random_background(rng: np.random.Generator, camera: Camera, farthest: float) -> tuple[np.ndarray, bool]:
    """A background (H, W, 3) uint8 RGB, and whether it shows ground that shadows fall on.

    Args:
        farthest: meters to the farthest person, behind whom walls, trees and houses are.
    """
    kind = rng.random()
    if kind < 0.36:
        return _weathered(rng, _room(rng, camera, farthest)), True
    if kind < 0.72:
        return _weathered(rng, _outdoors(rng, camera, farthest)), True
    if kind < 0.84:
        return _studio(rng, camera), True
    return _clutter(rng, camera), False


# Materials
# ------------------------------------------------------------------------------------------------------------


@cache
def _noise_tile() -> np.ndarray:
    """(512, 512) uint8 cloudy noise of mean 128 and deviation 40; it repeats without a seam."""
    rng = np.random.default_rng(20240607)
    tile = np.zeros((_TILE, _TILE), np.float32)
    for size in (4, 8, 16, 32, 64, 128, 256, 512):
        octave = np.pad(rng.standard_normal((size, size)).astype(np.float32), 2, mode="wrap")
        factor = _TILE // size
        large = cv2.resize(octave, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        tile += large[2 * factor : -2 * factor, 2 * factor : -2 * factor] * size**-0.6
    return np.clip(np.round(128 + 40 * (tile - tile.mean()) / tile.std()), 0, 255).astype(np.uint8)


@cache
def _wide_noise() -> np.ndarray:
    """(1024, 1024) the noise tile twice in both directions, so that any window of it is one slice."""
    return np.tile(_noise_tile(), (2, 2))


def _noise(rng: np.random.Generator, width: int, height: int, zoom: float = 1.0) -> np.ndarray:
    """(height, width) uint8 cloudy noise of mean 128 and deviation 40, each pixel of it `zoom` pixels large."""
    zoom = max(zoom, width / _TILE, height / _TILE)
    rows, columns = int(np.ceil(height / zoom)), int(np.ceil(width / zoom))
    top, left = rng.integers(_TILE, size=2).tolist()
    window = _wide_noise()[top : top + rows, left : left + columns]
    if rng.random() < 0.5:
        window = window[:, ::-1]
    return cv2.resize(window, (width, height), interpolation=cv2.INTER_LINEAR)


def _tinted(relief: np.ndarray, color: np.ndarray, roughness: float) -> np.ndarray:
    """(H, W, 3) uint8 of a color that noise (H, W) makes lighter and darker by the share `roughness`."""
    shade = 1 + roughness * (np.arange(256)[:, None] - 128) / 40
    table = np.clip(np.round(color * shade), 0, 255).astype(np.uint8)
    return cv2.LUT(cv2.cvtColor(relief, cv2.COLOR_GRAY2RGB), table[None])


def _weathered(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """An image a little lighter and darker here and there: nothing is quite even."""
    height, width = image.shape[:2]
    relief = _noise(rng, width, height, float(rng.uniform(0.6, 1.6)))
    strength = rng.uniform(0.02, 0.08) / 40 * 128
    relief = cv2.convertScaleAbs(relief, alpha=strength, beta=128 * (1 - strength))
    return cv2.multiply(image, cv2.cvtColor(relief, cv2.COLOR_GRAY2RGB), scale=1 / 128)


def _color(rng: np.random.Generator, saturation: float, low: float = 40, high: float = 235) -> np.ndarray:
    """(3,) a color; saturation 0 to 1."""
    gray = rng.uniform(low, high)
    return np.clip(gray * (1 + saturation * rng.uniform(-1, 1, 3)), 5, 250)


@cache
def _relief() -> np.ndarray:
    """(128, 128) the noise tile in every fourth pixel."""
    return np.ascontiguousarray(_noise_tile()[::4, ::4])


def _floor_tile(rng: np.random.Generator) -> np.ndarray:
    """(128, 128, 3) uint8 material of a floor that repeats."""
    kind = rng.integers(5)
    n = _GROUND_TILE
    if kind == 0:  # planks
        grain = np.repeat(_relief()[:, ::8], 8, axis=1)
        tile = _tinted(grain.T.copy(), np.array([150, 108, 70]) * rng.uniform(0.5, 1.35), 0.06)
        for plank, shade in enumerate(rng.uniform(0.82, 1.12, 8).tolist()):
            board = tile[plank * n // 8 : (plank + 1) * n // 8]
            cv2.convertScaleAbs(board, board, alpha=shade)
            board[0] //= 2
            board[:, int(rng.integers(n))] //= 2
        return tile
    if kind == 1:  # tiles
        color = _color(rng, 0.15, 90)
        tile = _tinted(_relief(), color, 0.04)
        if rng.random() < 0.5:
            squares = (np.indices((n, n)) // (n // 4)).sum(0) % 2 == 1
            tile[squares] = _tinted(_relief(), _color(rng, 0.15, 60), 0.04)[squares]
        return _jointed(tile, n // 4)
    if kind == 2:  # carpet
        return _tinted(_relief(), _color(rng, 0.35), 0.08)
    if kind == 3:  # stone
        return _tinted(_relief(), _color(rng, 0.06, 90, 190), 0.16)
    return _tinted(_relief(), _color(rng, 0.04, 110, 200), 0.07)  # concrete


def _ground_tile(rng: np.random.Generator) -> np.ndarray:
    """(128, 128, 3) uint8 material of ground outdoors that repeats."""
    kind = rng.integers(4)
    color, roughness = (
        (np.array([92, 124, 58]) * rng.uniform(0.6, 1.3), 0.17),
        (np.array([112, 112, 114]) * rng.uniform(0.6, 1.4), 0.08),
        (np.array([208, 186, 146]) * rng.uniform(0.8, 1.1), 0.09),
        (np.array([132, 110, 86]) * rng.uniform(0.7, 1.2), 0.18),
    )[kind]
    tile = _tinted(_relief(), color, roughness)
    return _jointed(tile, _GROUND_TILE // 4) if kind == 1 and rng.random() < 0.6 else tile


def _jointed(tile: np.ndarray, step: int) -> np.ndarray:
    """A tile with dark joints every `step` pixels."""
    tile[::step] = tile[::step] // 3 * 2
    tile[:, ::step] = tile[:, ::step] // 3 * 2
    return tile


def _lay_ground(
    rng: np.random.Generator, image: np.ndarray, camera: Camera, tile: np.ndarray, meters: float, far: float
) -> None:
    """Paints the ground up to the distance `far` over an image, `tile` repeating every `meters`."""
    height, width = image.shape[:2]
    points = np.array([(-1.0, 3), (1, 3), (1, 9), (-1, 9)])
    turned = np.deg2rad(rng.uniform(-30, 30))
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    pixels = camera.project_world(np.concatenate((points, np.zeros((4, 1))), axis=1))
    left, right = camera.project_world(np.array([(-0.3 * far, far, 0), (0.3 * far, far, 0)]))
    slope = (right[1] - left[1]) / (right[0] - left[0])
    ends = left[1] + slope * (np.array([-0.5, width - 0.5]) - left[0])
    first = int(np.clip(np.floor(ends.min()), 0, height))
    if first >= height:
        return
    texels = (points @ turn.T) / meters * _GROUND_TILE
    to_tile = cv2.getPerspectiveTransform((pixels - (0, first)).astype(np.float32), texels.astype(np.float32))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    # inside a large field of tiles nothing needs to be wrapped, which would be slow
    field = cv2.repeat(tile, _TILES, _TILES)
    to_tile = np.array([[1, 0, _TILES // 2 * _GROUND_TILE], [0, 1, _TILES // 2 * _GROUND_TILE], [0, 0, 1]]) @ to_tile
    laid = cv2.warpPerspective(field, to_tile, (width, height - first), flags=flags, borderMode=cv2.BORDER_WRAP)
    # far away one pixel spans many of the tile's, and only its mean is left
    rows = camera.project_world(np.array([(0, meters, 0) for meters in _FADE]))[:, 1] - first
    plain = np.clip((rows[0] - np.arange(height - first)) / max(rows[0] - rows[1], 1), 0, 1)
    fading = int(np.searchsorted(-plain, 0.0))
    if fading:
        share = plain[:fading, None, None].astype(np.float32)
        mean = tile.mean((0, 1), dtype=np.float32)
        laid[:fading] = (laid[:fading] * (1 - share) + share * mean).astype(np.uint8)
    mask = np.zeros(laid.shape[:2], np.uint8)
    corners = np.array([(0, ends[0] - first), (width - 1, ends[1] - first), (width - 1, height), (0, height)])
    cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 255)
    cv2.copyTo(laid, mask, image[first:])


# Places
# ---------------------------------------------------------------------------------------------------------------


def _room(rng: np.random.Generator, camera: Camera, farthest: float) -> np.ndarray:
    wall = farthest + rng.uniform(1.0, 3.5)
    color = _color(rng, 0.22, 80, 240)
    relief = _noise(rng, camera.width, camera.height, float(rng.uniform(0.5, 2.0)))
    image = _tinted(relief, color, rng.uniform(0.01, 0.05))
    paint = _Painter(image, camera)
    if rng.random() < 0.3:  # wallpaper, panels or bricks
        step, share = rng.uniform(0.15, 0.8), rng.choice((0.5, 0.04))
        reach = 0.6 * camera.width / camera.focal * wall
        for x in np.arange(-reach, reach, step).tolist():
            paint.face(x, x + step * share, 0, 3.5, wall, color * rng.uniform(0.85, 1.1))
    for _ in range(rng.integers(1, 5)):
        _decorate_wall(rng, paint, wall)
    if rng.random() < 0.7:
        paint.face(-12, 12, 0, rng.uniform(0.06, 0.14), wall, color * rng.choice((0.6, 1.2)))
    paint.finish()
    _lay_ground(rng, image, camera, _floor_tile(rng), rng.uniform(0.8, 2.4), wall)
    for _ in range(rng.integers(0, 4)):
        depth = rng.uniform(0.3, 0.7)
        x, broad, tall = rng.uniform(-4.5, 4.0), rng.uniform(0.4, 1.8), rng.uniform(0.4, 2.1)
        front = wall - depth - rng.uniform(0, 0.15)
        paint.box(x, x + broad, front, front + depth, 0, tall, _color(rng, 0.3))
        for row in range(rng.integers(0, 4)):  # drawers
            low = tall * (row + 0.12) / 4
            paint.face(x + 0.06 * broad, x + 0.94 * broad, low, low + tall * 0.2, front - 0.005, _color(rng, 0.25))
    paint.finish()
    return image


def _decorate_wall(rng: np.random.Generator, paint: _Painter, wall: float) -> None:
    x, z = rng.uniform(-4, 3.6), rng.uniform(0.9, 1.8)
    kind = rng.integers(5)
    if kind == 0:  # image
        broad, tall = rng.uniform(0.3, 1.2, 2)
        paint.face(x, x + broad, z, z + tall, wall, _color(rng, 0.2, 20, 120))
        paint.face(x + 0.04, x + broad - 0.04, z + 0.04, z + tall - 0.04, wall, _color(rng, 0.5))
        for _ in range(4):
            left, low = x + 0.05 + rng.random() * (broad - 0.2), z + 0.05 + rng.random() * (tall - 0.2)
            paint.face(
                left, left + rng.uniform(0.04, 0.14), low, low + rng.uniform(0.04, 0.14), wall, _color(rng, 0.6)
            )
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
    image, horizon = _sky(rng, camera)
    paint = _Painter(image, camera)
    town = rng.random() < 0.5
    if not town:
        _hills(rng, image, horizon)
    _lay_ground(rng, image, camera, _ground_tile(rng), rng.uniform(1.2, 4.0), _FAR)
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
        reach = 0.6 * camera.width / camera.focal * away
        for x in np.arange(-reach, reach, rng.uniform(0.2, 1.4)).tolist():
            paint.face(x, x + 0.08, 0, 1.1, away, color)
        for z in (0.35, 0.9):
            paint.face(-reach, reach, z, z + 0.09, away, color * 0.93)
    for _ in range(rng.integers(0, 3)):  # poles and signs
        x, away = rng.uniform(-5, 5), farthest + rng.uniform(1, 7)
        paint.face(x, x + 0.1, 0, rng.uniform(2, 4.5), away, _color(rng, 0.1, 60, 160))
        if rng.random() < 0.5:
            paint.face(x - 0.3, x + 0.4, 2.0, 2.6, away, _color(rng, 0.7))
            paint.text(str(rng.choice(_WORDS)), x - 0.25, 2.22, away, 0.16, np.array([250, 250, 245]))
    paint.finish()
    return image


def _sky(rng: np.random.Generator, camera: Camera) -> tuple[np.ndarray, float]:
    """A sky (H, W, 3) uint8, and the row of the horizon."""
    width, height = camera.width, camera.height
    horizon = float(camera.project_world(np.array([0.0, _FAR, 0]))[1])
    top = np.array([104, 152, 214]) * rng.uniform(0.6, 1.15) if rng.random() < 0.7 else _color(rng, 0.15, 120, 230)
    low = np.array([214, 224, 232]) * rng.uniform(0.75, 1.08)
    share = np.clip(np.linspace(0, height / max(horizon, 1), height), 0, 1)[:, None, None]
    column = np.clip(top + share * (low - top), 0, 255).astype(np.uint8)
    image = cv2.repeat(column, 1, width)
    if rng.random() < 0.6:
        # clouds where the noise is high
        white = np.clip((np.arange(256) - rng.uniform(110, 160)) * rng.uniform(0.5, 1.5), 0, 255).astype(np.uint8)
        cover = cv2.LUT(_noise(rng, width, height, rng.uniform(1.0, 3.0)), white)
        image = cv2.add(image, cv2.cvtColor(cover, cv2.COLOR_GRAY2RGB))
    return image, horizon


def _building(rng: np.random.Generator, paint: _Painter, left: float, right: float, away: float) -> None:
    color = _color(rng, 0.2, 70, 215)
    tall = rng.uniform(5, 16)
    glass = np.array([70, 84, 100]) * rng.uniform(0.6, 1.7)
    broad, high = rng.uniform(0.9, 1.8), rng.uniform(1.2, 2.0)
    start, step, banner = rng.uniform(0.8, 3.0), high * rng.uniform(1.5, 2.0), rng.random()
    word, paint_color = str(rng.choice(_WORDS)), _color(rng, 0.6)
    reach = 0.75 * paint.camera.width / paint.camera.focal * away
    if right < -reach or left > reach:
        return
    paint.face(left, right, 0, tall, away, color)
    for z in np.arange(start, tall - high, step).tolist():
        for x in np.arange(left + 0.5, right - broad, broad * 1.9).tolist():
            paint.face(x, x + broad, z, z + high, away, glass)
    if banner < 0.5:
        paint.face(left, right, 2.5, 3.1, away, paint_color)
        paint.text(word, left + 0.4, 2.62, away, 0.3, np.array([246, 244, 236]))


def _hills(rng: np.random.Generator, image: np.ndarray, horizon: float) -> None:
    height, width = image.shape[:2]
    x = np.linspace(0, width, 40)
    for layer in range(rng.integers(1, 4)):
        waves = sum(
            np.sin(x / width * f * 2 * np.pi + p) / f for f, p in zip((1, 2.3, 5.1), rng.random(3) * 6.3, strict=True)
        )
        edge = horizon - height * (0.09 - 0.025 * layer) * (1 + 0.5 * waves)
        color = np.clip(np.array([96, 124, 88]) * rng.uniform(0.6, 1.2) + (2 - layer) * 18, 0, 255)
        outline = np.concatenate((np.stack((x, edge), 1), [(width, height), (0, height)]))
        cv2.fillPoly(image, [np.round(outline * 16).astype(np.int32)], color.tolist(), cv2.LINE_AA, 4)


def _tree(rng: np.random.Generator, paint: _Painter, x: float, away: float) -> None:
    trunk = rng.uniform(1.0, 2.6)
    bark = np.array([84, 64, 48]) * rng.uniform(0.7, 1.3)
    green = np.array([74, 104, 54]) * rng.uniform(0.6, 1.25)
    count = 30
    height = np.linspace(0, 1, count)
    spread = 0.25 + 0.75 * np.sin(np.pi * (0.15 + 0.75 * height))
    radius, aside = rng.uniform(0.18, 0.5, count), spread * rng.normal(0, 0.6, count)
    # leaves are lighter toward the top
    colors = np.clip(green * ((0.7 + 0.45 * height) * rng.uniform(0.85, 1.15, count))[:, None], 0, 255).tolist()
    if abs(x) > 0.6 * paint.camera.width / paint.camera.focal * away + 2:
        return
    paint.face(x - 0.14, x + 0.14, 0, trunk, away, bark)
    places = zip((x + aside).tolist(), (trunk + 2.3 * height).tolist(), radius.tolist(), colors, strict=True)
    for across, up, size, color in places:
        paint.ball((across, away, up), size, color)


def _studio(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    """Two colors that pass into each other, with a glow; drawn small, as nothing in it is sharp."""
    first, second = _color(rng, 0.3), _color(rng, 0.3)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, 48), np.linspace(-1, 1, 48)[:, None]
    share = np.clip(0.5 + 0.5 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)[..., None]
    glow = np.exp(-((x - rng.uniform(-0.5, 0.5)) ** 2 + (y - rng.uniform(-0.6, 0.3)) ** 2) / rng.uniform(0.3, 1.5))
    small = (first + share * (second - first)) * (0.8 + 0.4 * glow[..., None])
    small = np.clip(small, 0, 255).astype(np.uint8)
    image = cv2.resize(small, (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)
    return _weathered(rng, image)


def _clutter(rng: np.random.Generator, camera: Camera) -> np.ndarray:
    """Noise of several sizes under shapes, bars the colors of skin and cloth, and text."""
    height, width = camera.height, camera.width
    base, spread = _color(rng, 0.3), rng.uniform(8, 55) / 40
    channels = [
        cv2.convertScaleAbs(_noise(rng, width, height, rng.uniform(0.5, 4.0)), alpha=spread, beta=level - 128 * spread)
        for level in base.tolist()
    ]
    image = cv2.merge(channels)
    size = max(height, width)
    for _ in range(rng.integers(4, 28)):
        color = _color(rng, 0.6).tolist()
        place = rng.uniform(0, 1, 2) * (width, height)
        extent = size * rng.uniform(0.02, 0.3)
        kind = rng.integers(4)
        if kind == 0:
            corners = place + extent * rng.normal(0, 0.7, (rng.integers(3, 7), 2))
            cv2.fillPoly(image, [corners.astype(np.int32)], color, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(extent * rng.uniform(0.2, 1)) + 1, int(extent * rng.uniform(0.2, 1)) + 1)
            center = tuple(place.astype(int).tolist())
            cv2.ellipse(image, center, axes, rng.uniform(0, 180), 0, 360, color, -1, cv2.LINE_AA)
        elif kind == 2:
            end = place + extent * rng.normal(0, 1.2, 2)
            thick = max(1, int(size * rng.uniform(0.003, 0.04)))
            cv2.line(image, place.astype(int).tolist(), end.astype(int).tolist(), color, thick, cv2.LINE_AA)
        else:
            scale = size / 320 * rng.uniform(0.4, 1.6)
            font = int(rng.integers(8))
            cv2.putText(image, str(rng.choice(_WORDS)), place.astype(int).tolist(), font, scale, color, 1, cv2.LINE_AA)
    return image


class _Painter:
    """Draws things of the world onto a background, each over those before it, when `finish` is called."""

    def __init__(self, image: np.ndarray, camera: Camera) -> None:
        self.image, self.camera = image, camera
        # smooth edges are slow, and small images are not better for them
        self._line = cv2.LINE_AA if max(image.shape) > 400 else cv2.LINE_8
        self._points: list[tuple[float, float, float]] = []
        self._things: list[tuple[int, Callable[[np.ndarray], object]]] = []

    def finish(self) -> None:
        """Draws what was asked for."""
        if self._things:
            limit = 8 * max(self.image.shape)
            pixels = np.clip(self.camera.project_world(np.array(self._points)), -limit, limit)
            fixed = np.round(pixels * 16).astype(np.int32)
            start = 0
            for count, draw in self._things:
                draw(fixed[start : start + count])
                start += count
        self._points, self._things = [], []

    def polygon(self, corners: list[tuple[float, float, float]], color: np.ndarray) -> None:
        """A convex polygon of world points."""
        value = np.clip(color, 0, 255).tolist()
        self._points += corners
        self._things.append((len(corners), lambda fixed: cv2.fillConvexPoly(self.image, fixed, value, self._line, 4)))

    def face(self, left: float, right: float, low: float, high: float, away: float, color: np.ndarray) -> None:
        """An upright rectangle that faces the camera."""
        self.polygon([(left, away, low), (right, away, low), (right, away, high), (left, away, high)], color)

    def box(
        self, left: float, right: float, near: float, far: float, low: float, high: float, color: np.ndarray
    ) -> None:
        """A box, its top and the side that is seen darker or lighter than its front."""
        side = left if left > 0 else right
        if left > 0 or right < 0:
            self.polygon([(side, near, low), (side, far, low), (side, far, high), (side, near, high)], color * 0.75)
        if high < self.camera.elevation:
            self.polygon(
                [(left, near, high), (right, near, high), (right, far, high), (left, far, high)], color * 1.15
            )
        self.face(left, right, low, high, near, color)

    def ball(self, center: tuple[float, float, float], radius: float, color: list[float]) -> None:
        """A flat disk as wide as a ball."""
        size = round(16 * radius * self.camera.focal / center[1])
        self._points.append(center)
        self._things.append(
            (1, lambda fixed: cv2.circle(self.image, fixed[0].tolist(), size, color, -1, self._line, 4))
        )

    def text(self, words: str, x: float, z: float, away: float, tall: float, color: np.ndarray) -> None:
        """Words whose lower left corner is at a place."""
        scale = tall * self.camera.focal / away / 22
        value = np.clip(color, 0, 255).tolist()
        thick = max(1, round(scale * 2))
        self._points.append((x, away, z))
        self._things.append(
            (
                1,
                lambda fixed: cv2.putText(
                    self.image, words, (fixed[0] // 16).tolist(), 0, scale, value, thick, cv2.LINE_AA
                ),
            )
        )
