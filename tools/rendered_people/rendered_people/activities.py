"""What figures do: activities by name, each with joint angles as smooth curves over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from rendered_people import everyday, exercise
from rendered_people.anatomy import Body
from rendered_people.motion import Activity, Curve, Pose, full_names

# Kind of activity: how it is made, and how often it is met.
_ACTIVITIES: dict[str, tuple[Callable[[np.random.Generator, Body], Curve], float]] = {
    "stand": (everyday.stand, 20),
    "walk": (everyday.walk, 15),
    "run": (everyday.run, 8),
    "wave": (everyday.wave, 7),
    "sit": (everyday.sit, 12),
    "sit_on_ground": (everyday.sit_on_ground, 3),
    "reach": (everyday.reaching, 9),
    "squat": (exercise.squat, 4),
    "pick_up": (everyday.pick_up, 4),
    "jumping_jack": (exercise.jumping_jack, 4),
    "dance": (exercise.dance, 9),
    "kick": (exercise.kick, 3),
    "box": (exercise.box, 3),
    "stretch": (exercise.stretch, 4),
    "lunge": (exercise.lunge, 3),
    "kneel": (exercise.kneel, 2),
    "lie": (exercise.lie, 1),
    "plank": (exercise.plank, 1),
    "balance": (exercise.balance, 2),
}
_SEATED = ("sit",)
ACTIVITIES: tuple[str, ...] = tuple(_ACTIVITIES)

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


def random_activity(rng: np.random.Generator, body: Body, name: str | None = None) -> Activity:
    """An activity with random parameters, of a random kind or the kind `name`."""
    if name is None:
        names = list(_ACTIVITIES)
        weights = np.array([_ACTIVITIES[key][1] for key in names], float)
        name = names[int(np.searchsorted(np.cumsum(weights / weights.sum()), rng.random()))]
    curve = _ACTIVITIES[name][0](rng, body)
    return Activity(name, _with_sway(curve, rng, _STILL_LEGS if name in _SEATED else ()), seated=name in _SEATED)


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
        angles = {full_name: value for name, value in pose.angles.items() for full_name in full_names(name)}
        for name, value in zip(names, sway.tolist(), strict=True):
            angles[name] = angles.get(name, 0.0) + value
        return replace(pose, angles=angles)

    return swaying
