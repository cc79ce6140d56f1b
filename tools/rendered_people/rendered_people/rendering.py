"""Drawing shaded patches from far to near, and knowing afterwards which patch each pixel shows.

Patches are small, so sorting them by depth hides what lies behind, within one body as between people and furniture.
The canvas is twice as fine as the image and its fourth channel holds the number of the patch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rendered_people.camera import Camera

# Owner of patches that belong to no person.
PROP = 255
# Meters before the camera from which on things are seen.
NEAREST = 0.12
_FRACTION_BITS = 4
_FINER = 2


@dataclass(frozen=True)
class Patches:
    """Flat convex patches in the camera's frame.

    Args:
        points: (P, 3) float32 meters.
        faces: (M, K) points of each patch, counterclockwise seen from outside; the last may repeat.
        colors: (M, 3) float32 RGB 0 to 255, before shading.
        owner: (M,) uint8 number of the person, from 1, or `PROP`.
        part: (M,) uint8 what the patch is part of, as the caller likes.
        lifts: (M,) meters that a patch is drawn before its place.
        two_sided: (M,) whether its back is seen too.
    """

    points: np.ndarray
    faces: np.ndarray
    colors: np.ndarray
    owner: np.ndarray
    part: np.ndarray
    lifts: np.ndarray
    two_sided: np.ndarray


@dataclass(frozen=True)
class Light:
    """A distant lamp and light from all around.

    Args:
        direction: (3,) unit vector to the lamp in the camera's frame.
        color: (3,) of the lamp, about 1 at most.
        ambient: (3,) from above; from below comes less.
        up: (3,) unit vector away from the ground in the camera's frame.
    """

    direction: np.ndarray
    color: np.ndarray
    ambient: np.ndarray
    up: np.ndarray

    def shade(self, colors: np.ndarray, normals: np.ndarray, facing: np.ndarray) -> np.ndarray:
        """(M, 3) colors of patches with unit `normals` (M, 3), `facing` (M,) the viewer as much as 0 to 1."""
        # light wraps a little around edges, as it does on skin and cloth
        direction, up = self.direction.astype(np.float32), self.up.astype(np.float32)
        direct = np.maximum((normals @ direction + 0.2) / 1.2, 0)
        around = 0.72 + 0.28 * (normals @ up)
        rim = 0.84 + 0.16 * facing
        lit = np.stack((rim * direct, rim * around), axis=1) @ np.stack((self.color, self.ambient)).astype(np.float32)
        return colors * lit


@dataclass(frozen=True)
class Drawing:
    """What was drawn.

    Patches are numbered from 1 by owner, so that those of a person are `first[person]` to `first[person + 1] - 1`.

    Args:
        colors: (H, W, 3) uint8, black where nothing covers a pixel, partly so at edges.
        coverage: (H, W) uint8, 255 where a pixel is wholly covered.
        top: (2H, 2W) uint16 number of the patch seen at each fine pixel, 0 for none.
        first: (257,) lowest number of each owner.
        owner, part, depth: (M + 1,) of patches by their number.
    """

    colors: np.ndarray
    coverage: np.ndarray
    top: np.ndarray
    first: np.ndarray
    owner: np.ndarray
    part: np.ndarray
    depth: np.ndarray

    def over(self, background: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 image before a background."""
        open_share = cv2.cvtColor(255 - self.coverage, cv2.COLOR_GRAY2RGB)
        return cv2.add(cv2.multiply(background, open_share, scale=1 / 255), self.colors)

    def silhouette(self, owner: int) -> np.ndarray:
        """(2H, 2W) uint8 mask, 255 where a person is seen."""
        low, high = self.first[owner], self.first[owner + 1] - 1
        if high < low:
            return np.zeros(self.top.shape, np.uint8)
        return cv2.inRange(self.top, int(low), int(high))

    def at(self, pixels: np.ndarray, spread: float) -> tuple[np.ndarray, np.ndarray]:
        """Patches seen around pixels (..., 2): numbers (..., 5), 0 for none, and whether the pixel is in the image.

        The five are at the pixel and `spread` pixels to its sides.
        """
        height, width = self.top.shape
        around = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]) * spread
        fine = np.floor(to_fine(pixels[..., None, :] + around) + 0.5).astype(int)
        inside = np.asarray(((fine >= 0) & (fine < (width, height))).all(-1))
        fine = np.clip(fine, 0, (width - 1, height - 1))
        numbers = self.top[fine[..., 1], fine[..., 0]]
        return np.where(inside, numbers, 0), inside[..., 0]


def to_fine(pixels: np.ndarray) -> np.ndarray:
    """Pixels of the image as coordinates of the fine canvas."""
    return pixels * _FINER + (_FINER - 1) / 2


def from_fine(pixels: np.ndarray) -> np.ndarray:
    """The inverse of `to_fine`."""
    return (pixels - (_FINER - 1) / 2) / _FINER


def draw(groups: Sequence[Patches], camera: Camera, light: Light) -> Drawing:
    """Draws patches as the camera sees them."""
    seen = [_visible(group, camera, light) for group in groups if len(group.faces)]
    polygons = [polygon for part in seen for polygon in part.polygons]
    if len(polygons) >= 2**16:
        raise ValueError(
            f"An image can show 65535 patches at once, but {len(polygons)} are in view. Lower the detail."
        )
    owner, part, depth, colors = (
        np.concatenate([getattr(group, name) for group in seen]) for name in ("owner", "part", "depth", "colors")
    )
    by_owner = np.argsort(owner, kind="stable")
    numbers = np.empty(len(owner), np.int64)
    numbers[by_owner] = np.arange(1, len(owner) + 1)
    values = np.concatenate((colors, numbers[:, None]), axis=1).tolist()
    canvas = np.zeros((camera.height * _FINER, camera.width * _FINER, 4), np.uint16)
    fill = cv2.fillConvexPoly
    for index in np.argsort(-depth, kind="stable").tolist():
        fill(canvas, polygons[index], values[index], cv2.LINE_8, _FRACTION_BITS)
    top = cv2.extractChannel(canvas, 3)
    size = (camera.width, camera.height)
    small = cv2.cvtColor(cv2.resize(canvas, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2RGB)
    covered = cv2.resize(cv2.convertScaleAbs(top, alpha=255), size, interpolation=cv2.INTER_AREA)
    return Drawing(
        cv2.convertScaleAbs(small),
        covered,
        top,
        np.searchsorted(owner[by_owner], np.arange(257)) + 1,
        *(np.concatenate((np.zeros(1, values.dtype), values[by_owner])) for values in (owner, part, depth)),
    )


@dataclass(frozen=True)
class _Visible:
    """Patches that face the camera and are in the image, shaded."""

    polygons: list[np.ndarray]
    colors: np.ndarray
    depth: np.ndarray
    owner: np.ndarray
    part: np.ndarray


def _visible(group: Patches, camera: Camera, light: Light) -> _Visible:
    """The patches of a group that are seen, if nothing hides them."""
    points, faces = group.points, group.faces
    before = points[:, 2] > NEAREST
    depth = np.where(before, points[:, 2], np.float32(1))
    pixels = points[:, :2] * (np.float32(camera.focal) / depth)[:, None] + camera.center.astype(np.float32)
    # far outside a patch is cut anyway; a bound keeps fixed-point numbers in range
    bound = 4.0 * max(camera.width, camera.height)
    fixed = np.round(np.clip(to_fine(pixels), -bound, bound) * 2**_FRACTION_BITS).astype(np.int32)
    corners = fixed[faces]
    area = _area(corners)
    in_view = (area < 0) | (group.two_sided & (area != 0))
    limit = np.array([camera.width, camera.height]) * (_FINER * 2**_FRACTION_BITS)
    # a bit for each side of the image that a point is beyond, and for being too near
    x, y = fixed[:, 0], fixed[:, 1]
    beyond = (x < 0) * 1 | (x > limit[0]) * 2 | (y < 0) * 4 | (y > limit[1]) * 8 | ~before * 16
    if beyond.any():
        together = beyond[faces[:, 0]]
        any_near = together.copy()
        for corner in range(1, faces.shape[1]):
            flags = beyond[faces[:, corner]]
            together &= flags
            any_near |= flags
        in_view &= (together == 0) & (any_near < 16)
    chosen = np.flatnonzero(in_view)
    seen = points[faces[chosen]]
    if faces.shape[1] == 4:
        normals = _cross(seen[:, 2] - seen[:, 0], seen[:, 3] - seen[:, 1])
        middle = (seen[:, 0] + seen[:, 1] + seen[:, 2] + seen[:, 3]) / 4
    else:
        normals = _cross(seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 1])
        middle = seen.mean(1)
    length = np.sqrt(_dot(normals, normals) * _dot(middle, middle)) + np.float32(1e-12)
    toward = -_dot(normals, middle) / length
    normals *= (np.copysign(np.float32(1), toward) / (np.sqrt(_dot(normals, normals)) + np.float32(1e-12)))[:, None]
    return _Visible(
        list(corners[chosen]),
        np.clip(light.shade(group.colors[chosen], normals, np.abs(toward)), 0, 255),
        middle[:, 2] - group.lifts[chosen],
        group.owner[chosen],
        group.part[chosen],
    )


def _area(corners: np.ndarray) -> np.ndarray:
    """(M,) twice the signed areas of polygons (M, K, 2)."""
    corners = corners.astype(np.float32)
    if corners.shape[1] == 4:
        across, along = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
        return across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0]
    after = np.roll(corners, -1, axis=1)
    return (corners[..., 0] * after[..., 1] - corners[..., 1] * after[..., 0]).sum(1)


def _cross(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cross products of (M, 3); numpy's own is several times slower on small arrays."""
    x, y, z = first.T
    u, v, w = second.T
    return np.stack((y * w - z * v, z * u - x * w, x * v - y * u), axis=1)


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(M,) dot products of (M, 3)."""
    return first[:, 0] * second[:, 0] + first[:, 1] * second[:, 1] + first[:, 2] * second[:, 2]
