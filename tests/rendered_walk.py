"""Rendered clips of two people who walk and cross, with exact 3D joints: the truth for tests of the whole 3D chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hfpose.pipelines.lifting_stage import Temporal, TemporalLifter
from hfpose.pipelines.stage import Stage
from hfpose.results import PoseOutput
from rendered_people.background import random_background
from rendered_people.camera import Camera, to_joint_frame
from rendered_people.motion import Activity, Pose
from rendered_people.motions import Views
from rendered_people.people import Crowd, Person
from rendered_people.photograph import Lens
from rendered_people.scenes import Lamp, Scene, World

FRAME_RATE = 25.0
IMAGE_SIZE = (320, 256)
# Meters: both walk in a circle around the same place, so far from the camera.
RADII = (1.5, 2.1)
DISTANCE = 6.0
# And so far the body reaches around its joints.
FLESH = 0.06


def rendered_walk(seed: int, num_frames: int) -> Iterator[Scene]:
    """Frames of the walk, 25 a second."""
    world = walking_world(seed)
    for index in range(num_frames):
        yield world.render(index / FRAME_RATE, index)


def seen_walk(seed: int, num_frames: int) -> Views:
    """The same two people as two clips without any error; boxes are around the whole body."""
    world = walking_world(seed)
    views = []
    for index in range(num_frames):
        seen = world.crowd.pose(index / FRAME_RATE).shifted(world.places).seen_by(world.camera)
        coco, joints = world.crowd.coco_keypoints(seen), world.crowd.h36m_joints(seen)
        body = world.camera.project(np.concatenate((coco, joints), axis=1))
        flesh = FLESH * world.camera.focal / joints[:, :1, 2]
        boxes = np.concatenate((body.min(1) - flesh, body.max(1) + flesh), axis=-1)
        framed = to_joint_frame(joints)
        views.append((world.camera.project(coco), boxes, framed - framed[:, :1]))
    return Views(*(np.stack(each, axis=1) for each in zip(*views, strict=True)))


def walking_world(seed: int, size: tuple[int, int] = IMAGE_SIZE, detail: int = 1) -> World:
    """Two people who walk around the same place, one clockwise and one not, and so cross every few seconds.

    Args:
        seed: of their bodies, clothes, steps and surroundings.
        size: (width, height) of images.
        detail: of the bodies' mesh, 1 to 3.
    """
    looks, surroundings = (np.random.default_rng([seed, stream, 99]) for stream in range(2))
    people = [Person.random(looks, "walk") for _ in RADII]
    starts = looks.uniform(-180, 180, 2)
    turns = [
        in_circle(person, radius, start, direction)
        for person, radius, start, direction in zip(people, RADII, starts, (1, -1), strict=True)
    ]
    crowd = Crowd(turns, detail, looks)
    camera = Camera(*size, focal=1.2 * size[0], elevation=1.3, pitch=3.0)
    # At the heading 0 a person walks toward the camera, so its circle's middle is to the left or right.
    angle = np.deg2rad(starts)
    away = np.array(RADII) * (1, -1)
    places = np.stack((-away * np.cos(angle), DISTANCE - away * np.sin(angle), np.zeros(2)), axis=-1)
    background, ground = random_background(surroundings, camera, DISTANCE + max(RADII))
    return World(
        crowd,
        places,
        camera,
        Lamp.random(surroundings),
        background,
        shadow=0.35 if ground else 0.0,
        lens=Lens.random(surroundings, max(size)),
        seed=seed,
    )


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
        errors: (M,) mean distance of keypoints to the truth in shares of the longer side of the box.
    """

    frames: np.ndarray
    people: np.ndarray
    ids: np.ndarray
    errors: np.ndarray


def who_is_found(outputs: Sequence[PoseOutput], truth: Views) -> Found:
    """Who is who: the nearest in the image, each person once, if keypoints are off by less than a third of the box."""
    rows = []
    for index, output in enumerate(outputs):
        assert output.track_ids is not None
        boxes, keypoints = truth.boxes[:, index], truth.keypoints[:, index]
        sizes = (boxes[:, 2:] - boxes[:, :2]).max(1)
        off = np.linalg.norm(output.keypoints[:, None] - keypoints, axis=-1).mean(-1) / sizes  # (N, people)
        while off.size and off.min() < 1 / 3:
            row, person = np.unravel_index(off.argmin(), off.shape)
            rows.append((index, person, output.track_ids[row], off[row, person]))
            off[row], off[:, person] = np.inf, np.inf
    frames, people, ids, errors = np.array(rows).T
    return Found(frames.astype(int), people.astype(int), ids.astype(int), errors)


def lifting_errors(
    stage: Stage, outputs: Sequence[PoseOutput], truth: Views, found: Found, temporal: Temporal
) -> np.ndarray:
    """Root-relative errors (M, 17, 3) in meters of the joints of those who are found, lifted over time or frame by
    frame."""
    lifted = TemporalLifter(stage, temporal=temporal, batch_size=64).lift(outputs)
    errors = []
    for index, person, identity in zip(found.frames, found.people, found.ids, strict=True):
        output = lifted[index].output
        assert output.track_ids is not None
        errors.append(output.keypoints[output.track_ids == identity][0] - truth.joints[person, index])
    return np.stack(errors)
