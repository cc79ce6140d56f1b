"""What people do with their whole body: exercise, dance, kick, kneel and lie."""

from __future__ import annotations

import numpy as np

from rendered_people.anatomy import BONE_INDEX, SIDES, Body
from rendered_people.everyday import idle_hands
from rendered_people.motion import Curve, HandTarget, Pose, other_side, pulse, wobble


def squat(rng: np.random.Generator, body: Body) -> Curve:
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


def jumping_jack(rng: np.random.Generator, body: Body) -> Curve:
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


def dance(rng: np.random.Generator, body: Body) -> Curve:
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
    curves = {name: wobble(rng, 0.15, 0.9) for name in ranges}
    middle = {
        name: rng.uniform(low + 0.3 * (high - low), high - 0.3 * (high - low)) for name, (low, high) in ranges.items()
    }
    lift = max(0.0, rng.normal(0, 25)) if rng.random() < 0.4 else 0.0
    lifted = str(rng.choice(SIDES))
    turn, lean = wobble(rng, 0.1, 0.3), wobble(rng)

    def pose(t: float) -> Pose:
        angles = {
            name: middle[name] + 0.5 * (high - low) * 0.7 * curves[name](t) for name, (low, high) in ranges.items()
        }
        angles[f"{lifted}_hip_flex"] += lift
        angles[f"{lifted}_knee"] += lift
        return Pose(angles, heading=40 * turn(t), roll=4 * lean(t))

    return pose


def kick(rng: np.random.Generator, body: Body) -> Curve:
    period, height, start = rng.uniform(1.6, 2.6), rng.uniform(45, 105), rng.random()
    kicking = str(rng.choice(SIDES))
    standing = other_side(kicking)
    sideways = rng.random() < 0.3

    def pose(t: float) -> Pose:
        up = pulse(t + start * period, period, 0.75)
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


def box(rng: np.random.Generator, body: Body) -> Curve:
    period, start = rng.uniform(0.9, 1.6), rng.random()
    s = body.stature
    shoulder = body.joints[BONE_INDEX["left_upper_arm"]]
    leading = str(rng.choice(SIDES))
    height, depth = rng.uniform(-0.06, 0.08) * s, rng.uniform(8, 35)

    def pose(t: float) -> Pose:
        phase = t / period + start
        hands = {}
        for side, shift in (("left", 0.0), ("right", 0.5)):
            out = pulse(phase + shift, 1.0, 0.45)
            guard = np.array([0.055 * s, -0.17 * s, shoulder[2] + 0.06 * s])
            strike = np.array([0.03 * s, -0.34 * s, shoulder[2] + height])
            point = guard + (strike - guard) * out
            hands[side] = HandTarget("chest", tuple(point.tolist()), (0.7, 0.2, -1), 20 + 50 * out, 0, 92)
        rear = other_side(leading)
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


def stretch(rng: np.random.Generator, body: Body) -> Curve:
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


def lunge(rng: np.random.Generator, body: Body) -> Curve:
    period, start = rng.uniform(2.5, 4), rng.random()
    front = str(rng.choice(SIDES))
    rear = other_side(front)
    arms, hands = idle_hands(rng, body)
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


def kneel(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = idle_hands(rng, body)
    front = str(rng.choice(SIDES))
    rear = other_side(front)
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


def lie(rng: np.random.Generator, body: Body) -> Curve:
    arms, hands = idle_hands(rng, body)
    breathe = wobble(rng, 0.2, 0.3)
    knee = str(rng.choice(SIDES))
    up = rng.uniform(0, 100) if rng.random() < 0.6 else 0.0
    legs = {"hip_abduct": rng.uniform(2, 16), "hip_twist": 18.0, "ankle": -20.0, "knee": rng.uniform(0, 10)}
    legs |= {f"{knee}_hip_flex": up * 0.52, f"{knee}_knee": up}
    side = rng.uniform(-12, 12)

    def pose(t: float) -> Pose:
        return Pose({**arms, **legs, "chest_flex": 1.5 * breathe(t), "neck_flex": 6.0}, hands(t), tilt=-90, roll=side)

    return pose


def plank(rng: np.random.Generator, body: Body) -> Curve:
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


def balance(rng: np.random.Generator, body: Body) -> Curve:
    lifted = str(rng.choice(SIDES))
    swaying = wobble(rng, 0.2, 0.6)
    tree = rng.random() < 0.6
    raised = rng.choice((88.0, 165.0, 40.0))

    def pose(t: float) -> Pose:
        sway = 3 * swaying(t)
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
        standing = other_side(lifted)
        angles |= {f"{standing}_hip_flex": 42.0, f"{standing}_knee": 4.0, f"{lifted}_ankle": -30.0}
        return Pose(angles, tilt=42 + sway)

    return pose
