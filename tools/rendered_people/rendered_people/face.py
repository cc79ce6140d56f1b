"""Faces: flat patches over the head's mesh for eyes, brows, nose, lips, ears and glasses, and where keypoints are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from rendered_people.anatomy import Body
from rendered_people.outfits import Outfit
from rendered_people.surface import head_front

_CORNERS = 8
_EYE_X, _EYE_Z = 0.0315, 0.034
_MOUTH_Z = -0.036
_NOSE_TIP_Z = -0.006
_EAR = np.array([0.0805, 0.004, 0.008])


@dataclass(frozen=True)
class FacePatches:
    """Patches of N faces, F each, in the frame of the head's bone (m).

    Args:
        corners: (N, F, 8, 3), counterclockwise seen from outside.
        colors: (N, F, 3) RGB 0 to 255.
        lifts: (F,) meters that a patch is drawn before the skin it lies on.
        shown: (N, F) whether a face has the patch.
        is_ear: (F,)
    """

    corners: np.ndarray
    colors: np.ndarray
    lifts: np.ndarray
    shown: np.ndarray
    is_ear: np.ndarray


def face_keypoints(body: Body) -> np.ndarray:
    """(5, 3) nose, left eye, right eye, left ear and right ear in the frame of the head's bone (m)."""
    eye_y = head_front(body, np.array([_EYE_X]), np.array([_EYE_Z]))[0]
    nose_y = head_front(body, np.zeros(1), np.array([_NOSE_TIP_Z]))[0] - 0.024
    side = np.array([[_EYE_X, eye_y, _EYE_Z], _EAR])
    left, right = side, side * (-1, 1, 1)
    return np.array([[0, nose_y, _NOSE_TIP_Z], left[0], right[0], left[1], right[1]]) * body.head_scale


def face_patches(bodies: Sequence[Body], outfits: Sequence[Outfit]) -> FacePatches:
    """The faces of N people."""
    shape = _shape()
    faces = [_face(shape, body, outfit) for body, outfit in zip(bodies, outfits, strict=True)]
    return FacePatches(
        np.stack([face[0] for face in faces]).astype(np.float32),
        np.stack([face[1] for face in faces]).astype(np.float32),
        shape.lifts,
        np.stack([face[2] for face in faces]),
        shape.is_ear,
    )


# What colors of patches are mixed from: skin, brows and lashes, lips, eyes, white.
_SKIN, _DARK, _LIPS, _EYES, _WHITE = range(5)


@dataclass(frozen=True)
class _Shape:
    """What all faces share: for F patches with 8 corners, counterclockwise seen from outside.

    Args:
        x, z, out: (F, 8) where a corner is on the front of the head, and how far before it (m).
        by_smile: (F, 8) added to `z` by a smile.
        colors: (F, 5) shares of the colors above.
        lifts: (F,)
        needs: (F,) "always", or what a patch needs: "open" eyes, "glasses" of any kind, or their "lens".
        is_ear: (F,); the corners of ears are `ears` (F, 8, 3) instead.
        ears: (F, 8, 3), zero for others.
    """

    x: np.ndarray
    z: np.ndarray
    out: np.ndarray
    by_smile: np.ndarray
    colors: np.ndarray
    lifts: np.ndarray
    needs: np.ndarray
    is_ear: np.ndarray
    ears: np.ndarray


def _face(shape: _Shape, body: Body, outfit: Outfit) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners (F, 8, 3), colors (F, 3) and which patches are shown (F,)."""
    z = shape.z + shape.by_smile * outfit.smile
    front = head_front(body, shape.x.ravel(), z.ravel()).reshape(z.shape) - shape.out
    corners = np.where(shape.is_ear[:, None, None], shape.ears, np.stack((shape.x, front, z), axis=-1))
    skin = np.array(outfit.skin)
    dark = np.minimum(np.array(outfit.hair) * 0.75, 120)
    palette = np.stack((skin, dark, np.array(outfit.lips), np.array(outfit.eyes), np.full(3, 255.0)))
    shown = shape.needs == "always"
    colors = shape.colors @ palette
    if outfit.glasses != "none":
        shown = shown | (shape.needs == "glasses") | (shape.needs == "lens")
    if outfit.glasses == "dark":
        colors[shape.needs == "lens"] = (24, 24, 30)
    else:
        shown = shown | (shape.needs == "open")
    if outfit.hair_style == "long":
        shown = shown & ~shape.is_ear
    return corners * body.head_scale, colors, shown


@cache
def _shape() -> _Shape:
    patches = [patch for sign in (1.0, -1.0) for patch in (*_eye(sign), *_ear(sign))]
    patches += [*_nose(), *_mouth()]
    corners = np.stack([patch.corners for patch in patches])
    is_ear = np.array([patch.is_ear for patch in patches])
    return _Shape(
        x=np.where(is_ear[:, None], 0, corners[..., 0]),
        z=np.where(is_ear[:, None], 0, corners[..., 2]),
        out=np.where(is_ear[:, None], 0, corners[..., 1]),
        by_smile=np.stack([patch.by_smile for patch in patches]),
        colors=np.array([patch.color for patch in patches]),
        lifts=np.array([patch.lift for patch in patches], np.float32),
        needs=np.array([patch.needs for patch in patches]),
        is_ear=is_ear,
        ears=np.where(is_ear[:, None, None], corners, 0),
    )


@dataclass(frozen=True)
class _Patch:
    """One patch: corners (8, 3) as x, distance before the head, z (of ears: x, y, z), and its part of `_Shape`."""

    corners: np.ndarray
    by_smile: np.ndarray
    color: tuple[float, ...]
    lift: float
    needs: str
    is_ear: bool


def _patch(
    x: Sequence[float] | np.ndarray,
    z: Sequence[float] | np.ndarray,
    shares: Mapping[int, float],
    lift: float,
    out: Sequence[float] | float = 0.0,
    needs: str = "always",
    by_smile: Sequence[float] | float = 0.0,
) -> _Patch:
    """A patch of the front of the head with up to 8 corners, in either order."""
    x, z = np.asarray(x, float), np.asarray(z, float)
    columns = np.stack((x, np.broadcast_to(out, x.shape), z, np.broadcast_to(by_smile, x.shape)), axis=1)
    if np.sum(x * np.roll(z, -1) - z * np.roll(x, -1)) < 0:
        columns = columns[::-1]
    columns = columns[np.minimum(np.arange(_CORNERS), len(columns) - 1)]
    color = tuple(shares.get(index, 0.0) for index in range(5))
    return _Patch(columns[:, :3], columns[:, 3], color, lift, needs, False)


def _ellipse(
    x: float,
    z: float,
    width: float,
    height: float,
    shares: Mapping[int, float],
    lift: float,
    needs: str,
    out: float = 0,
) -> _Patch:
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    return _patch(x + width * np.cos(angle), z + height * np.sin(angle), shares, lift, out, needs)


def _eye(sign: float) -> list[_Patch]:
    x = sign * _EYE_X
    lid_x = x + sign * np.array([-0.0150, 0.0, 0.0165, 0.0175, 0.0, -0.0150])
    lid_z = _EYE_Z + np.array([0.0030, 0.0072, 0.0020, 0.0035, 0.0104, 0.0048])
    brow_x = sign * np.array([0.0130, 0.0330, 0.0510, 0.0330, 0.0130])
    brow_z = _EYE_Z + np.array([0.0160, 0.0215, 0.0190, 0.0275, 0.0225])
    return [
        _ellipse(x, _EYE_Z + 0.001, 0.020, 0.0125, {_SKIN: 0.84}, 0.010, "open"),
        _ellipse(x, _EYE_Z - 0.002, 0.0265, 0.0195, {_WHITE: 0.12}, 0.012, "glasses", 0.004),
        _ellipse(x, _EYE_Z - 0.002, 0.0235, 0.0165, {_SKIN: 1.0, _WHITE: 0.04}, 0.013, "lens", 0.004),
        _ellipse(x, _EYE_Z, 0.0138, 0.0068, {_WHITE: 0.89}, 0.014, "open"),
        _ellipse(x, _EYE_Z + 0.0005, 0.0062, 0.0064, {_EYES: 1.0}, 0.015, "open"),
        _ellipse(x, _EYE_Z + 0.0005, 0.0030, 0.0030, {_WHITE: 0.06}, 0.016, "open"),
        _patch(lid_x, lid_z, {_SKIN: 0.25, _DARK: 0.35}, 0.016, needs="open"),
        _patch(brow_x, brow_z, {_SKIN: 0.2, _DARK: 0.8}, 0.014),
    ]


def _ear(sign: float) -> list[_Patch]:
    angle = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)[:, None]
    angle = angle if sign > 0 else -angle
    out, up = np.array([0.42, 0.90, 0.0]), np.array([0.06, 0.16, 0.98])
    patches = []
    for size, shade, lift in ((1.0, 0.95, 0.016), (0.55, 0.72, 0.018)):
        points = (_EAR + size * (0.0165 * np.cos(angle) * out + 0.0305 * np.sin(angle) * up)) * (sign, 1, 1)
        patches.append(_Patch(points, np.zeros(_CORNERS), (shade, 0, 0, 0, 0), lift, "always", True))
    return patches


def _nose() -> list[_Patch]:
    bridge, tip, wing, base = _EYE_Z + 0.002, _NOSE_TIP_Z, -0.012, -0.018
    side, below = {_SKIN: 1.02}, {_SKIN: 0.80}
    patches = []
    for sign in (1.0, -1.0):
        wing_x = sign * 0.0165
        patches.append(_patch((0, 0, wing_x), (bridge, tip, wing), side, 0.012, (0.003, 0.025, 0.002)))
        patches.append(_patch((0, 0, wing_x), (tip, base, wing), below, 0.012, (0.025, 0.006, 0.002)))
    return patches


def _mouth() -> list[_Patch]:
    z = _MOUTH_Z
    corner = 0.0045
    upper = _patch(
        (0.0245, 0.0095, 0.0, -0.0095, -0.0245, 0.0),
        (z, z + 0.0058, z + 0.0046, z + 0.0058, z, z - 0.001),
        {_LIPS: 0.82},
        0.013,
        0.003,
        by_smile=(corner, 0, 0, 0, corner, 0),
    )
    lower = _patch(
        (0.0225, 0.0, -0.0225, -0.0110, 0.0110),
        (z - 0.0005, z, z - 0.0005, z - 0.0085, z - 0.0085),
        {_LIPS: 1.05},
        0.012,
        0.003,
        by_smile=(corner, 0, corner, 0, 0),
    )
    line = _patch(
        (0.0235, 0.0, -0.0235, 0.0),
        (z - 0.0006, z - 0.0022, z - 0.0006, z - 0.0002),
        {_LIPS: 0.4},
        0.014,
        0.003,
        by_smile=(corner, 0, corner, 0),
    )
    return [lower, upper, line]
