"""What figures do: each activity gives joint angles as smooth curves over time.

Curves of walking and running follow the normative gait data in Winter, "Biomechanics and Motor Control of Human
Movement", and Novacheck, "The biomechanics of running" (1998), read off at a few phases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from rendered_people.anatomy import (
    ANGLE_INDEX,
    ANGLES,
    BONE_INDEX,
    SIDES,
    Body,
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


def random_activity(rng: np.random.Generator, body: Body, name: str | None = None) -> Activity:
    """An activity with random parameters, of a random kind or the kind `name`."""
    if name is None:
        names = list(_ACTIVITIES)
        weights = np.array([_ACTIVITIES[key][1] for key in names], float)
        name = names[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random()))]
    curve = _ACTIVITIES[name][0](rng, body)
    return Activity(name, _with_sway(curve, rng, _STILL_LEGS if name in _SEATED else ()), seated=name in _SEATED)


def solve_pose(pose: Pose, joints: np.ndarray) -> np.ndarray:
    """(A,) angles in degrees of a pose of the body with rest `joints` (B, 3), all within the joints' limits."""
    angles = np.zeros(len(ANGLES))
    for name, value in pose.angles.items():
        for full_name in (name,) if name in ANGLE_INDEX else tuple(f"{side}_{name}" for side in SIDES):
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


def _hanging(side: str, flex: float, abduct: float) -> dict[str, float]:
    """Angles of an upper arm that hangs, swung `flex` degrees forward and `abduct` outward."""
    direction = np.array([np.tan(np.deg2rad(abduct)), -np.tan(np.deg2rad(flex)), -1.0])
    plane, raised = direction_angles(direction)
    return {f"{side}_arm_plane": plane, f"{side}_arm_raise": raised}


def _periodic(phase: float, keys: Sequence[tuple[float, float]]) -> float:
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


def _wobble(rng: np.random.Generator, slowest: float = 0.1, fastest: float = 0.5) -> Callable[[float], float]:
    """A smooth random curve over seconds, mostly between -1 and 1."""
    frequency = rng.uniform(slowest, fastest, 3)
    phase = rng.uniform(0, 2 * np.pi, 3)

    def curve(t: float) -> float:
        return float(np.sin(2 * np.pi * frequency * t + phase).mean() * 1.4)

    return curve


def _ease(value: float) -> float:
    """0 to 1, slow at both ends."""
    value = min(max(value, 0.0), 1.0)
    return value * value * (3 - 2 * value)


def _pulse(t: float, period: float, share: float = 0.5) -> float:
    """0 to 1 and back, smoothly, once per period; above 0 for `share` of it."""
    phase = (t / period) % 1
    return float(np.sin(np.pi * phase / share) ** 2) if phase < share else 0.0


# Angles that sway a little in everyone, degrees.
_SWAY = {
    "lumbar_flex": 1.5,
    "lumbar_side": 1.5,
    "chest_flex": 1.5,
    "chest_side": 2.0,
    "chest_twist": 3.0,
    "neck_flex": 3.0,
    "neck_side": 2.0,
    "neck_twist": 5.0,
    "head_flex": 4.0,
    "head_side": 3.0,
    "head_twist": 8.0,
    "left_elbow": 4.0,
    "right_elbow": 4.0,
    "left_hip_flex": 1.0,
    "right_hip_flex": 1.0,
    "left_knee": 1.0,
    "right_knee": 1.0,
}
_STILL_LEGS = ("left_hip_flex", "right_hip_flex", "left_knee", "right_knee")


def _with_sway(curve: Curve, rng: np.random.Generator, still: Sequence[str]) -> Curve:
    """The curve of an activity with slow small movements, a gaze and a build of its own added."""
    names = [name for name in _SWAY if name not in still]
    amount = np.array([_SWAY[name] for name in names])
    constant = amount * rng.normal(0, 1.2, len(names))
    frequency = rng.uniform(0.08, 0.35, len(names))
    phase = rng.uniform(0, 2 * np.pi, len(names))

    def swaying(t: float) -> Pose:
        pose = curve(t)
        sway = constant + amount * np.sin(2 * np.pi * frequency * t + phase)
        angles = {}
        for name, value in pose.angles.items():
            if name in ANGLE_INDEX:
                angles[name] = value
            else:
                angles.update({f"{side}_{name}": value for side in SIDES})
        for name, value in zip(names, sway.tolist(), strict=True):
            angles[name] = angles.get(name, 0.0) + value
        return replace(pose, angles=angles)

    return swaying


# Hands ----------------------------------------------------------------------------------------------------------------


def _hand_place(rng: np.random.Generator, body: Body, side: str) -> HandTarget | None:
    """Something a standing or sitting person does with a hand, or None: it hangs."""
    joints = {
        name: body.joints[BONE_INDEX[name]] for name in ("chest", "neck", "head", "left_upper_arm", "left_thigh")
    }
    s = body.stature
    shoulder, head, hip = joints["left_upper_arm"], joints["head"], joints["left_thigh"]
    roll = rng.random()
    if roll < 0.3:
        return None
    if roll < 0.42:  # on the hip
        return HandTarget("pelvis", (hip[0] + 0.078 * s, -0.02, 0.08 * s), (1, 0.5, 0.1), -10, 40, 55)
    if roll < 0.5:  # in the pocket
        return HandTarget("pelvis", (hip[0] + 0.065 * s, -0.02, -0.01), (0.7, 0.9, -0.1), 20, 10, 20)
    if roll < 0.6:  # phone or cup before the chest
        height = rng.uniform(0.35, 0.95)
        return HandTarget(
            "chest",
            (rng.uniform(0.02, 0.1) * s, -rng.uniform(0.14, 0.2) * s, height * shoulder[2]),
            (0.7, 0.3, -1),
            rng.uniform(-60, 20),
            rng.uniform(-10, 30),
            rng.uniform(40, 75),
        )
    if roll < 0.68:  # phone at the ear, hand in the hair
        return HandTarget("head", (0.1 * s, 0.02, head[2] - 0.02 * s), (1, -0.4, -0.8), 10, 10, 50)
    if roll < 0.74:  # chin or mouth
        return HandTarget("head", (0.03 * s, -0.1 * s, head[2] - 0.06 * s), (0.6, -0.2, -1), 30, 30, 60)
    if roll < 0.84:  # across the chest or belly
        return HandTarget(
            "chest", (-0.05 * s, -0.13 * s, rng.uniform(0.35, 0.7) * shoulder[2]), (1, -0.1, -0.6), 40, 10, 35
        )
    if roll < 0.9:  # behind the back
        return HandTarget("pelvis", (0.03 * s, 0.1 * s, 0.09 * s), (0.6, 0.9, 0), 60, 0, 40)
    if roll < 0.95:  # pointing or greeting
        return HandTarget(
            "chest",
            (rng.uniform(0.1, 0.3) * s, -rng.uniform(0.2, 0.33) * s, shoulder[2] + rng.uniform(-0.1, 0.15) * s),
            (0.5, 0.2, -1),
            30,
            0,
            rng.uniform(0, 60),
        )
    return HandTarget("head", (0.06 * s, 0.03, head[2] + 0.1 * s), (1, -0.3, 0.2), 0, 20, 40)  # on the head


def _idle_hands(
    rng: np.random.Generator, body: Body
) -> tuple[dict[str, float], Callable[[float], dict[str, HandTarget]]]:
    """Hanging arms' angles, and the targets of the hands that do something, gently moving."""
    angles: dict[str, float] = {}
    targets: dict[str, HandTarget] = {}
    both_alike = rng.random() < 0.3
    first = _hand_place(rng, body, "left")
    for side in SIDES:
        angles.update(_hanging(side, rng.uniform(-6, 14), rng.uniform(5, 13)))
        angles[f"{side}_elbow"] = rng.uniform(8, 32)
        angles[f"{side}_arm_twist"] = rng.uniform(-30, 5)
        angles[f"{side}_forearm_twist"] = rng.uniform(-10, 40)
        angles[f"{side}_fingers"] = rng.uniform(15, 45)
        target = first if both_alike else _hand_place(rng, body, side)
        if target is not None:
            targets[side] = target
    drift = [_wobble(rng, 0.1, 0.4) for _ in range(3)]

    def hands(t: float) -> dict[str, HandTarget]:
        moved = np.array([curve(t) for curve in drift]) * 0.012
        return {
            side: replace(target, point=tuple((np.array(target.point) + moved).tolist()))
            for side, target in targets.items()
        }

    return angles, hands


# Activities -----------------------------------------------------------------------------------------------------------


def _stand(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = _idle_hands(rng, body)
    spread = rng.uniform(1, 9)
    relaxed = rng.choice(SIDES)
    bent = rng.uniform(0, 22)
    shift = rng.uniform(-5, 5)
    flex, twist = rng.uniform(-4, 8), rng.uniform(-10, 10)
    head = {"head_flex": rng.uniform(-8, 15), "head_twist": rng.uniform(-28, 28), "neck_twist": rng.uniform(-12, 12)}
    sway = _wobble(rng)
    angles = {
        **arms,
        "lumbar_flex": flex / 2,
        "chest_flex": flex,
        "chest_twist": twist,
        "lumbar_side": -shift,
        "chest_side": shift * 0.6,
        "hip_abduct": spread,
        "hip_twist": rng.uniform(2, 14),
        "knee": rng.uniform(0, 5),
        **head,
    }
    angles[f"{relaxed}_knee"] = bent
    angles[f"{relaxed}_hip_flex"] = bent * 0.55
    angles[f"{relaxed}_ankle"] = bent * 0.3

    def pose(t: float) -> Pose:
        lean = 1.2 * sway(t)
        return Pose({**angles, "lumbar_side": angles["lumbar_side"] + lean}, hands(t), roll=shift * 0.4)

    return pose


_WALK_HIP = ((0.0, 29), (0.12, 24), (0.3, 8), (0.5, -11), (0.62, -3), (0.75, 20), (0.88, 31))
_WALK_KNEE = ((0.0, 4), (0.13, 18), (0.35, 6), (0.5, 14), (0.62, 42), (0.73, 63), (0.88, 28))
_WALK_ANKLE = ((0.0, 0), (0.08, -7), (0.3, 6), (0.47, 10), (0.62, -18), (0.78, 1))
_RUN_HIP = ((0.0, 38), (0.15, 22), (0.36, -14), (0.5, -4), (0.66, 32), (0.82, 58))
_RUN_KNEE = ((0.0, 18), (0.14, 42), (0.34, 18), (0.5, 62), (0.64, 108), (0.8, 78), (0.93, 22))
_RUN_ANKLE = ((0.0, 4), (0.15, 22), (0.36, -24), (0.55, -10), (0.8, 6))


def _gait(rng: np.random.Generator, body: Body, running: bool) -> Curve:
    effort = rng.uniform(0.75, 1.15)
    period = (0.72 if running else 1.12) * np.sqrt(body.hip_height / 0.92) / rng.uniform(0.9, 1.1)
    stride = body.hip_height * (2.9 if running else 1.5) * effort
    radius = rng.choice((-1, 1)) * rng.uniform(1.6, 4.0) * (1.6 if running else 1.0)
    start = rng.random()
    arms = rng.uniform(0.6, 1.3)
    elbow = rng.uniform(80, 105) if running else rng.uniform(12, 38)
    lean = rng.uniform(6, 14) if running else rng.uniform(0, 6)
    held = None if running or rng.random() < 0.75 else (str(rng.choice(SIDES)), None)
    target = _hand_place(rng, body, "left") if held else None
    hip, knee, ankle = (_RUN_HIP, _RUN_KNEE, _RUN_ANKLE) if running else (_WALK_HIP, _WALK_KNEE, _WALK_ANKLE)
    turn = np.sign(radius) * rng.uniform(0, 8)
    hands = {held[0]: target} if held and target else {}

    def pose(t: float) -> Pose:
        phase = start + t / period
        angles: dict[str, float] = {
            "lumbar_flex": lean * 0.6,
            "chest_flex": lean * 0.4,
            "neck_flex": -lean * 0.3,
            "head_flex": -lean * 0.4,
            "head_twist": turn,
        }
        for side, shift in (("left", 0.0), ("right", 0.5)):
            leg = phase + shift
            angles[f"{side}_hip_flex"] = effort * _periodic(leg, hip)
            angles[f"{side}_knee"] = effort * _periodic(leg, knee)
            angles[f"{side}_ankle"] = _periodic(leg, ankle)
            angles[f"{side}_toes"] = 30 * _periodic(leg, ((0.0, 0.2), (0.3, 0), (0.52, 1), (0.75, 0)))
            angles[f"{side}_hip_abduct"] = -1.0 if running else 1.0
            # arms swing against the legs
            swing = -np.cos(2 * np.pi * leg)
            forward = arms * (34 if running else 20) * swing + (2 if running else 3)
            angles.update(_hanging(side, forward, 13 if running else 7))
            angles[f"{side}_elbow"] = elbow + (12 if running else 9) * swing
            angles[f"{side}_arm_twist"] = -28 if running else -12
            angles[f"{side}_forearm_twist"] = 10
            angles[f"{side}_fingers"] = 70 if running else 35
        twist = (9 if running else 5) * effort * np.cos(2 * np.pi * phase)
        angles["chest_twist"] = twist
        angles["lumbar_twist"] = 0.5 * twist
        angle = stride / period * t / radius
        along, aside = radius * np.sin(angle), radius * (1 - np.cos(angle))
        hop = 0.06 * effort * (0.5 - 0.5 * np.cos(4 * np.pi * phase)) if running else 0.0
        return Pose(angles, hands, float(np.rad2deg(angle)), 0.0, 0.0, float(along), float(aside), float(hop))

    return pose


def _walk(rng: np.random.Generator, body: Body) -> Curve:
    return _gait(rng, body, running=False)


def _run(rng: np.random.Generator, body: Body) -> Curve:
    return _gait(rng, body, running=True)


def _wave(rng: np.random.Generator, body: Body) -> Curve:
    base = _stand(rng, body)
    side = str(rng.choice(SIDES))
    other = SIDES[1 - SIDES.index(side)]
    both = rng.random() < 0.3
    plane, raised = rng.uniform(55, 90), rng.uniform(75, 150)
    elbow, swing, speed = rng.uniform(25, 90), rng.uniform(12, 28), rng.uniform(0.8, 1.8)
    start = rng.random()

    def pose(t: float) -> Pose:
        still = base(t)
        beat = float(np.sin(2 * np.pi * (speed * t + start)))
        angles, hands = dict(still.angles), dict(still.hands)
        for waving in (side, other) if both else (side,):
            hands.pop(waving, None)
            angles[f"{waving}_arm_plane"] = plane
            angles[f"{waving}_arm_raise"] = raised + 6 * beat
            angles[f"{waving}_arm_twist"] = 78 - 0.2 * swing * beat
            angles[f"{waving}_elbow"] = elbow + swing * beat
            angles[f"{waving}_forearm_twist"] = 25
            angles[f"{waving}_wrist_side"] = 12 * beat
            angles[f"{waving}_fingers"] = 5
            angles[f"{waving}_clavicle_up"] = raised * 0.12
        return replace(still, angles=angles, hands=hands)

    return pose


def _sit(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = _idle_hands(rng, body)
    s = body.stature
    apart = rng.uniform(2, 18)
    lean = rng.uniform(-12, 25)
    legs = {
        "hip_flex": 88 - 0.3 * abs(lean),
        "hip_abduct": apart,
        "knee": rng.uniform(78, 98),
        "hip_twist": rng.uniform(-4, 8),
        "ankle": rng.uniform(-6, 6),
    }
    style = rng.random()
    side = str(rng.choice(SIDES))
    if style < 0.2:  # one leg over the other
        legs = {
            **legs,
            "hip_abduct": 2.0,
            f"{side}_hip_flex": 104.0,
            f"{side}_hip_abduct": -13.0,
            f"{side}_knee": 82.0,
        }
        legs[f"{side}_hip_twist"] = -6.0
    elif style < 0.4:  # one foot forward
        legs[f"{side}_knee"] = rng.uniform(35, 65)
    elif style < 0.5:  # feet drawn back
        legs["knee"] = rng.uniform(100, 118)
    knee = body.joints[BONE_INDEX["left_shank"]]
    on_thighs = {}
    for each in SIDES:
        if rng.random() < 0.55:
            reach = rng.uniform(0.25, 0.95)
            on_thighs[each] = HandTarget(
                f"{each}_thigh",
                (knee[0] + rng.uniform(-0.01, 0.02), -0.06 * s / 1.74 - 0.03, knee[2] * reach),
                (0.8, 0.5, -0.5),
                65,
                -10,
                25,
            )
    flex = {"lumbar_flex": lean * 0.6, "chest_flex": 4 + lean * 0.4, "head_twist": rng.uniform(-25, 25)}
    flex["head_flex"] = rng.uniform(-12, 20) - lean * 0.4

    def pose(t: float) -> Pose:
        return Pose({**arms, **legs, **flex}, {**hands(t), **on_thighs}, tilt=min(lean, 0) * 0.5 - 4)

    return pose


def _sit_on_ground(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = _idle_hands(rng, body)
    style = rng.random()
    if style < 0.4:  # cross-legged
        legs = {"hip_flex": 98.0, "hip_abduct": 38.0, "hip_twist": 42.0, "knee": 125.0, "ankle": -20.0}
    elif style < 0.7:  # knees up
        legs = {"hip_flex": 108.0, "hip_abduct": rng.uniform(3, 14), "knee": rng.uniform(95, 125), "ankle": -5.0}
    else:  # legs stretched out
        legs = {"hip_flex": 88.0, "hip_abduct": rng.uniform(2, 22), "knee": rng.uniform(0, 14), "ankle": -15.0}
    lean = rng.uniform(0, 24)
    spine = {"lumbar_flex": lean, "chest_flex": lean * 0.6, "head_flex": rng.uniform(-20, 5)}
    back = rng.uniform(-10, 4)

    def pose(t: float) -> Pose:
        return Pose({**arms, **legs, **spine}, hands(t), tilt=back)

    return pose


def _reaching(rng: np.random.Generator, body: Body) -> Curve:
    base = _stand(rng, body)
    shoulder = body.joints[BONE_INDEX["left_upper_arm"]]
    s = body.stature
    radius = np.array([rng.uniform(0.02, 0.16), rng.uniform(0.02, 0.1), rng.uniform(0.02, 0.2)]) * s
    center = np.array([rng.uniform(-0.02, 0.25), -rng.uniform(0.12, 0.3), rng.uniform(-0.2, 0.3)]) * s
    speed, phase = rng.uniform(0.2, 0.7), rng.uniform(0, 2 * np.pi, 3)
    sides = SIDES if rng.random() < 0.55 else (str(rng.choice(SIDES)),)
    twist, bent = rng.uniform(-30, 60), rng.uniform(5, 60)
    alike = rng.random() < 0.5

    def pose(t: float) -> Pose:
        still = base(t)
        hands = dict(still.hands)
        for index, side in enumerate(sides):
            offset = 0 if alike else 2.0 * index
            moved = radius * np.sin(2 * np.pi * speed * t * np.array([1, 0.7, 1.3]) + phase + offset)
            point = np.array([shoulder[0] * 0.6, 0, shoulder[2]]) + center + moved
            hands[side] = HandTarget("chest", tuple(point.tolist()), (0.7, 0.3, -0.9), twist, 0, bent)
        rise = float(np.clip(center[2] / s, 0, 0.3)) * 60
        return replace(still, angles={**still.angles, "clavicle_up": rise}, hands=hands)

    return pose


def _squat(rng: np.random.Generator, body: Body) -> Curve:
    period, depth, lowest = rng.uniform(2, 4), rng.uniform(60, 112), rng.uniform(0, 30)
    spread, style = rng.uniform(6, 20), rng.random()
    start = rng.random() * period

    def pose(t: float) -> Pose:
        down = lowest + (depth - lowest) * (0.5 - 0.5 * np.cos(2 * np.pi * (t + start) / period))
        angles = {
            "hip_flex": down,
            "knee": down * 1.08,
            "ankle": down * 0.24,
            "hip_abduct": spread,
            "hip_twist": 16.0,
            "lumbar_flex": down * 0.22,
            "chest_flex": 4.0,
            "head_flex": -down * 0.15,
            "elbow": 15.0,
            "fingers": 15.0,
        }
        if style < 0.6:  # arms stretched forward for balance
            angles.update({"arm_plane": 8.0, "arm_raise": 25 + down * 0.55, "forearm_twist": 60.0})
        else:
            angles.update({"arm_plane": 30.0, "arm_raise": 45.0, "elbow": 120.0, "arm_twist": -40.0, "fingers": 80.0})
        return Pose(angles, tilt=down * 0.22)

    return pose


def _pick_up(rng: np.random.Generator, body: Body) -> Curve:
    period, depth = rng.uniform(2.5, 5), rng.uniform(0.6, 1.0)
    knees, start = rng.uniform(10, 60), rng.random() * period
    s = body.stature
    side = str(rng.choice(SIDES))
    both = rng.random() < 0.5
    aside = rng.uniform(-0.02, 0.15)

    def pose(t: float) -> Pose:
        down = depth * (0.5 - 0.5 * np.cos(2 * np.pi * (t + start) / period))
        angles = {
            "lumbar_flex": 46 * down,
            "chest_flex": 24 * down,
            "hip_flex": 78 * down,
            "knee": knees * down,
            "ankle": knees * 0.3 * down,
            "hip_abduct": 7.0,
            "head_flex": -14 * down,
            "neck_flex": -10 * down,
            **_hanging("left", 5, 8),
            **_hanging("right", 5, 8),
            "elbow": 18.0,
            "fingers": 40.0,
        }
        point = (0.06 * s + aside * s, -(0.14 + 0.12 * down) * s, (0.02 + 0.12 * down) * s)
        target = HandTarget("chest", point, (0.8, 0.4, -0.3), 30, 10, 45)
        hands = dict.fromkeys(SIDES if both else (side,), target)
        return Pose(angles, hands, tilt=42 * down)

    return pose


def _jumping_jack(rng: np.random.Generator, body: Body) -> Curve:
    period, height, start = rng.uniform(0.9, 1.4), rng.uniform(0.04, 0.12), rng.random()
    highest = rng.uniform(120, 168)

    def pose(t: float) -> Pose:
        phase = start + t / period
        spread = 0.5 - 0.5 * np.cos(2 * np.pi * phase)
        angles = {
            "arm_plane": 86.0,
            "arm_raise": 12 + (highest - 12) * spread,
            "arm_twist": 40 * spread,
            "clavicle_up": 22 * spread,
            "elbow": 12.0,
            "fingers": 5.0,
            "hip_abduct": 1 + 24 * spread,
            "knee": 6 + 14 * np.sin(2 * np.pi * phase) ** 2,
            "hip_flex": 4.0,
            "ankle": -16 * np.sin(2 * np.pi * phase) ** 2,
        }
        return Pose(angles, airborne=float(height * np.sin(2 * np.pi * phase) ** 2))

    return pose


def _dance(rng: np.random.Generator, body: Body) -> Curve:
    ranges = {
        "lumbar_side": (-16, 16),
        "lumbar_flex": (-5, 14),
        "chest_side": (-12, 12),
        "chest_twist": (-22, 22),
        "head_side": (-10, 10),
        "head_twist": (-30, 30),
    }
    for side in SIDES:
        ranges.update(
            {
                f"{side}_arm_plane": (0, 100),
                f"{side}_arm_raise": (15, 130),
                f"{side}_arm_twist": (-55, 75),
                f"{side}_elbow": (10, 120),
                f"{side}_forearm_twist": (-40, 70),
                f"{side}_wrist_flex": (-30, 40),
                f"{side}_fingers": (5, 60),
                f"{side}_hip_flex": (-8, 40),
                f"{side}_hip_abduct": (-4, 26),
                f"{side}_hip_twist": (-10, 28),
                f"{side}_knee": (4, 55),
                f"{side}_ankle": (-20, 12),
            }
        )
    curves = {name: _wobble(rng, 0.15, 0.9) for name in ranges}
    middle = {
        name: rng.uniform(low + 0.3 * (high - low), high - 0.3 * (high - low)) for name, (low, high) in ranges.items()
    }
    lift = max(0.0, rng.normal(0, 25)) if rng.random() < 0.4 else 0.0
    lifted = str(rng.choice(SIDES))
    turn, lean = _wobble(rng, 0.1, 0.3), _wobble(rng)

    def pose(t: float) -> Pose:
        angles = {
            name: middle[name] + 0.5 * (high - low) * 0.7 * curves[name](t) for name, (low, high) in ranges.items()
        }
        angles[f"{lifted}_hip_flex"] += lift
        angles[f"{lifted}_knee"] += lift
        return Pose(angles, heading=40 * turn(t), roll=4 * lean(t))

    return pose


def _kick(rng: np.random.Generator, body: Body) -> Curve:
    period, height, start = rng.uniform(1.6, 2.6), rng.uniform(45, 105), rng.random()
    kicking = str(rng.choice(SIDES))
    standing = SIDES[1 - SIDES.index(kicking)]
    sideways = rng.random() < 0.3

    def pose(t: float) -> Pose:
        up = _pulse(t + start * period, period, 0.75)
        angles = {
            f"{kicking}_hip_flex": (-14 * (1 - up) + height * up) * (0.4 if sideways else 1.0),
            f"{kicking}_hip_abduct": 44 * up if sideways else 4.0,
            f"{kicking}_knee": 50 * (1 - up) + 10,
            f"{kicking}_ankle": -25 * up,
            f"{standing}_knee": 12.0,
            f"{standing}_hip_flex": 6.0,
            f"{standing}_hip_abduct": 4.0,
            "lumbar_flex": 10 * up if sideways else 14 * up - 4,
            "arm_plane": 70.0,
            "arm_raise": 35 + 30 * up,
            "elbow": 30 + 25 * (1 - up),
            "arm_twist": -10.0,
            "fingers": 50.0,
        }
        return Pose(angles, tilt=-12 * up, roll=(14 if kicking == "right" else -14) * up * (1 if sideways else 0.2))

    return pose


def _box(rng: np.random.Generator, body: Body) -> Curve:
    period, start = rng.uniform(0.9, 1.6), rng.random()
    s = body.stature
    shoulder = body.joints[BONE_INDEX["left_upper_arm"]]
    leading = str(rng.choice(SIDES))
    height, depth = rng.uniform(-0.06, 0.08) * s, rng.uniform(8, 35)

    def pose(t: float) -> Pose:
        phase = t / period + start
        hands = {}
        for side, shift in (("left", 0.0), ("right", 0.5)):
            out = _pulse(phase + shift, 1.0, 0.45)
            guard = np.array([0.055 * s, -0.17 * s, shoulder[2] + 0.06 * s])
            strike = np.array([0.03 * s, -0.34 * s, shoulder[2] + height])
            point = guard + (strike - guard) * out
            hands[side] = HandTarget("chest", tuple(point.tolist()), (0.7, 0.2, -1), 20 + 50 * out, 0, 92)
        rear = SIDES[1 - SIDES.index(leading)]
        angles = {
            f"{leading}_hip_flex": 24.0,
            f"{rear}_hip_flex": -10.0,
            "knee": depth,
            "ankle": depth * 0.3,
            "hip_abduct": 8.0,
            "chest_twist": 16 * float(np.sin(2 * np.pi * phase + 0.8)),
            "lumbar_flex": 8.0,
            "head_flex": 6.0,
        }
        return Pose(angles, hands)

    return pose


def _stretch(rng: np.random.Generator, body: Body) -> Curve:
    period, start = rng.uniform(3, 6), rng.random()
    plane, raised, elbow = rng.uniform(40, 95), rng.uniform(70, 172), rng.choice((8.0, 15.0, 100.0))
    bend, spread = rng.uniform(-22, 22), rng.uniform(2, 22)

    def pose(t: float) -> Pose:
        beat = float(np.sin(2 * np.pi * (t / period + start)))
        angles = {
            "arm_plane": plane,
            "arm_raise": raised + 8 * beat,
            "clavicle_up": raised * 0.13,
            "elbow": elbow,
            "arm_twist": 60.0 if raised > 110 else 10.0,
            "fingers": 10.0,
            "lumbar_side": bend * beat,
            "chest_side": 0.6 * bend * beat,
            "hip_abduct": spread,
            "lumbar_flex": -6.0,
        }
        return Pose(angles)

    return pose


def _lunge(rng: np.random.Generator, body: Body) -> Curve:
    period, start = rng.uniform(2.5, 4), rng.random()
    front = str(rng.choice(SIDES))
    rear = SIDES[1 - SIDES.index(front)]
    arms, hands = _idle_hands(rng, body)
    deep = rng.uniform(0.6, 1.0)

    def pose(t: float) -> Pose:
        down = deep * (0.75 + 0.25 * float(np.cos(2 * np.pi * (t / period + start))))
        angles = {
            **arms,
            f"{front}_hip_flex": 82 * down,
            f"{front}_knee": 88 * down,
            f"{front}_ankle": 6 * down,
            f"{rear}_hip_flex": -20 * down,
            f"{rear}_knee": 72 * down,
            f"{rear}_ankle": 14 * down,
            f"{rear}_toes": 45 * down,
            "hip_abduct": 3.0,
            "lumbar_flex": 4.0,
        }
        return Pose(angles, hands(t), tilt=6 * down)

    return pose


def _kneel(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = _idle_hands(rng, body)
    front = str(rng.choice(SIDES))
    rear = SIDES[1 - SIDES.index(front)]
    style = rng.random()
    legs = {"hip_abduct": rng.uniform(2, 9), "ankle": -40.0}
    tilt = rng.uniform(-2, 6)
    if style < 0.5:  # on one knee
        legs |= {f"{front}_hip_flex": 88.0, f"{front}_knee": 92.0, f"{front}_ankle": 2.0, f"{rear}_knee": 92.0}
        legs[f"{rear}_hip_flex"] = 4.0
    elif style < 0.75:  # on both
        legs |= {"hip_flex": tilt, "knee": 90.0}
    else:  # sitting on the heels
        legs |= {"hip_flex": 82.0, "knee": 146.0}
        tilt = 8.0
    spine = {"lumbar_flex": rng.uniform(0, 20), "chest_flex": rng.uniform(0, 15), "head_flex": rng.uniform(-15, 20)}

    def pose(t: float) -> Pose:
        return Pose({**arms, **legs, **spine}, hands(t), tilt=tilt)

    return pose


def _lie(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = _idle_hands(rng, body)
    breathe = _wobble(rng, 0.2, 0.3)
    knee = str(rng.choice(SIDES))
    up = rng.uniform(0, 100) if rng.random() < 0.6 else 0.0
    legs = {"hip_abduct": rng.uniform(2, 16), "hip_twist": 18.0, "ankle": -20.0, "knee": rng.uniform(0, 10)}
    legs |= {f"{knee}_hip_flex": up * 0.52, f"{knee}_knee": up}
    side = rng.uniform(-12, 12)

    def pose(t: float) -> Pose:
        return Pose({**arms, **legs, "chest_flex": 1.5 * breathe(t), "neck_flex": 6.0}, hands(t), tilt=-90, roll=side)

    return pose


def _plank(rng: np.random.Generator, body: Body) -> Curve:
    period, start = rng.uniform(1.8, 3), rng.random()
    deep = rng.uniform(0, 1)

    def pose(t: float) -> Pose:
        down = deep * (0.5 - 0.5 * float(np.cos(2 * np.pi * (t / period + start))))
        angles = {
            "arm_plane": 8 + 62 * down,
            "arm_raise": 78 - 26 * down,
            "arm_twist": -12.0 - 30 * down,
            "elbow": 4 + 88 * down,
            "forearm_twist": 60.0,
            "wrist_flex": -62.0,
            "fingers": 0.0,
            "ankle": 10.0,
            "toes": 55.0,
            "neck_flex": -14.0,
            "head_flex": -16.0,
            "hip_abduct": 3.0,
        }
        return Pose(angles, tilt=68 + 14 * down)

    return pose


def _balance(rng: np.random.Generator, body: Body) -> Curve:
    lifted = str(rng.choice(SIDES))
    wobble = _wobble(rng, 0.2, 0.6)
    tree = rng.random() < 0.6
    raised = rng.choice((88.0, 165.0, 40.0))

    def pose(t: float) -> Pose:
        sway = 3 * wobble(t)
        angles = {"arm_plane": 88.0, "arm_raise": raised + sway, "elbow": 14.0, "arm_twist": 30.0, "fingers": 5.0}
        angles["clavicle_up"] = raised * 0.12
        if tree:
            angles |= {
                f"{lifted}_hip_flex": 62.0,
                f"{lifted}_hip_abduct": 40.0,
                f"{lifted}_hip_twist": 40.0,
                f"{lifted}_knee": 122.0,
            }
            return Pose(angles, roll=sway * 0.5)
        angles |= {f"{lifted}_hip_flex": -26.0, f"{lifted}_knee": 8.0, "lumbar_flex": 12.0, "neck_flex": -22.0}
        standing = SIDES[1 - SIDES.index(lifted)]
        angles |= {f"{standing}_hip_flex": 42.0, f"{standing}_knee": 4.0, f"{lifted}_ankle": -30.0}
        return Pose(angles, tilt=42 + sway)

    return pose


# Kind of activity: how it is made, and how often it is met.
_ACTIVITIES: dict[str, tuple[Callable[[np.random.Generator, Body], Curve], float]] = {
    "stand": (_stand, 20),
    "walk": (_walk, 15),
    "run": (_run, 8),
    "wave": (_wave, 7),
    "sit": (_sit, 12),
    "sit_on_ground": (_sit_on_ground, 3),
    "reach": (_reaching, 9),
    "squat": (_squat, 4),
    "pick_up": (_pick_up, 4),
    "jumping_jack": (_jumping_jack, 4),
    "dance": (_dance, 9),
    "kick": (_kick, 3),
    "box": (_box, 3),
    "stretch": (_stretch, 4),
    "lunge": (_lunge, 3),
    "kneel": (_kneel, 2),
    "lie": (_lie, 1),
    "plank": (_plank, 1),
    "balance": (_balance, 2),
}
_SEATED = ("sit",)
ACTIVITIES: tuple[str, ...] = tuple(_ACTIVITIES)
