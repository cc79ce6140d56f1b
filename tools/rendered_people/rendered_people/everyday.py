"""What people do every day: stand, walk, run, sit, wave, reach for things and pick them up.

Curves of walking and running follow the normative gait data in Winter, "Biomechanics and Motor Control of Human
Movement", and Novacheck, "The biomechanics of running" (1998), read off at a few phases.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rendered_people.anatomy import BONE_INDEX, SIDES, Body
from rendered_people.motion import Curve, HandTarget, Pose, hanging, other_side, periodic, wobble


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


def idle_hands(
    rng: np.random.Generator, body: Body
) -> tuple[dict[str, float], Callable[[float], dict[str, HandTarget]]]:
    """Hanging arms' angles, and the targets of the hands that do something, gently moving."""
    angles: dict[str, float] = {}
    targets: dict[str, HandTarget] = {}
    both_alike = rng.random() < 0.3
    first = _hand_place(rng, body, "left")
    for side in SIDES:
        angles.update(hanging(side, rng.uniform(-6, 14), rng.uniform(5, 13)))
        angles[f"{side}_elbow"] = rng.uniform(8, 32)
        angles[f"{side}_arm_twist"] = rng.uniform(-30, 5)
        angles[f"{side}_forearm_twist"] = rng.uniform(-10, 40)
        angles[f"{side}_fingers"] = rng.uniform(15, 45)
        target = first if both_alike else _hand_place(rng, body, side)
        if target is not None:
            targets[side] = target
    drift = [wobble(rng, 0.1, 0.4) for _ in range(3)]

    def hands(t: float) -> dict[str, HandTarget]:
        moved = np.array([curve(t) for curve in drift]) * 0.012
        return {
            side: replace(target, point=tuple((np.array(target.point) + moved).tolist()))
            for side, target in targets.items()
        }

    return angles, hands


def stand(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = idle_hands(rng, body)
    spread = rng.uniform(1, 9)
    relaxed = rng.choice(SIDES)
    bent = rng.uniform(0, 22)
    shift = rng.uniform(-5, 5)
    flex, twist = rng.uniform(-4, 8), rng.uniform(-10, 10)
    head = {"head_flex": rng.uniform(-8, 15), "head_twist": rng.uniform(-28, 28), "neck_twist": rng.uniform(-12, 12)}
    sway = wobble(rng)
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
            angles[f"{side}_hip_flex"] = effort * periodic(leg, hip)
            angles[f"{side}_knee"] = effort * periodic(leg, knee)
            angles[f"{side}_ankle"] = periodic(leg, ankle)
            angles[f"{side}_toes"] = 30 * periodic(leg, ((0.0, 0.2), (0.3, 0), (0.52, 1), (0.75, 0)))
            angles[f"{side}_hip_abduct"] = -1.0 if running else 1.0
            # arms swing against the legs
            swing = -np.cos(2 * np.pi * leg)
            forward = arms * (34 if running else 20) * swing + (2 if running else 3)
            angles.update(hanging(side, forward, 13 if running else 7))
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


def walk(rng: np.random.Generator, body: Body) -> Curve:
    return _gait(rng, body, running=False)


def run(rng: np.random.Generator, body: Body) -> Curve:
    return _gait(rng, body, running=True)


def wave(rng: np.random.Generator, body: Body) -> Curve:
    base = stand(rng, body)
    side = str(rng.choice(SIDES))
    other = other_side(side)
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


def sit(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = idle_hands(rng, body)
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


def sit_on_ground(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = idle_hands(rng, body)
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


def reaching(rng: np.random.Generator, body: Body) -> Curve:
    base = stand(rng, body)
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


def pick_up(rng: np.random.Generator, body: Body) -> Curve:
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
            **hanging("left", 5, 8),
            **hanging("right", 5, 8),
            "elbow": 18.0,
            "fingers": 40.0,
        }
        point = (0.06 * s + aside * s, -(0.14 + 0.12 * down) * s, (0.02 + 0.12 * down) * s)
        target = HandTarget("chest", point, (0.8, 0.4, -0.3), 30, 10, 45)
        hands = dict.fromkeys(SIDES if both else (side,), target)
        return Pose(angles, hands, tilt=42 * down)

    return pose
