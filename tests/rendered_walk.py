"""Rendered clips of two people who walk and cross, with exact 3D joints: the truth for tests of the whole 3D chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hfpose.pipelines.lifting import Temporal, TemporalLifter
from hfpose.pipelines.loading import Stage
from hfpose.results import PoseOutput
from hfpose.training.figures.background import random_background
from hfpose.training.figures.camera import Camera
from hfpose.training.figures.motion import Activity, Pose
from hfpose.training.figures.people import Crowd, Person
from hfpose.training.figures.photograph import Lens
from hfpose.training.figures.scenes import Lamp, Scene, World

FRAME_RATE = 25.0
IMAGE_SIZE = (320, 256)
# Meters: both walk in a circle around the same place, so far from the camera.
RADII = (1.5, 2.1)
DISTANCE = 6.0


def rendered_walk(seed: int, num_frames: int) -> Iterator[Scene]:
    """Frames of two people who walk around the same place, one clockwise and one not, and so cross every few seconds.

    Args:
        seed: of their bodies, clothes, steps and surroundings.
        num_frames: how long they walk, 25 frames a second.
    """
    looks, surroundings = (np.random.default_rng([seed, stream, 99]) for stream in range(2))
    people = [Person.random(looks, "walk") for _ in RADII]
    starts = looks.uniform(-180, 180, 2)
    turns = [
        in_circle(person, radius, start, direction)
        for person, radius, start, direction in zip(people, RADII, starts, (1, -1), strict=True)
    ]
    crowd = Crowd(turns, 1, looks)
    camera = Camera(*IMAGE_SIZE, focal=1.2 * IMAGE_SIZE[0], elevation=1.3, pitch=3.0)
    # At the heading 0 a person walks toward the camera, so its circle's middle is to the left or right.
    angle = np.deg2rad(starts)
    away = np.array(RADII) * (1, -1)
    places = np.stack((-away * np.cos(angle), DISTANCE - away * np.sin(angle), np.zeros(2)), axis=-1)
    background, ground = random_background(surroundings, camera, DISTANCE + max(RADII))
    world = World(
        crowd,
        places,
        camera,
        Lamp.random(surroundings),
        background,
        shadow=0.35 if ground else 0.0,
        lens=Lens.random(surroundings, max(IMAGE_SIZE)),
        seed=seed,
    )
    for index in range(num_frames):
        yield world.render(index / FRAME_RATE, index)


def in_circle(person: Person, radius: float, heading: float, direction: int) -> Person:
    """The person, walking on a circle as fast as its steps are long, counterclockwise from above for `direction` 1."""
    curve, instant = person.activity.pose, 1e-3
    begun, after = curve(0.0), curve(instant)
    speed = np.hypot(after.forward - begun.forward, after.sideways - begun.sideways) / instant

    def pose(time: float) -> Pose:
        angle = direction * speed * time / radius
        along, aside = direction * radius * np.sin(angle), direction * radius * (1 - np.cos(angle))
        return replace(curve(time), heading=float(np.rad2deg(angle)), forward=float(along), sideways=float(aside))

    return replace(person, activity=Activity("walk", pose), start=0.0, heading=heading)


@dataclass(frozen=True)
class Found:
    """The M people of a walk that are found, over all frames.

    Args:
        frames, people, ids: (M,) which frame, which of the scene's people, and the identity that was given.
        errors: (M,) mean distance of visible keypoints to the truth in shares of the longer side of the box.
    """

    frames: np.ndarray
    people: np.ndarray
    ids: np.ndarray
    errors: np.ndarray


def who_is_found(outputs: Sequence[PoseOutput], scenes: Sequence[Scene]) -> Found:
    """Who is who: the nearest in the picture, each person once, if keypoints are off by less than a third of the box."""
    rows = []
    for index, (output, scene) in enumerate(zip(outputs, scenes, strict=True)):
        assert output.track_ids is not None
        sizes = (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(1)
        off = np.linalg.norm(output.keypoints[:, None] - scene.keypoints, axis=-1).mean(-1) / sizes  # (N, people)
        while off.size and off.min() < 1 / 3:
            row, person = np.unravel_index(off.argmin(), off.shape)
            rows.append((index, scene.track_ids[person], output.track_ids[row], off[row, person]))
            off[row], off[:, person] = np.inf, np.inf
    frames, people, ids, errors = np.array(rows).T
    return Found(frames.astype(int), people.astype(int), ids.astype(int), errors)


def lifting_errors(
    stage: Stage, outputs: Sequence[PoseOutput], scenes: Sequence[Scene], found: Found, temporal: Temporal
) -> np.ndarray:
    """Root-relative distances (M, 17) in meters of the joints of those who are found, lifted over time or frame by frame."""
    lifted = TemporalLifter(stage, temporal=temporal, batch_size=64, do_rebase_height=False).lift(outputs)
    errors = []
    for index, person, identity in zip(found.frames, found.people, found.ids, strict=True):
        output, scene = lifted[index].output, scenes[index]
        assert output.track_ids is not None
        pose = output.keypoints[output.track_ids == identity][0]
        errors.append(np.linalg.norm(pose - scene.joints_3d[scene.track_ids == person][0], axis=-1))
    return np.stack(errors)
