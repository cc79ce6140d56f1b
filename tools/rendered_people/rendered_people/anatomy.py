"""Bodies: proportions, bones, the angles that joints allow, and where bones are for given angles.

A figure's own frame: x to its left, y to its back, z up, meters, origin in the middle between the hips. In the rest
pose it stands straight with its arms hanging and palms at its thighs, and every bone's frame is that same frame,
with its origin at the joint the bone turns about.

Segment lengths as fractions of stature follow Drillis and Contini ("Body segment parameters", 1966) as tabled by
Winter ("Biomechanics and Motor Control of Human Movement"); ranges of motion are rounded from the means of the
American Academy of Orthopaedic Surgeons ("Joint Motion: Method of Measuring and Recording").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np

SIDES = ("left", "right")


class _Turn(NamedTuple):
    """One angle of a joint: the bone it turns, in which of the four factors of its rotation, and how far."""

    bone: str
    factor: int
    sign: float
    lowest: float
    highest: float


# A bone's rotation against its parent is Rz(a) Rx(b) Ry(c) Rz(d); a turn adds `sign * angle` to one of the four.
_Z_FIRST, _X, _Y, _Z = range(4)

_AXIAL_TURNS = {
    "lumbar_flex": _Turn("lumbar", _X, 1, -20, 50),
    "lumbar_side": _Turn("lumbar", _Y, 1, -25, 25),
    "lumbar_twist": _Turn("lumbar", _Z, 1, -15, 15),
    "chest_flex": _Turn("chest", _X, 1, -15, 35),
    "chest_side": _Turn("chest", _Y, 1, -20, 20),
    "chest_twist": _Turn("chest", _Z, 1, -35, 35),
    "neck_flex": _Turn("neck", _X, 1, -25, 30),
    "neck_side": _Turn("neck", _Y, 1, -20, 20),
    "neck_twist": _Turn("neck", _Z, 1, -30, 30),
    "head_flex": _Turn("head", _X, 1, -25, 25),
    "head_side": _Turn("head", _Y, 1, -15, 15),
    "head_twist": _Turn("head", _Z, 1, -45, 45),
}
# As the left side turns; the right side is its mirror image.
_SIDE_TURNS = {
    "clavicle_up": _Turn("clavicle", _Y, -1, -8, 30),
    "clavicle_forward": _Turn("clavicle", _Z, -1, -15, 25),
    # the upper arm is raised in a plane (0 forward, 90 sideways) and turned about its own axis
    "arm_plane": _Turn("upper_arm", _Z_FIRST, 1, -50, 180),
    "arm_raise": _Turn("upper_arm", _X, -1, 0, 175),
    "arm_twist": _Turn("upper_arm", _Z, 1, -90, 95),
    "elbow": _Turn("forearm", _X, -1, 0, 148),
    "forearm_twist": _Turn("hand", _Z_FIRST, -1, -85, 85),
    "wrist_flex": _Turn("hand", _Y, 1, -65, 75),
    "wrist_side": _Turn("hand", _X, -1, -30, 20),
    "fingers": _Turn("fingers", _Y, 1, -5, 95),
    "hip_flex": _Turn("thigh", _X, -1, -28, 122),
    "hip_abduct": _Turn("thigh", _Y, -1, -28, 45),
    "hip_twist": _Turn("thigh", _Z, 1, -40, 45),
    "knee": _Turn("shank", _X, 1, 0, 148),
    "ankle": _Turn("foot", _X, -1, -48, 25),
    "toes": _Turn("toes", _X, -1, -20, 60),
}
# Highest raise of the arm for some planes: far less behind the body than before it.
_RAISE_LIMIT_PLANES = (-50.0, -20.0, 0.0, 90.0, 120.0, 150.0, 180.0)
_RAISE_LIMITS = (110.0, 150.0, 175.0, 175.0, 120.0, 65.0, 55.0)

_AXIAL_BONES = ("pelvis", "lumbar", "chest", "neck", "head")
_SIDE_BONES = ("clavicle", "upper_arm", "forearm", "hand", "fingers", "thigh", "shank", "foot", "toes")
_PARENTS = {
    "lumbar": "pelvis",
    "chest": "lumbar",
    "neck": "chest",
    "head": "neck",
    "clavicle": "chest",
    "upper_arm": "clavicle",
    "forearm": "upper_arm",
    "hand": "forearm",
    "fingers": "hand",
    "thigh": "pelvis",
    "shank": "thigh",
    "foot": "shank",
    "toes": "foot",
}

BONES: tuple[str, ...] = (*_AXIAL_BONES, *(f"{side}_{bone}" for side in SIDES for bone in _SIDE_BONES))
BONE_INDEX: Mapping[str, int] = {name: index for index, name in enumerate(BONES)}
ANGLES: tuple[str, ...] = (*_AXIAL_TURNS, *(f"{side}_{turn}" for side in SIDES for turn in _SIDE_TURNS))
ANGLE_INDEX: Mapping[str, int] = {name: index for index, name in enumerate(ANGLES)}


def _parent_index(bone: str) -> int:
    side, _, name = bone.partition("_")
    if side not in SIDES:
        return BONE_INDEX[_PARENTS[bone]] if bone in _PARENTS else -1
    parent = _PARENTS[name]
    return BONE_INDEX.get(f"{side}_{parent}", BONE_INDEX.get(parent, -1))


PARENTS: tuple[int, ...] = tuple(_parent_index(bone) for bone in BONES)


def _turn(angle: str) -> _Turn:
    """What `angle` turns, with full bone name and signs for its side."""
    if angle in _AXIAL_TURNS:
        return _AXIAL_TURNS[angle]
    side, _, name = angle.partition("_")
    turn = _SIDE_TURNS[name]
    mirrored = side == "right" and turn.factor != _X
    return turn._replace(bone=f"{side}_{turn.bone}", sign=-turn.sign if mirrored else turn.sign)


_TURNS = tuple(_turn(angle) for angle in ANGLES)
LOWEST_ANGLES = np.array([turn.lowest for turn in _TURNS])
HIGHEST_ANGLES = np.array([turn.highest for turn in _TURNS])


@cache
def _turn_matrix() -> np.ndarray:
    """(A, B * 4): what an angle adds to the four factors of each bone's rotation."""
    matrix = np.zeros((len(ANGLES), len(BONES), 4))
    for index, turn in enumerate(_TURNS):
        matrix[index, BONE_INDEX[turn.bone], turn.factor] = turn.sign
    for side in SIDES:
        # raising the arm in its plane must not turn it about its own axis
        plane = ANGLE_INDEX[f"{side}_arm_plane"]
        bone = BONE_INDEX[f"{side}_upper_arm"]
        matrix[plane, bone, _Z] = -matrix[plane, bone, _Z_FIRST]
        # the forearm's own skin follows part of the way that the hand is turned
        twist = ANGLE_INDEX[f"{side}_forearm_twist"]
        hand, forearm = BONE_INDEX[f"{side}_hand"], BONE_INDEX[f"{side}_forearm"]
        matrix[twist, forearm, _Z] = 0.45 * matrix[twist, hand, _Z_FIRST]
        matrix[twist, hand, _Z_FIRST] *= 0.55
    return matrix.reshape(len(ANGLES), -1)


def limit_angles(angles: np.ndarray) -> np.ndarray:
    """Angles (..., A) in degrees, each brought to the nearest that its joint allows."""
    limited = np.clip(angles, LOWEST_ANGLES, HIGHEST_ANGLES)
    for side in SIDES:
        plane, raised = ANGLE_INDEX[f"{side}_arm_plane"], ANGLE_INDEX[f"{side}_arm_raise"]
        highest = np.interp(limited[..., plane], _RAISE_LIMIT_PLANES, _RAISE_LIMITS)
        limited[..., raised] = np.minimum(limited[..., raised], highest)
    return limited


def rotation(axis: int, degrees: np.ndarray | float) -> np.ndarray:
    """Rotation matrices (..., 3, 3) about x (0), y (1) or z (2)."""
    radians = np.deg2rad(degrees)
    cosine, sine = np.cos(radians), np.sin(radians)
    matrix = np.zeros((*np.shape(radians), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[..., axis, axis] = 1
    matrix[..., first, first] = matrix[..., second, second] = cosine
    matrix[..., first, second] = -sine
    matrix[..., second, first] = sine
    return matrix


def bone_rotations(angles: np.ndarray) -> np.ndarray:
    """Rotations (..., B, 3, 3) of bones against their parents, of angles (..., A) in degrees."""
    factors = (angles @ _turn_matrix()).reshape(*angles.shape[:-1], len(BONES), 4)
    first, x, y, last = (rotation(axis, factors[..., i]) for i, axis in enumerate((2, 0, 1, 2)))
    return first @ x @ y @ last


def place_bones(joints: np.ndarray, angles: np.ndarray, root_rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the bones of N figures are, their roots at the origin.

    Args:
        joints: (N, B, 3) `Body.joints`.
        angles: (N, A) degrees.
        root_rotations: (N, 3, 3).

    Returns:
        Rotations (N, B, 3, 3) and positions (N, B, 3) of the bones' frames.
    """
    local = bone_rotations(angles)
    rotations, positions = np.empty_like(local), np.zeros_like(joints)
    rotations[:, 0] = root_rotations @ local[:, 0]
    for bone, parent in enumerate(PARENTS[1:], start=1):
        rotations[:, bone] = rotations[:, parent] @ local[:, bone]
        offset = (joints[:, bone] - joints[:, parent])[..., None]
        positions[:, bone] = positions[:, parent] + (rotations[:, parent] @ offset)[..., 0]
    return rotations, positions


@dataclass(frozen=True)
class Body:
    """Proportions of one figure.

    Args:
        stature: height in meters.
        weight: -1 for very slim to 1.5 for heavy, 0 for the average.
        femininity: 0 to 1, between the average proportions of men and of women.
        childhood: 0 for an adult to 1 for a six-year-old: a large head on shorter limbs.
        leg_length, arm_length, shoulder_width: factors about 1.
    """

    stature: float = 1.74
    weight: float = 0.0
    femininity: float = 0.0
    childhood: float = 0.0
    leg_length: float = 1.0
    arm_length: float = 1.0
    shoulder_width: float = 1.0

    @classmethod
    def random(cls, rng: np.random.Generator) -> Body:
        """A body that one may meet."""
        femininity = float(np.clip(rng.normal(0.08 if rng.random() < 0.5 else 0.92, 0.12), 0, 1))
        childhood = float(rng.uniform(0.3, 1)) if rng.random() < 0.12 else 0.0
        adult = 1.765 - 0.125 * femininity + 0.07 * float(np.clip(rng.normal(), -2, 2))
        return cls(
            stature=adult * (1 - 0.32 * childhood),
            weight=float(np.clip(rng.normal(0, 0.45), -0.8, 1.4)) * (1 - 0.6 * childhood),
            femininity=femininity * (1 - 0.8 * childhood),
            childhood=childhood,
            leg_length=float(rng.uniform(0.965, 1.035)),
            arm_length=float(rng.uniform(0.97, 1.03)),
            shoulder_width=float(rng.uniform(0.95, 1.05)),
        )

    @property
    def head_scale(self) -> float:
        """Size of the head against that of an adult of 1.74 m; heads grow little."""
        return (0.35 + 0.65 * self.stature / 1.74) * (1 + 0.12 * self.childhood) * (1 - 0.03 * self.femininity)

    @property
    def hip_height(self) -> float:
        """Of the hip joints over the ground in rest pose."""
        return self.stature * 0.53 * self.leg_length * (1 - 0.09 * self.childhood)

    @cached_property
    def joints(self) -> np.ndarray:
        """(B, 3) joints that the bones turn about, in rest pose."""
        height = self.stature
        child = self.childhood
        head = self.head_scale
        legs = self.hip_height
        ankle = 0.042 * height
        knee = ankle + (legs - ankle) * 0.5
        # the neck ends where the skull begins, 0.155 m below the crown of an adult
        atlas = height - legs - 0.155 * head
        thorax = atlas - 0.062 * height * (1 - 0.25 * child)
        shoulder = thorax - 0.036 * height
        shoulder_x = 0.1015 * height * self.shoulder_width * (1 - 0.09 * self.femininity)
        upper_arm = 0.178 * height * self.arm_length * (1 - 0.06 * child)
        forearm = 0.148 * height * self.arm_length * (1 - 0.06 * child)
        hip_x = (0.0515 + 0.002 * self.femininity) * height
        axial = [(0, 0, 0), (0, 0, 0), (0, 0.005, 0.47 * thorax), (0, 0.02, thorax), (0, 0.0, atlas)]
        side = [
            (0, 0.02, thorax),
            (shoulder_x, 0.02, shoulder),
            (shoulder_x, 0.02, shoulder - upper_arm),
            (shoulder_x, 0.02, shoulder - upper_arm - forearm),
            (shoulder_x, 0.02, shoulder - upper_arm - forearm - 0.052 * height),
            (hip_x, 0, 0),
            (hip_x, 0, knee - legs),
            (hip_x, 0.012, ankle - legs),
            (hip_x, -0.074 * height, 0.012 * height - legs),
        ]
        left = np.array(side)
        return np.concatenate((np.array(axial), left, left * (-1, 1, 1)))


def joints_of(bodies: Sequence[Body]) -> np.ndarray:
    """(N, B, 3) rest joints of N bodies."""
    return np.stack([body.joints for body in bodies])
