"""Two rendered people who walk around each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rendered_people.background import random_background
from rendered_people.camera import Camera
from rendered_people.motion import Activity, Pose
from rendered_people.people import Crowd, Person
from rendered_people.photograph import Lens
from rendered_people.scenes import Lamp, World

# Meters: both walk in a circle around the same place, so far from the camera.
RADII = (1.5, 2.1)
DISTANCE = 6.0


def walking_world(seed: int, size: tuple[int, int], detail: int) -> World:
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
