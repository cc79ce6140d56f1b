"""Furniture that figures sit on and stand behind: boxes cut into patches small enough to be sorted with the
figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from rendered_people.anatomy import rotation
from rendered_people.camera import Camera
from rendered_people.rendering import PROP, Patches

_LARGEST_PATCH = 0.16


@dataclass(frozen=True)
class Prop:
    """A thing of boxes standing in the world.

    Args:
        points: (P, 3) world points.
        faces: (M, 4) counterclockwise seen from outside.
        colors: (M, 3) RGB 0 to 255.
    """

    points: np.ndarray
    faces: np.ndarray
    colors: np.ndarray


def prop_patches(props: Sequence[Prop], camera: Camera) -> list[Patches]:
    """Props as the camera sees them: one group of patches, or none."""
    if not props:
        return []
    starts = np.cumsum([0, *(len(prop.points) for prop in props[:-1])]).tolist()
    faces = np.concatenate([prop.faces + start for prop, start in zip(props, starts, strict=True)])
    count = len(faces)
    return [
        Patches(
            camera.to_camera(np.concatenate([prop.points for prop in props])).astype(np.float32),
            faces,
            np.concatenate([prop.colors for prop in props]),
            np.full(count, PROP, np.uint8),
            np.zeros(count, np.uint8),
            np.zeros(count, np.float32),
            np.zeros(count, bool),
        )
    ]


# A box: corner, extent along x, y and z.
_Box = tuple[tuple[float, float, float], tuple[float, float, float]]


def _build(
    boxes: Sequence[_Box], colors: Sequence[np.ndarray], place: np.ndarray, heading: float, rng: np.random.Generator
) -> Prop:
    """Boxes in a frame like a figure's (x left, y back), turned by `heading` degrees and moved to `place`."""
    corners, extents = (np.array([box[i] for box in boxes], float) for i in (0, 1))
    meshes = [_box_mesh(*counts) for counts in np.maximum(np.ceil(extents / _LARGEST_PATCH), 1).astype(int).tolist()]
    sizes = [len(points) for points, _ in meshes]
    box = np.repeat(np.arange(len(boxes)), sizes)
    points = corners[box] + np.concatenate([points for points, _ in meshes]) * extents[box]
    starts = np.cumsum([0, *sizes[:-1]]).tolist()
    faces = np.concatenate([faces + start for (_, faces), start in zip(meshes, starts, strict=True)])
    tints = np.repeat(np.stack(colors), [len(faces) for _, faces in meshes], axis=0)
    tints = tints * (1 + 0.04 * (2 * rng.random(len(tints)) - 1))[:, None]
    return Prop(points @ rotation(2, heading).T + place, faces, np.clip(tints, 0, 255).astype(np.float32))


@lru_cache(maxsize=256)
def _box_mesh(*counts: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (P, 3) and faces (M, 4) of a box from 0 to 1, cut into so many patches along x, y and z."""
    points, faces = [], []
    count = 0
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        rows, columns = counts[first], counts[second]
        i, j = (index.ravel() for index in np.indices((rows, columns)))
        at = i * (columns + 1) + j
        cells = np.stack((at, at + columns + 1, at + columns + 2, at + 1), axis=1)
        for end in (0, 1):
            grid = np.empty(((rows + 1) * (columns + 1), 3))
            grid[:, axis] = end
            grid[:, first] = np.repeat(np.linspace(0, 1, rows + 1), columns + 1)
            grid[:, second] = np.tile(np.linspace(0, 1, columns + 1), rows + 1)
            points.append(grid)
            faces.append((cells if end else cells[:, ::-1]) + count)
            count += len(grid)
    return np.concatenate(points), np.concatenate(faces)


def _wood(rng: np.random.Generator) -> np.ndarray:
    if rng.random() < 0.5:
        return np.array([150, 106, 66]) * rng.uniform(0.5, 1.4)
    return np.clip(rng.uniform(40, 225) * (1 + 0.35 * rng.uniform(-1, 1, 3)), 10, 250)


def seat(rng: np.random.Generator, place: np.ndarray, heading: float, height: float, roomy: bool) -> Prop:
    """Something to sit on: a chair, stool, block, bench or sofa whose seat is `height` meters high.

    Args:
        place: (3,) the ground below the sitter's hips.
        heading: degrees that the sitter is turned.
        roomy: there is room for a bench or sofa.
    """
    kind, color, second = rng.integers(5 if roomy else 3), _wood(rng), _wood(rng)
    thick = min(0.06, height / 2)
    if kind <= 1:  # chair
        wide = rng.uniform(0.4, 0.5)
        boxes: list[_Box] = [((-wide / 2, -0.24, height - thick), (wide, 0.46, thick))]
        colors = [color]
        leg = height - thick
        for x in (-wide / 2, wide / 2 - 0.04):
            boxes += [((x, -0.23, 0), (0.04, 0.04, leg)), ((x, 0.17, 0), (0.04, 0.04, leg))]
            colors += [second, second]
        if rng.random() < 0.75:
            low, tall = rng.uniform(0.05, 0.25), rng.uniform(0.2, 0.35)
            boxes.append(((-wide / 2, 0.2, height + low), (wide, 0.03, tall)))
            for x in (-wide / 2, wide / 2 - 0.04):
                boxes.append(((x, 0.2, height), (0.04, 0.03, low)))
            colors += [color, second, second]
    elif kind == 2:  # stool or block
        wide = rng.uniform(0.34, 0.5)
        boxes, colors = [((-wide / 2, -0.2, 0), (wide, 0.42, height))], [color]
    elif kind == 3:  # bench
        wide, shift = rng.uniform(1.0, 1.8), rng.uniform(-0.35, 0.35)
        left = shift - wide / 2
        boxes = [((left, -0.2, height - thick), (wide, 0.4, thick))]
        boxes += [((left + x, -0.16, 0), (0.06, 0.32, height - thick)) for x in (0.1, wide - 0.16)]
        colors = [color, second, second]
    else:  # sofa
        wide = rng.uniform(0.9, 1.7)
        left = -wide * rng.uniform(0.35, 0.65)
        boxes = [
            ((left, -0.25, 0.05), (wide, 0.5, height - 0.05)),
            ((left, 0.2, 0.05), (wide, 0.2, height + rng.uniform(0.15, 0.4))),
            ((left - 0.16, -0.26, 0.05), (0.16, 0.62, height + 0.12)),
            ((left + wide, -0.26, 0.05), (0.16, 0.62, height + 0.12)),
        ]
        colors = [color, color * 0.95, color * 0.9, color * 0.9]
    return _build(boxes, colors, place, heading, rng)


def obstacle(rng: np.random.Generator, place: np.ndarray) -> Prop:
    """Something that stands about and may hide people: a table, box, counter, post or plant stand."""
    kind, color, second = rng.integers(4), _wood(rng), _wood(rng)
    heading = float(rng.uniform(-25, 25))
    if kind == 0:  # table
        wide, deep, tall = rng.uniform(0.6, 1.5), rng.uniform(0.5, 0.8), rng.uniform(0.5, 0.78)
        boxes: list[_Box] = [((-wide / 2, 0, tall - 0.04), (wide, deep, 0.04))]
        boxes += [
            ((x, y, 0), (0.05, 0.05, tall - 0.04))
            for x in (-wide / 2 + 0.03, wide / 2 - 0.08)
            for y in (0.03, deep - 0.08)
        ]
        colors = [color] + [second] * 4
    elif kind == 1:  # box or counter
        wide, tall = rng.uniform(0.3, 1.3), rng.uniform(0.25, 1.05)
        boxes, colors = [((-wide / 2, 0, 0), (wide, rng.uniform(0.25, 0.5), tall))], [color]
    elif kind == 2:  # post
        wide = rng.uniform(0.06, 0.2)
        boxes, colors = [((-wide / 2, 0, 0), (wide, wide, rng.uniform(1.0, 3.0)))], [color]
    else:  # rail
        wide, tall = rng.uniform(0.8, 2.2), rng.uniform(0.7, 1.1)
        boxes = [((-wide / 2, 0, tall - 0.06), (wide, 0.05, 0.06)), ((-wide / 2, 0, tall * 0.45), (wide, 0.04, 0.05))]
        boxes += [((x, 0, 0), (0.05, 0.05, tall)) for x in (-wide / 2, 0.0, wide / 2 - 0.05)]
        colors = [color] * 2 + [second] * 3
    return _build(boxes, colors, place, heading, rng)
