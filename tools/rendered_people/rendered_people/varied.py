"""Scenes that vary as the world does: any backdrop, light, size and cut, things before and in the hands of people.

`render_varied` renders bodies as `render_scene` does. Nothing else of such a scene is meant to look tidy: a network
that has seen these takes a photograph for one more of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rendered_people.background import random_background
from rendered_people.camera import Camera
from rendered_people.clutter import crowd, polygon, scatter, textured
from rendered_people.outfits import Color, Outfit, Pattern
from rendered_people.people import Crowd, Person
from rendered_people.photograph import Lens
from rendered_people.rendering import Drawing
from rendered_people.scenes import NEAREST_PERSON, STATURE, Lamp, Scene, World, place_people, render_scene
from rendered_people.textures import relief, texture

_LONGER_SIDE = 416
_CHANCES_OF_PEOPLE = np.array([0.14, 0.3, 0.22, 0.14, 0.1, 0.06, 0.04])
# Of the tallest person's standing height in heights of the image.
_SMALLEST, _LARGEST = 0.22, 3.2
_WRISTS = (9, 10)


def render_varied(seed: int) -> Scene:
    """The varied scene that belongs to a seed: 0 to 6 people in an image whose longer side is 416 pixels."""
    return _random_world(seed).render(0.0)


def render_training_scene(seed: int) -> Scene:
    """A scene to learn from: every fourth seed's is `render_scene`'s, the others are varied."""
    return render_varied(seed) if seed % 4 else render_scene(seed)


@dataclass(frozen=True)
class VariedWorld(World):
    """A world whose people have folds and textures, and things before them."""

    def compose(self, drawing: Drawing, background: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, Drawing]:
        rng = np.random.default_rng([self.seed, 78])
        image = replace(drawing, colors=_textured(rng, drawing)).over(background)
        hidden = np.zeros(image.shape[:2], np.uint8)
        if rng.random() < 0.45:
            _hold(rng, image, hidden, keypoints)
        if rng.random() < 0.45:
            _stand_before(rng, image, hidden)
        fine = cv2.resize(hidden, drawing.top.shape[::-1], interpolation=cv2.INTER_NEAREST)
        image = developed(rng, image)
        return image, replace(drawing, top=np.where(fine > 127, 0, drawing.top).astype(np.uint16))


def _random_world(seed: int) -> World:
    layout, looks, surroundings = (np.random.default_rng([seed, stream, 77]) for stream in range(3))
    ratio = np.exp(layout.uniform(np.log(0.55), 0))
    width, height = (_LONGER_SIDE, round(_LONGER_SIDE * ratio))
    if layout.random() < 0.4:
        width, height = height, width
    count = int(layout.choice(len(_CHANCES_OF_PEOPLE), p=_CHANCES_OF_PEOPLE))
    share = float(np.exp(layout.uniform(np.log(_SMALLEST), np.log(_LARGEST))))
    if count > 2 and layout.random() < 0.7:
        share = min(share, layout.uniform(0.3, 1.2))
    # the middle of the image: the body's, or below the head of a person who is cut off
    aim = layout.uniform(0.6, 1.2) if share < 1 else STATURE - STATURE / share * layout.uniform(0.25, 0.5)
    if share > 1 and layout.random() < 0.2:
        aim = layout.uniform(0.3, 1.3)
    focal = max(max(width, height) * layout.uniform(0.7, 2.5), NEAREST_PERSON * share * height / STATURE)
    distance = focal * STATURE / (share * height)
    elevation = layout.uniform(0.3, 2.2) if layout.random() < 0.8 else layout.uniform(2.2, 6.0)
    pitch = np.rad2deg(np.arctan2(elevation - aim, distance))
    roll = layout.normal(0, 2.5) if layout.random() < 0.85 else layout.uniform(-30, 30)
    camera = Camera(width, height, focal, elevation, float(np.clip(pitch, -30, 55)), float(roll))
    people = [_dressed(looks, Person.random(looks)) for _ in range(max(count, 1))]
    crowd_ = Crowd(people, 2 if share * height > 260 else 1, looks)
    posed = crowd_.pose(0.0)
    farthest, apart = layout.choice((0.3, 0.6, 1.6)), layout.choice((1.5, 0.5))
    places = place_people(layout, posed, camera, distance, share < 1, farthest, apart)
    backdrop, ground = _backdrop(surroundings, camera, places[:, 1].max())
    if not count:  # no person is to be seen: the one that there has to be stands behind the camera
        places = places - (0, 1e3, 0)
    lens = Lens.random(surroundings, _LONGER_SIDE)
    shadow = float(surroundings.uniform(0.1, 0.7)) if ground else 0.0
    return VariedWorld(crowd_, places, camera, _lamp(surroundings), backdrop, (), shadow, lens, seed, [posed])


def _dressed(rng: np.random.Generator, person: Person) -> Person:
    """The person, half of the time in dark, light or gray clothes, or all in one color."""
    if rng.random() < 0.5:
        return person
    outfit = person.outfit

    def muted(cloth: Pattern) -> Pattern:
        gray = rng.choice((rng.uniform(10, 60), rng.uniform(10, 60), rng.uniform(60, 180), rng.uniform(200, 250)))
        red, green, blue = np.clip(gray + rng.normal(0, 8, 3), 0, 255).tolist()
        color: Color = (red, green, blue)
        return cloth._replace(kind="plain" if rng.random() < 0.7 else cloth.kind, first=color)

    top = muted(outfit.top)
    jacket = None if outfit.jacket is None else muted(outfit.jacket)
    bottom = top if rng.random() < 0.3 else muted(outfit.bottom)
    changed: Outfit = replace(outfit, top=top, jacket=jacket, bottom=bottom)
    return replace(person, outfit=changed)


def _lamp(rng: np.random.Generator) -> Lamp:
    """A lamp from hardly any direction to a hard sun, or behind people."""
    lamp = Lamp.random(rng)
    direct, around = np.exp(rng.normal(0, 0.35, 2))
    cast = np.exp(rng.normal(0, 0.12, 3))
    return Lamp(lamp.direction, lamp.color * direct * cast, lamp.ambient * around / cast)


# Behind people
# --------------------------------------------------------------------------------------------------------


def _backdrop(rng: np.random.Generator, camera: Camera, farthest: float) -> tuple[np.ndarray, bool]:
    """A background (H, W, 3) uint8, and whether shadows fall on its ground."""
    kind = rng.random()
    ground = True
    if kind < 0.3:
        image, ground = random_background(rng, camera, farthest)
        image = _stained(rng, image, rng.uniform(0.1, 0.5))
    elif kind < 0.75:
        image = _landscape(rng, camera, farthest)
    else:
        image, ground = texture(rng, camera.width, camera.height), False
        scatter(rng, image, int(rng.integers(10, 60)))
    scatter(rng, image, int(rng.integers(0, 14)))
    if rng.random() < 0.4:  # out of focus
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.7, 7)))
    return image, ground


def _landscape(rng: np.random.Generator, camera: Camera, farthest: float) -> np.ndarray:
    """Ground, what stands at its end, and sky or wall, each of any texture."""
    image = texture(rng, camera.width, camera.height)
    if rng.random() < 0.3:
        crowd(rng, image)
    end = farthest + rng.uniform(0.3, 12)
    row = float(camera.project_world(np.array([0.0, end, 0]))[1])
    for _ in range(int(rng.integers(0, 4))):  # hedges, houses, walls, stands
        x, wide = rng.uniform(0, camera.width), camera.width * rng.uniform(0.2, 1.5)
        tall = camera.height * rng.uniform(0.1, 0.9)
        textured(rng, image, polygon(rng, np.array([x, row - tall / 2]), np.array([wide, tall])))
    scatter(rng, image, int(rng.integers(0, 12)))
    if rng.random() < 0.2:
        crowd(rng, image)
    slope = np.tan(np.deg2rad(camera.roll)) * camera.width / 2
    left, right = row - slope, row + slope
    limit = 3 * camera.height
    corners = np.array([(0, left), (camera.width, right), (camera.width, limit), (0, limit)])
    if max(left, right) < camera.height:
        textured(rng, image, np.clip(corners, -limit, limit))
    return _stained(rng, image, rng.uniform(0, 0.3))


def _stained(rng: np.random.Generator, image: np.ndarray, strength: float) -> np.ndarray:
    shade = 1 + strength * relief(rng, image.shape[1], image.shape[0], float(rng.uniform(0.5, 3)))
    return np.clip(image * shade[..., None], 0, 255).astype(np.uint8)


# On and before people
# -------------------------------------------------------------------------------------------------


def _textured(rng: np.random.Generator, drawing: Drawing) -> np.ndarray:
    """Colors of what was drawn with folds, weave or foliage of light, and edges of the mesh softened."""
    colors = drawing.colors
    height, width = colors.shape[:2]
    if rng.random() < 0.5:
        colors = cv2.GaussianBlur(colors, (0, 0), float(rng.uniform(0.5, 1.2)))
        colors = np.where(drawing.coverage[..., None] == 255, colors, drawing.colors)
    shade = np.ones((height, width), np.float32)
    for low, high, strength in ((0.08, 0.3, 0.15), (0.4, 2.0, 0.35)):
        if rng.random() < 0.7:
            zoom = np.exp(rng.uniform(np.log(low), np.log(high)))
            shade += rng.uniform(0, strength) * relief(rng, width, height, float(zoom))
    return np.clip(colors * np.clip(shade, 0.2, 2)[..., None], 0, drawing.coverage[..., None]).astype(np.uint8)


def _hold(rng: np.random.Generator, image: np.ndarray, hidden: np.ndarray, keypoints: np.ndarray) -> None:
    """Balls, bats, bags and cups in hands: something at a wrist of some people."""
    for person in keypoints:
        if rng.random() < 0.5:
            continue
        tall = max(np.ptp(person[:, 1]), 8.0)
        extent = tall * np.exp(rng.uniform(np.log(0.04), np.log(0.35), 2))
        wrist = person[_WRISTS[rng.integers(2)]] + rng.normal(0, 0.3, 2) * extent
        if (np.abs(wrist) < 4 * max(hidden.shape)).all():
            np.maximum(hidden, textured(rng, image, polygon(rng, wrist, extent)), out=hidden)


def _stand_before(rng: np.random.Generator, image: np.ndarray, hidden: np.ndarray) -> None:
    """Furniture, poles, leaves and cars before people, mostly from the lower edge of the image."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        extent = np.array([width * rng.uniform(0.03, 0.7), height * rng.uniform(0.05, 0.5)])
        center = np.array([rng.uniform(0, width), height - rng.uniform(-0.2, 0.5) * extent[1]])
        if rng.random() < 0.3:
            center, extent = rng.uniform(0, 1, 2) * (width, height), extent * rng.uniform(0.1, 0.6)
        elif rng.random() < 0.2:  # a pole or door frame
            center, extent = np.array([rng.uniform(0, width), height / 2]), np.array([width * 0.08, height * 1.2])
        np.maximum(hidden, textured(rng, image, polygon(rng, center, extent)), out=hidden)


def developed(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """An image (H, W, 3) uint8 with haze, another saturation and contrast, and as soft as after a resize."""
    pixels = image.astype(np.float32) / 255
    if rng.random() < 0.15:
        haze = rng.uniform(0.05, 0.4)
        pixels = pixels * (1 - haze) + haze * rng.uniform(0.5, 1)
    gray = pixels.mean(2, keepdims=True)
    pixels = gray + (pixels - gray) * np.float32(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.6:
        middle, slope = rng.uniform(0.3, 0.6), rng.uniform(2, 7)
        pixels = 1 / (1 + np.exp(-slope * (pixels - middle)))
        low, high = 1 / (1 + np.exp(slope * middle)), 1 / (1 + np.exp(-slope * (1 - middle)))
        pixels = (pixels - low) / (high - low)
    image = (np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.25:
        height, width = image.shape[:2]
        share = rng.uniform(0.3, 0.8)
        small = cv2.resize(
            image, (max(int(width * share), 8), max(int(height * share), 8)), interpolation=cv2.INTER_AREA
        )
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return image
