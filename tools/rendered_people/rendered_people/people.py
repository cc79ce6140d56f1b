"""People: bodies with clothes that do something, posed at a moment and seen by a camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

from rendered_people.activities import random_activity
from rendered_people.anatomy import BONE_INDEX, SIDES, Body, joints_of, place_bones, rotation
from rendered_people.camera import Camera
from rendered_people.face import face_keypoints, face_patches
from rendered_people.motion import Activity, Pose, solve_pose
from rendered_people.outfits import Outfit
from rendered_people.rendering import Patches
from rendered_people.surface import bend, rest_vertices, template
from rendered_people.wardrobe import dress

# COCO's keypoints after the five of the face, and Human3.6M's joints, each by the bone that turns about it.
_COCO_BONES = np.array(
    [
        BONE_INDEX[f"{side}_{bone}"]
        for bone in ("upper_arm", "forearm", "hand", "thigh", "shank", "foot")
        for side in SIDES
    ]
)
_H36M_BONES = np.array(
    [
        BONE_INDEX[name]
        for name in (
            "pelvis",
            *("right_thigh", "right_shank", "right_foot"),
            *("left_thigh", "left_shank", "left_foot"),
            *("chest", "neck", "head", "head"),
            *("left_upper_arm", "left_forearm", "left_hand"),
            *("right_upper_arm", "right_forearm", "right_hand"),
        )
    ]
)
_H36M_CROWN = 10
_CROWN_HEIGHT = 0.155
_HEAD = BONE_INDEX["head"]

# Numbers of parts beyond those of the mesh.
FACE_PART, EAR_PART = 200, 201
_TWO_SIDED = ("skirt", "hair_curtain", "hat_brim")
# Meters that cloth hanging from the waist is drawn before what it lies on.
_SKIRT_LIFT = 0.035
# Not done in a skirt.
_LOW_ACTIVITIES = ("sit_on_ground", "squat", "lunge", "kneel", "lie", "plank", "balance")
# Parts that may hang below the feet.
_LOOSE = ("skirt", "hair_curtain", "hair_tail", "hair_bun", "hat_brim")


@dataclass(frozen=True)
class Person:
    """Somebody who does something.

    Args:
        start: seconds into the activity at the beginning.
        heading: degrees that the person is turned at the beginning, counterclockwise from above; 0 looks at the
            camera.
    """

    body: Body
    outfit: Outfit
    activity: Activity
    start: float = 0.0
    heading: float = 0.0

    @classmethod
    def random(cls, rng: np.random.Generator, activity: str | None = None) -> Person:
        """Somebody one may meet, doing something or what `activity` names."""
        body = Body.random(rng)
        outfit = Outfit.random(rng, body)
        doing = random_activity(rng, body, activity)
        # what hangs long would stand out before the knees
        if doing.seated:
            outfit = replace(outfit, skirt=min(outfit.skirt, 0.5), tail=min(outfit.tail, 0.17))
        if doing.name in _LOW_ACTIVITIES:
            outfit = replace(outfit, skirt=0.0, dress=False, tail=min(outfit.tail, 0.17))
        heading = rng.normal(0, 35) if rng.random() < 0.55 else rng.uniform(-180, 180)
        return cls(body, outfit, doing, float(rng.uniform(0, 20)), float(heading))


@dataclass(frozen=True)
class Posed:
    """N people at a moment, in the world or in a camera's frame.

    Args:
        rotations, positions: (N, B, 3, 3) and (N, B, 3) frames of bones.
        vertices: (N, V, 3) float32 of the mesh.
    """

    rotations: np.ndarray
    positions: np.ndarray
    vertices: np.ndarray

    def shifted(self, places: np.ndarray) -> Posed:
        """The people moved by (N, 3)."""
        moved = self.vertices + places[:, None].astype(np.float32)
        return Posed(self.rotations, self.positions + places[:, None], moved)

    def seen_by(self, camera: Camera) -> Posed:
        """The people of the world in the camera's frame."""
        turn = camera.rotation
        return Posed(turn @ self.rotations, camera.to_camera(self.positions), camera.to_camera(self.vertices))


def place_figures(
    poses: Sequence[Pose], begun: Sequence[Pose], headings: Sequence[float], joints: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the bones of N figures are, before they are set on the ground.

    Args:
        poses, begun: of each now, and at the beginning of what it does.
        headings: degrees that each was turned at the beginning.
        joints: (N, B, 3) `Body.joints`.

    Returns:
        Rotations (N, B, 3, 3) and positions (N, B, 3) of bones around the pelvis, and (N, 3) the way that each has
        walked, with its height in the air.
    """
    angles = np.stack([solve_pose(pose, rest) for pose, rest in zip(poses, joints, strict=True)])
    turned = [
        heading + pose.heading - first.heading for heading, pose, first in zip(headings, poses, begun, strict=True)
    ]
    leaning = rotation(1, np.array([pose.roll for pose in poses])) @ rotation(
        0, np.array([pose.tilt for pose in poses])
    )
    rotations, positions = place_bones(joints, angles, rotation(2, np.array(turned)) @ leaning)
    walked = np.stack([_walked(*each) for each in zip(poses, begun, headings, strict=True)])
    walked[:, 2] += [pose.airborne for pose in poses]
    return rotations, positions, walked


def _walked(pose: Pose, begun: Pose, heading: float) -> np.ndarray:
    """(3,) way that a figure has walked since the beginning."""
    turn = np.deg2rad(heading - begun.heading)
    forward, sideways = pose.forward - begun.forward, pose.sideways - begun.sideways
    return np.array(
        [
            np.sin(turn) * forward + np.cos(turn) * sideways,
            -np.cos(turn) * forward + np.sin(turn) * sideways,
            0.0,
        ]
    )


def coco_keypoints(rotations: np.ndarray, positions: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(N, 17, 3) keypoints of COCO of N figures with the given bones and `face_keypoints` (N, 5, 3)."""
    turned = face @ rotations[:, _HEAD].transpose(0, 2, 1)
    return np.concatenate((turned + positions[:, _HEAD, None], positions[:, _COCO_BONES]), axis=1)


def h36m_joints(rotations: np.ndarray, positions: np.ndarray, crowns: np.ndarray) -> np.ndarray:
    """(N, 17, 3) joints of Human3.6M of N figures with the given bones and `crown_height` (N,)."""
    joints = positions[:, _H36M_BONES].copy()
    joints[:, _H36M_CROWN] += rotations[:, _HEAD, :, 2] * crowns[:, None]
    return joints


def crown_height(body: Body) -> float:
    """Meters from where the skull sits on the neck to the crown."""
    return _CROWN_HEIGHT * body.head_scale


class Crowd:
    """N people with meshes of one detail level."""

    def __init__(self, people: Sequence[Person], detail: int, rng: np.random.Generator) -> None:
        self.people = tuple(people)
        self.mesh = template(detail)
        bodies = [person.body for person in people]
        outfits = [person.outfit for person in people]
        self.joints = joints_of(bodies)
        padding, self._colors, self._shown = dress(self.mesh, bodies, outfits, rng)
        self._rest = rest_vertices(self.mesh, bodies, self.joints, padding)
        self._faces = face_patches(bodies, outfits)
        self._face_keypoints = np.stack([face_keypoints(body) for body in bodies])
        self.size = np.array([body.stature for body in bodies]) / 1.74
        self._crown = np.array([crown_height(body) for body in bodies])
        self._facts = _facts(detail)
        self._begun = [person.activity.pose(person.start) for person in people]

    def pose(self, time: float) -> Posed:
        """The people after `time` seconds, their feet on the ground, where they walked from the origin."""
        poses = [person.activity.pose(person.start + time) for person in self.people]
        headings = [person.heading for person in self.people]
        rotations, positions, walked = place_figures(poses, self._begun, headings, self.joints)
        vertices = bend(self.mesh, self._rest, self.joints, rotations, positions)
        walked[:, 2] -= vertices[:, self._facts.firm, 2].min(1)
        return Posed(rotations, positions, vertices).shifted(walked)

    def coco_keypoints(self, posed: Posed) -> np.ndarray:
        """(N, 17, 3) keypoints of COCO in the frame of `posed`."""
        return coco_keypoints(posed.rotations, posed.positions, self._face_keypoints)

    def h36m_joints(self, posed: Posed) -> np.ndarray:
        """(N, 17, 3) joints of Human3.6M in the frame of `posed`."""
        return h36m_joints(posed.rotations, posed.positions, self._crown)

    def seat_heights(self, posed: Posed) -> np.ndarray:
        """(N,) heights over the ground that people who sit have below them, in the world."""
        return posed.vertices[:, self._facts.torso, 2].min(1)

    def patches(self, posed: Posed) -> list[Patches]:
        """What to draw of people in a camera's frame; their owners count from 1."""
        facts = self._facts
        person, quad = np.nonzero(self._shown)
        skin = Patches(
            posed.vertices.reshape(-1, 3),
            self.mesh.quads[quad] + (person * posed.vertices.shape[1])[:, None],
            self._colors[person, quad],
            (person + 1).astype(np.uint8),
            facts.part[quad],
            facts.lifts[quad],
            facts.two_sided[quad],
        )
        faces = self._faces
        corners = faces.corners.reshape(len(self.people), -1, 3)
        turned = corners @ posed.rotations[:, _HEAD].transpose(0, 2, 1).astype(np.float32)
        points = (turned + posed.positions[:, _HEAD, None]).astype(np.float32).reshape(-1, 3)
        person, patch = np.nonzero(faces.shown)
        size = faces.corners.shape[2]
        first = (person * faces.shown.shape[1] + patch) * size
        looks = Patches(
            points,
            first[:, None] + np.arange(size),
            faces.colors[person, patch],
            (person + 1).astype(np.uint8),
            np.where(faces.is_ear[patch], EAR_PART, FACE_PART).astype(np.uint8),
            faces.lifts[patch],
            faces.is_ear[patch],
        )
        return [skin, looks]

    def shadow(self, posed: Posed, toward_light: np.ndarray) -> list[np.ndarray]:
        """Outlines (n, 3) on the ground of the shadows of people in the world, limb by limb.

        Args:
            toward_light: (3,) unit vector to the light, which is above the ground.
        """
        vertices = posed.vertices[:, self._facts.casting]
        fallen = vertices - vertices[..., 2:] / np.float32(toward_light[2]) * toward_light.astype(np.float32)
        return [piece for person in fallen for piece in np.split(person, self._facts.pieces)]


@dataclass(frozen=True)
class _Facts:
    """What is known of the mesh of a detail level.

    Args:
        part, lifts, two_sided: (Q,) of `Patches`.
        firm, torso: vertices that may stand on the ground, and those of the torso.
        casting: vertices that cast shadows, piece by piece of about convex outline, cut at `pieces`.
    """

    part: np.ndarray
    lifts: np.ndarray
    two_sided: np.ndarray
    firm: np.ndarray
    torso: np.ndarray
    casting: np.ndarray
    pieces: np.ndarray


@cache
def _facts(detail: int) -> _Facts:
    mesh = template(detail)
    part, along = mesh.ring_part[mesh.vertex_ring], mesh.ring_position[mesh.vertex_ring]
    pieces = []
    for index, name in enumerate(mesh.parts):
        if name in _LOOSE or name.endswith(("fingers", "thumb")):
            continue
        cuts = (-9.0, 0.35, 0.95, 9.0) if name == "torso" else (-9.0, 1.0, 9.0)
        for low, high in pairwise(cuts):
            # every other vertex is enough for a soft shadow
            vertices = np.flatnonzero((part == index) & (along >= low) & (along <= high))[::2]
            if len(vertices):
                pieces.append(vertices)
    return _Facts(
        part=mesh.quad_part.astype(np.uint8),
        lifts=np.where(mesh.quad_part == mesh.part("skirt"), _SKIRT_LIFT, 0).astype(np.float32),
        two_sided=np.isin(mesh.quad_part, [mesh.part(name) for name in _TWO_SIDED]),
        firm=np.flatnonzero(~np.isin(part, [mesh.part(name) for name in _LOOSE])),
        torso=np.flatnonzero(part == mesh.part("torso")),
        casting=np.concatenate(pieces),
        pieces=np.cumsum([len(piece) for piece in pieces])[:-1],
    )
