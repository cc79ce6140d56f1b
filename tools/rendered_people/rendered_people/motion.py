"""Poses of figures: joint angles by name and places that hands reach for, and curves over time that activities are
made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rendered_people.anatomy import (
    ANGLE_INDEX,
    ANGLES,
    BONE_INDEX,
    SIDES,
    limit_angles,
    place_bones,
    rotation,
)

_OUTWARD = {"left": 1.0, "right": -1.0}


@dataclass(frozen=True)
class HandTarget:
    """A place that a wrist goes to, as far as the arm's joints allow.

    Args:
        bone: bone that carries the place along: `"chest"`, `"head"`, `"pelvis"`, `"left_thigh"`, ...
        point: where it is in rest pose (m), x counted outward from the body's middle on the hand's side.
        elbow: direction that the elbow is sent, x outward.
        twist: degrees that the forearm is pronated.
        wrist: degrees that the wrist is flexed.
        fingers: degrees that the fingers are bent.
    """

    bone: str
    point: tuple[float, float, float]
    elbow: tuple[float, float, float] = (0.6, 0.4, -1.0)
    twist: float = 0.0
    wrist: float = 0.0
    fingers: float = 30.0


@dataclass(frozen=True)
class Pose:
    """A figure at one moment.

    Args:
        angles: degrees by name; a name of a limb's angle without its side stands for both sides.
        hands: side to target; its arm's angles are then found from it.
        heading: degrees that the figure is turned (counterclockwise from above).
        tilt, roll: degrees that the whole figure leans forward or to its left.
        forward, sideways: meters walked along the heading and to the left of it.
        airborne: height of the lowest point over the ground (m).
    """

    angles: Mapping[str, float]
    hands: Mapping[str, HandTarget] = field(default_factory=dict)
    heading: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    forward: float = 0.0
    sideways: float = 0.0
    airborne: float = 0.0


Curve = Callable[[float], Pose]


@dataclass(frozen=True)
class Activity:
    """What a figure does: its pose at any time in seconds, and whether it sits on something."""

    name: str
    pose: Curve
    seated: bool = False


def full_names(name: str) -> tuple[str, ...]:
    """Names of the angles that `name` stands for: itself, or those of both sides."""
    return (name,) if name in ANGLE_INDEX else tuple(f"{side}_{name}" for side in SIDES)


def other_side(side: str) -> str:
    """ "right" for "left" and the other way round."""
    return SIDES[1 - SIDES.index(side)]


def solve_pose(pose: Pose, joints: np.ndarray) -> np.ndarray:
    """(A,) angles in degrees of a pose of the body with rest `joints` (B, 3), all within the joints' limits."""
    angles = np.zeros(len(ANGLES))
    for name, value in pose.angles.items():
        for full_name in full_names(name):
            angles[ANGLE_INDEX[full_name]] = value
    angles = limit_angles(angles)
    if pose.hands:
        rotations, positions = place_bones(joints[None], angles[None], np.eye(3)[None])
        for side, target in pose.hands.items():
            for name, value in _reach(side, target, joints, rotations[0], positions[0]).items():
                angles[ANGLE_INDEX[f"{side}_{name}"]] = value
        angles = limit_angles(angles)
    return angles


def _reach(
    side: str, target: HandTarget, joints: np.ndarray, rotations: np.ndarray, positions: np.ndarray
) -> dict[str, float]:
    """Angles of one arm whose wrist is at a target, computed as if for the left side (x outward)."""
    mirror = np.array([_OUTWARD[side], 1.0, 1.0])
    carrier, clavicle = BONE_INDEX[target.bone], BONE_INDEX[f"{side}_clavicle"]
    place = positions[carrier] + rotations[carrier] @ (np.array(target.point) * mirror - joints[carrier])
    shoulder, elbow, wrist = (joints[BONE_INDEX[f"{side}_{bone}"]] for bone in ("upper_arm", "forearm", "hand"))
    origin = positions[clavicle] + rotations[clavicle] @ (shoulder - joints[clavicle])
    way = (rotations[clavicle].T @ (place - origin)) * mirror
    upper, lower = np.linalg.norm(elbow - shoulder), np.linalg.norm(wrist - elbow)
    distance = float(np.clip(np.linalg.norm(way), 0.42 * (upper + lower), 0.995 * (upper + lower)))
    straight = way / max(float(np.linalg.norm(way)), 1e-6)
    pole = np.array(target.elbow, float)
    pole -= straight * (pole @ straight)
    pole /= max(float(np.linalg.norm(pole)), 1e-6)
    inner = np.clip((upper**2 + distance**2 - lower**2) / (2 * upper * distance), -1, 1)
    arm = straight * inner + pole * np.sqrt(1 - inner**2)
    forearm = (straight * distance - arm * upper) / lower
    bend = np.arccos(np.clip(arm @ forearm, -1, 1))
    # axes of the upper arm: z up along it, y opposite to where the forearm bends
    back = -(forearm - arm * np.cos(bend)) / np.sin(bend)
    back -= arm * (back @ arm)
    back /= np.linalg.norm(back)
    axes = np.stack((np.cross(back, -arm), back, -arm), axis=1)
    plane, raised = direction_angles(arm)
    swing = rotation(2, plane) @ rotation(0, -raised) @ rotation(2, -plane)
    twisted = swing.T @ axes
    return {
        "arm_plane": plane,
        "arm_raise": raised,
        "arm_twist": float(np.rad2deg(np.arctan2(twisted[1, 0], twisted[0, 0]))),
        "elbow": float(np.rad2deg(bend)),
        "forearm_twist": target.twist,
        "wrist_flex": target.wrist,
        "wrist_side": 0.0,
        "fingers": target.fingers,
    }


def direction_angles(direction: np.ndarray) -> tuple[float, float]:
    """`arm_plane` and `arm_raise` of an upper arm in the direction (3,), x outward."""
    x, y, z = (float(value) for value in direction)
    plane = float(np.rad2deg(np.arctan2(x, -y)))
    plane += 360 if plane < -115 else 0
    return plane, float(np.rad2deg(np.arccos(np.clip(-z / max(np.sqrt(x * x + y * y + z * z), 1e-9), -1, 1))))


def hanging(side: str, flex: float, abduct: float) -> dict[str, float]:
    """Angles of an upper arm that hangs, swung `flex` degrees forward and `abduct` outward."""
    direction = np.array([np.tan(np.deg2rad(abduct)), -np.tan(np.deg2rad(flex)), -1.0])
    plane, raised = direction_angles(direction)
    return {f"{side}_arm_plane": plane, f"{side}_arm_raise": raised}


def periodic(phase: float, keys: Sequence[tuple[float, float]]) -> float:
    """Value of a closed smooth curve through (phase, value) `keys` of one period, at `phase` in periods."""
    times = np.array([key[0] for key in keys])
    values = np.array([key[1] for key in keys])
    times = np.concatenate((times[-2:] - 1, times, times[:2] + 1))
    values = np.concatenate((values[-2:], values, values[:2]))
    phase = phase % 1
    i = int(np.clip(np.searchsorted(times, phase, "right") - 1, 1, len(times) - 3))
    t = (phase - times[i]) / (times[i + 1] - times[i])
    step = times[i + 1] - times[i]
    before = (values[i + 1] - values[i - 1]) / (times[i + 1] - times[i - 1]) * step
    after = (values[i + 2] - values[i]) / (times[i + 2] - times[i]) * step
    square, cube = t * t, t**3
    return float(
        (2 * cube - 3 * square + 1) * values[i]
        + (cube - 2 * square + t) * before
        + (3 * square - 2 * cube) * values[i + 1]
        + (cube - square) * after
    )


def wobble(rng: np.random.Generator, slowest: float = 0.1, fastest: float = 0.5) -> Callable[[float], float]:
    """A smooth random curve over seconds, mostly between -1 and 1."""
    frequency = rng.uniform(slowest, fastest, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)

    def curve(t: float) -> float:
        return float(np.sin(2 * np.pi * frequency * t + phase).mean() * 1.4)

    return curve


def pulse(t: float, period: float, share: float = 0.5) -> float:
    """0 to 1 and back, smoothly, once per period; above 0 for `share` of it."""
    phase = (t / period) % 1
    return float(np.sin(np.pi * phase / share) ** 2) if phase < share else 0.0
