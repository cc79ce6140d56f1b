"""Angles of joints and of the trunk, from the directions of body segments; docs/motion.md has an image of their signs.

Keypoints do not tell how a segment is turned about its own length, so these are not the joint angles of the ISB's
recommendations (Wu et al., 2002), whose planes they share: hips and spine make a frame of the pelvis, shoulders and
spine one of the chest, and limbs are seen in their planes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints.human36m import body_points
from hfpose.keypoints.schema import KeypointSchema

_UP = np.array([0.0, 0.0, 1.0])
_EPSILON = 1e-9
Frame = tuple[np.ndarray, np.ndarray, np.ndarray]


def joint_angles(keypoints: np.ndarray, schema: KeypointSchema) -> dict[str, np.ndarray]:
    """Degrees (T,) of each angle, NaN where a keypoint is missing.

    All are 0 for a person who stands upright with arms that hang, and grow with flexion (of the ankle: dorsiflexion),
    abduction, to the right (`_side`) and to the left as seen from above (`_turn`). `pelvis_turn` is 0 for a person who
    faces the camera. Knees and elbows have no sign.

    In 2D there are flexions alone, as the image shows them: they are right for a person who is seen from the side.
    Which way the person faces follows from nose and toes over all frames.

    Args:
        keypoints: (T, K, 3) meters in the axes `"world"`, or (T, K, 2) pixels.
        schema: of the keypoints; ankles need big toes, which 26 points and whole bodies have.

    Raises:
        ConfigError: if the keypoints do not become Human3.6M's.
        InputError: for other shapes.
    """
    if keypoints.ndim != 3 or keypoints.shape[2] not in (2, 3):
        raise InputError(f"keypoints must have shape (T, K, 2) or (T, K, 3), got {keypoints.shape}.")
    names, points = body_points(np.asarray(keypoints, np.float64), schema)
    at = {name: points[:, index] for index, name in enumerate(names)}
    if keypoints.shape[2] == 3:
        return _angles(at)
    facing = _facing(at)
    flat = {name: np.stack((0 * p[:, 0], facing * p[:, 0], -p[:, 1]), axis=-1) for name, p in at.items()}
    angles = _angles(flat, across=np.array([[1.0, 0, 0]]))
    return {name: angle for name, angle in angles.items() if name.endswith(("_flexion", "_tilt"))}


def _facing(at: Mapping[str, np.ndarray]) -> float:
    """1 for a person in 2D who faces the right edge of the image, -1 for the left one."""
    ahead = [at["neck_base"] - at["thorax"]]
    ahead += [at[f"{side}_big_toe"] - at[f"{side}_foot"] for side in ("left", "right") if f"{side}_big_toe" in at]
    shares = np.stack(ahead)[..., 0]
    known = shares[np.isfinite(shares)]
    return -1.0 if len(known) and np.median(known) < 0 else 1.0


def _angles(at: Mapping[str, np.ndarray], across: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The angles of keypoints (T, 3) with x right, y forward and z up for a person who faces the camera.

    Args:
        at: keypoints by name.
        across: direction to the right, where hips and shoulders do not tell it.
    """

    def way(start: str, end: str) -> np.ndarray:
        return at[end] - at[start]

    hips, shoulders = (
        way(f"left_{name}", f"right_{name}") if across is None else across + 0 * at["root"]
        for name in ("hip", "shoulder")
    )
    pelvis, chest = _frame(hips, way("root", "spine")), _frame(shoulders, way("spine", "thorax"))
    level, level_chest = (_frame(each * (1, 1, 0), _UP + 0 * each) for each in (hips, shoulders))
    angles = {
        "pelvis_tilt": _lean(way("root", "spine"), level, 1),
        "pelvis_side": np.rad2deg(np.arctan2(-hips[:, 2], np.linalg.norm(hips[:, :2], axis=-1))),
        "pelvis_turn": _turn(level),
        "trunk_flexion": _lean(way("root", "thorax"), level, 1),
        "trunk_side": _lean(way("root", "thorax"), level, 0),
        "trunk_turn": (_turn(level_chest) - _turn(level) + 180) % 360 - 180,
        "neck_flexion": _lean(way("thorax", "head"), chest, 1),
        "neck_side": _lean(way("thorax", "head"), chest, 0),
    }
    for side, out in (("left", -1.0), ("right", 1.0)):
        limbs: dict[str, tuple[str, str, str, Frame]] = {
            "hip": ("hip", "knee", "foot", pelvis),
            "shoulder": ("shoulder", "elbow", "wrist", chest),
        }
        for joint, (first, second, third, frame) in limbs.items():
            upper, lower = way(f"{side}_{first}", f"{side}_{second}"), way(f"{side}_{second}", f"{side}_{third}")
            angles[f"{side}_{joint}_flexion"] = _lean(-upper, frame, 1, -1.0)
            angles[f"{side}_{joint}_abduction"] = _lean(-upper, frame, 0, -out)
            angles[f"{side}_{second}_flexion"] = _between(upper, lower)
        if f"{side}_big_toe" in at:
            shank, foot = way(f"{side}_knee", f"{side}_foot"), way(f"{side}_foot", f"{side}_big_toe")
            angles[f"{side}_ankle_flexion"] = _between(shank, foot) - 90
    return angles


def _frame(right: np.ndarray, up: np.ndarray) -> Frame:
    """Unit vectors to the right, forward and up (T, 3), the first along `right` and the last near `up`."""
    x = _unit(right)
    y = _unit(np.cross(up, x))
    return x, y, np.cross(x, y)


def _lean(segment: np.ndarray, frame: Frame, axis: int, sign: float = 1.0) -> np.ndarray:
    """Degrees that a segment leans from up to an axis of a frame, right (0) or forward (1)."""
    along, aside = (segment * frame[2]).sum(-1), (segment * frame[axis]).sum(-1)
    return np.rad2deg(np.arctan2(sign * aside, along))


def _turn(frame: Frame) -> np.ndarray:
    """Degrees that a frame is turned to the left, seen from above."""
    return np.rad2deg(np.arctan2(-frame[1][:, 0], frame[1][:, 1]))


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    cross = np.linalg.norm(np.cross(first, second), axis=-1)
    return np.rad2deg(np.arctan2(cross, (first * second).sum(-1)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _EPSILON)


# Coordinates of OpenSim's models of the whole body (Rajagopal et al., 2016) as sums of angles; {r} is r or l.
_OPENSIM: dict[str, dict[str, float]] = {
    "pelvis_tilt": {"pelvis_tilt": -1},
    "pelvis_list": {"pelvis_side": 1},
    "pelvis_rotation": {"pelvis_turn": 1},
    "lumbar_extension": {"pelvis_tilt": 1, "trunk_flexion": -1},
    "lumbar_bending": {"trunk_side": 1, "pelvis_side": -1},
    "lumbar_rotation": {"trunk_turn": 1},
    "hip_flexion": {"hip_flexion": 1},
    "hip_adduction": {"hip_abduction": -1},
    "knee_angle": {"knee_flexion": 1},
    "ankle_angle": {"ankle_flexion": 1},
    "arm_flex": {"shoulder_flexion": 1},
    "arm_add": {"shoulder_abduction": -1},
    "elbow_flex": {"elbow_flexion": 1},
}


def opensim_coordinates(angles: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Angles (T,) of `joint_angles` in 3D under the names and with the signs of OpenSim's models, degrees."""
    found = {}
    for suffix, side in (("", ""), ("_r", "right_"), ("_l", "left_")):
        for name, parts in _OPENSIM.items():
            weights = {f"{side}{part}": weight for part, weight in parts.items()}
            if all(part in angles for part in weights):
                total = sum(weight * angles[part] for part, weight in weights.items())
                found[f"{name}{suffix}"] = np.asarray(total)
    return found
