"""Scenes of rendered people, with exact boxes, keypoints, visibility and 3D joints.

Everything follows from the seed; no file is read or written. A world has people, things, light and a camera; a scene
is its image at a moment. Where a processor or build of OpenCV or numpy rounds otherwise, labels may differ in their
last digits and pixels by a value or so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from hfpose.errors import InputError
from rendered_people.background import random_background
from rendered_people.camera import Camera, to_joint_frame
from rendered_people.people import EAR_PART, FACE_PART, Crowd, Person, Posed
from rendered_people.photograph import Lens
from rendered_people.props import Prop, obstacle, prop_patches, seat
from rendered_people.rendering import NEAREST, Drawing, Light, draw, from_fine
from rendered_people.surface import MAX_DETAIL

_SIZES = ((320, 320), (320, 256), (256, 320), (320, 240), (288, 288), (256, 256), (320, 288))
_MOST_PEOPLE = 12
_CHANCES_OF_PEOPLE = np.array([0.24, 0.26, 0.2, 0.14, 0.09, 0.07])
# People count as present with this many pixels, keypoints in the image, and keypoints that are visible.
_SMALLEST_AREA, _FEWEST_KEYPOINTS, _FEWEST_VISIBLE = 48.0, 4, 3
_LAYOUTS, _PLACES = 5, 8
# Meters; and how tall people are in round numbers.
NEAREST_PERSON, STATURE = 1.3, 1.72
# Pixels of a standing person from which on the mesh is finer: images to train on shall be fast, others beautiful.
_FINE_MESH_PIXELS, _FINE_MESH_PIXELS_IF_LARGE = (600.0, 1200.0), (260.0, 650.0)
_LARGE_IMAGE = 400

# Meters that the skin or clothes seen at a keypoint may be before it for it to count as visible, on an adult.
_DEPTHS = np.array([0.045] * 5 + [0.13] * 2 + [0.085] * 2 + [0.07] * 2 + [0.17] * 2 + [0.12] * 2 + [0.11] * 2)
_KEYPOINT = np.arange(17)
_IS_FACE, _IS_EAR = _KEYPOINT < 5, (_KEYPOINT == 3) | (_KEYPOINT == 4)


@dataclass(frozen=True, eq=False)
class Scene:
    """An image of N people and everything that is known of them.

    Coordinates are pixels, x right, y down, pixel centers at integers. Somebody of whom next to nothing is in the
    image (a few pixels or keypoints) is left out.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32 `x1, y1, x2, y2` around the visible silhouette, clipped to the image.
        areas: (N,) float32 pixels of the visible silhouette.
        keypoints: (N, 17, 2) float32, COCO's; those off the image keep the place where they would be.
        visibility: (N, 17) uint8: 0 off the image, 1 hidden by someone, something or the person itself, 2 visible.
        joints_3d: (N, 17, 3) float32 meters, Human3.6M's, relative to the first (root), in the frame of MotionBERT's
            results: x left, y toward the camera, z up, where left and up are those of the image. `neck_base` is
            where the skull sits on the neck, `head` the crown.
        roots_3d: (N, 3) float32 meters, the first joint relative to the camera, in the same frame.
        focal_length: pixels; the camera's axis meets the middle of the image.
        track_ids: (N,) int64, the same person in all frames of a clip.
        seed: what the scene was made from.
        frame_index: number of the frame in a clip.
    """

    image: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    keypoints: np.ndarray
    visibility: np.ndarray
    joints_3d: np.ndarray
    roots_3d: np.ndarray
    focal_length: float
    track_ids: np.ndarray
    seed: int
    frame_index: int = 0

    @property
    def num_people(self) -> int:
        """N."""
        return len(self.boxes)

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


def render_scene(
    seed: int,
    *,
    size: tuple[int, int] | None = None,
    num_people: int | None = None,
    detail: int | None = None,
) -> Scene:
    """Renders the scene that belongs to a seed.

    Args:
        seed: 0 or above. The same seed and arguments give the same scene.
        size: (width, height) of the image in pixels. Default: one of a few sizes from 256 to 320.
        num_people: how many people, 1 to 12. Default: 1 to 6, mostly few.
        detail: of the bodies' mesh, 1 to 3. Default: as fine as the largest person in the image needs.

    Raises:
        InputError: if an argument is out of its range.
    """
    return next(render_clip(seed, 1, size=size, num_people=num_people, detail=detail))


def render_clip(
    seed: int,
    num_frames: int,
    *,
    fps: float = 25.0,
    size: tuple[int, int] | None = None,
    num_people: int | None = None,
    detail: int | None = None,
) -> Iterator[Scene]:
    """Renders the frames of a clip one by one; the first is `render_scene(seed)`, then its people move.

    Args:
        num_frames: how many frames, 1 or more.
        fps: frames per second, above 0.
        seed, size, num_people, detail: as for `render_scene`.

    Raises:
        InputError: if an argument is out of its range; when called, not when the first frame is taken.
    """
    if seed < 0:
        raise InputError(f"seed must be 0 or above, but {seed} was given.")
    if size is not None and (len(size) != 2 or min(size) < 32 or max(size) > 4096):
        raise InputError(f"size must be (width, height), each from 32 to 4096 pixels, but {size} was given.")
    if num_people is not None and not 1 <= num_people <= _MOST_PEOPLE:
        raise InputError(f"num_people must be from 1 to {_MOST_PEOPLE}, but {num_people} was given.")
    if detail is not None and not 1 <= detail <= MAX_DETAIL:
        raise InputError(f"detail must be from 1 to {MAX_DETAIL}, but {detail} was given.")
    if num_frames < 1 or not fps > 0:
        raise InputError(f"A clip needs num_frames >= 1 and fps > 0, but got num_frames={num_frames}, fps={fps}.")
    return _frames(seed, num_frames, fps, size, num_people, detail)


def _frames(
    seed: int,
    num_frames: int,
    fps: float,
    size: tuple[int, int] | None,
    num_people: int | None,
    detail: int | None,
) -> Iterator[Scene]:
    for attempt in range(_LAYOUTS):
        world = _random_world(seed, attempt, size, num_people, detail)
        first = world.render(0.0)
        if first.num_people == len(world.crowd.people):
            break
    yield first
    for index in range(1, num_frames):
        yield world.render(index / fps, index)


def scene_annotations(scene: Scene, image_id: int, *, first_id: int = 1) -> list[dict[str, Any]]:
    """The people of a scene as annotations of COCO's format, of plain Python numbers.

    As COCO has it, keypoints with visibility 0 are at (0, 0), `num_keypoints` counts the others, and `area` is that
    of the visible silhouette.

    Args:
        image_id: of the image that the annotations belong to.
        first_id: `id` of the first annotation; the others follow.
    """
    annotations = []
    for person in range(scene.num_people):
        visibility = scene.visibility[person]
        points = np.where(visibility[:, None] > 0, scene.keypoints[person], 0).astype(float)
        left, top, right, bottom = scene.boxes[person].astype(float).round(2).tolist()
        annotations.append(
            {
                "id": first_id + person,
                "image_id": image_id,
                "category_id": 1,
                "keypoints": np.concatenate((points.round(2), visibility[:, None]), axis=1).ravel().tolist(),
                "num_keypoints": int((visibility > 0).sum()),
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "area": float(scene.areas[person]),
                "iscrowd": 0,
            }
        )
    return annotations


@dataclass(frozen=True)
class Lamp:
    """Light on a world: the direction (3,) to the lamp in the world, its color and that of the light around it."""

    direction: np.ndarray
    color: np.ndarray
    ambient: np.ndarray

    @classmethod
    def random(cls, rng: np.random.Generator) -> Lamp:
        """A sun or a ceiling lamp, oftener on the camera's side than behind people."""
        azimuth, height = rng.normal(0, 75), rng.uniform(22, 78)
        across = np.cos(np.deg2rad(height))
        direction = np.array(
            [across * np.sin(np.deg2rad(azimuth)), -across * np.cos(np.deg2rad(azimuth)), np.sin(np.deg2rad(height))]
        )
        total, share = rng.uniform(0.85, 1.2), rng.uniform(0.2, 0.6)
        strength, around = 1.25 * total * share, 1.1 * total * (1 - share)
        warmth = rng.normal(0, 0.05)
        return cls(
            direction,
            strength * np.array([1 + warmth, 1.0, 1 - warmth]),
            around * np.array([1 - 0.5 * warmth, 1.0, 1 + 0.5 * warmth]),
        )

    def seen_by(self, camera: Camera) -> Light:
        """The light in the camera's frame."""
        turn = camera.rotation
        return Light(turn @ self.direction, self.color, self.ambient, turn @ np.array([0.0, 0, 1]))


@dataclass(frozen=True)
class World:
    """People somewhere before a camera.

    Args:
        places: (N, 3) where each person begins, in the world.
        background: (H, W, 3) uint8 RGB.
        shadow: 0 to 1, how dark shadows on the ground are; 0 where the background has no ground.
        lens: how the image is taken, or None for a clean one.
        seed: of the scenes; it also seeds the noise of each frame.
    """

    crowd: Crowd
    places: np.ndarray
    camera: Camera
    lamp: Lamp
    background: np.ndarray
    props: Sequence[Prop] = ()
    shadow: float = 0.0
    lens: Lens | None = None
    seed: int = 0
    _first: list[Posed] = field(default_factory=list)

    def render(self, time: float, frame_index: int = 0) -> Scene:
        """The scene after `time` seconds."""
        posed = self._first[0] if time == 0 and self._first else self.crowd.pose(time)
        posed = posed.shifted(self.places)
        seen = posed.seen_by(self.camera)
        patches = [*self.crowd.patches(seen), *prop_patches(self.props, self.camera)]
        drawing = draw(patches, self.camera, self.lamp.seen_by(self.camera))
        background = self.background
        if self.shadow > 0:
            background = _darkened(background, self.crowd.shadow(posed, self.lamp.direction), self.camera, self.shadow)
        keypoints_3d = self.crowd.coco_keypoints(seen)
        keypoints = self.camera.project(np.maximum(keypoints_3d, (-np.inf, -np.inf, NEAREST)))
        image, drawing = self.compose(drawing, background, keypoints)
        if self.lens is not None:
            image = self.lens.photograph(image, np.random.default_rng([self.seed, 7, frame_index]))
        return self._describe(image, seen, drawing, keypoints, keypoints_3d, frame_index)

    def compose(self, drawing: Drawing, background: np.ndarray, keypoints: np.ndarray) -> tuple[np.ndarray, Drawing]:
        """The image, before it is taken, and what each pixel of it shows; `keypoints` (N, 17, 2) in pixels."""
        return drawing.over(background), drawing

    def _describe(
        self,
        image: np.ndarray,
        seen: Posed,
        drawing: Drawing,
        keypoints: np.ndarray,
        keypoints_3d: np.ndarray,
        frame_index: int,
    ) -> Scene:
        joints = self.crowd.h36m_joints(seen)
        visibility = _visibility(keypoints, keypoints_3d[..., 2], drawing, self.crowd)
        boxes, areas = _silhouettes(drawing, self.camera, len(self.places))
        present = (areas >= _SMALLEST_AREA) & ((visibility > 0).sum(1) >= _FEWEST_KEYPOINTS)
        present &= (visibility == 2).sum(1) >= _FEWEST_VISIBLE
        framed = to_joint_frame(joints)
        return Scene(
            image=image,
            boxes=boxes[present],
            areas=areas[present],
            keypoints=keypoints[present].astype(np.float32),
            visibility=visibility[present],
            joints_3d=(framed - framed[:, :1])[present].astype(np.float32),
            roots_3d=framed[present, 0].astype(np.float32),
            focal_length=float(self.camera.focal),
            track_ids=np.flatnonzero(present),
            seed=self.seed,
            frame_index=frame_index,
        )


def _visibility(keypoints: np.ndarray, depths: np.ndarray, drawing: Drawing, crowd: Crowd) -> np.ndarray:
    """(N, 17) uint8 visibility of keypoints at pixels (N, 17, 2) and `depths` (N, 17), from what each pixel shows."""
    numbers, inside = drawing.at(keypoints, spread=1.0)
    inside &= depths > NEAREST
    before = depths[..., None] - drawing.depth[numbers]
    person = np.arange(1, len(keypoints) + 1)[:, None, None]
    allowed = (_DEPTHS * crowd.size[:, None])[..., None]
    clear = (drawing.owner[numbers] == person) & (before < allowed)
    part = drawing.part[numbers]
    bare = (part == FACE_PART) | (part == crowd.mesh.part("head"))
    clear &= np.where(_IS_EAR[:, None], part == EAR_PART, np.where(_IS_FACE[:, None], bare, True))
    return np.where(inside, np.where(clear.any(-1), 2, 1), 0).astype(np.uint8)


def _silhouettes(drawing: Drawing, camera: Camera, people: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (N, 4) and areas (N,) of what is seen of each person, in pixels of the image; 0 if nothing is."""
    boxes, areas = np.zeros((people, 4), np.float32), np.zeros(people, np.float32)
    for person in range(people):
        mask = drawing.silhouette(person + 1)
        left, top, width, height = cv2.boundingRect(mask)
        if width == 0:
            continue
        # edges, not centers, of the outermost fine pixels
        edges = from_fine(np.array([left - 0.5, top - 0.5, left + width - 0.5, top + height - 0.5]))
        boxes[person] = np.clip(edges, 0, np.array([camera.width, camera.height] * 2) - 1)
        areas[person] = cv2.countNonZero(mask[top : top + height, left : left + width]) / 4
    return boxes, areas


def _darkened(background: np.ndarray, outlines: Sequence[np.ndarray], camera: Camera, share: float) -> np.ndarray:
    """A background with soft shadows of the given outlines on the ground."""
    half = 2
    mask = np.zeros((camera.height // half + 1, camera.width // half + 1), np.uint8)
    limit = 4 * max(mask.shape)
    points = camera.project_world(np.concatenate(outlines)) / half
    fixed = np.round(np.clip(points, -limit, limit)).astype(np.int32)
    for outline in np.split(fixed, np.cumsum([len(outline) for outline in outlines])[:-1]):
        low, high = outline.min(0), outline.max(0)
        if (high < 0).any() or low[0] >= mask.shape[1] or low[1] >= mask.shape[0]:
            continue
        cv2.fillConvexPoly(mask, cv2.convexHull(outline), 255)
    blurred = cv2.blur(mask, (3, 3))
    large = cv2.resize(blurred, None, fx=half, fy=half, interpolation=cv2.INTER_LINEAR)
    kept = cv2.convertScaleAbs(large[: camera.height, : camera.width], alpha=-share, beta=255)
    return cv2.multiply(background, cv2.cvtColor(kept, cv2.COLOR_GRAY2RGB), scale=1 / 255)


# Making up worlds
# -----------------------------------------------------------------------------------------------------


def _random_world(
    seed: int, attempt: int, size: tuple[int, int] | None, num_people: int | None, detail: int | None
) -> World:
    """The world of a seed; further attempts are other worlds, should a person not be seen in the one before."""
    layout, looks, surroundings = (np.random.default_rng([seed, stream, attempt]) for stream in range(3))
    chosen = _SIZES[layout.integers(len(_SIZES))]
    width, height = size or chosen
    count = int(np.searchsorted(np.cumsum(_CHANCES_OF_PEOPLE)[:-1], layout.random(), "right")) + 1
    count = num_people or count
    share, aim = _framing(layout, count, calm=attempt == _LAYOUTS - 1)
    focal = max(width, height) * layout.uniform(0.95, 1.7)
    # from nearer, arms would reach behind the camera
    focal = max(focal, NEAREST_PERSON * share * height / STATURE)
    distance = focal * STATURE / (share * height)
    elevation = layout.uniform(0.7, 2.1) if layout.random() < 0.88 else layout.uniform(2.2, 4.0)
    pitch = np.rad2deg(np.arctan2(elevation - aim, distance))
    roll = layout.normal(0, 1.5) if layout.random() < 0.85 else layout.uniform(-14, 14)
    camera = Camera(width, height, focal, elevation, float(np.clip(pitch, -25, 40)), float(roll))
    people = [Person.random(looks) for _ in range(count)]
    tallest = share * height
    limits = _FINE_MESH_PIXELS_IF_LARGE if max(width, height) > _LARGE_IMAGE else _FINE_MESH_PIXELS
    level = detail or 1 + sum(tallest > limit for limit in limits)
    crowd = Crowd(people, level, looks)
    posed = crowd.pose(0.0)
    places = place_people(layout, posed, camera, distance, spread=share < 1)
    background, ground = random_background(surroundings, camera, places[:, 1].max())
    heights = crowd.seat_heights(posed)
    props = []
    for index, (person, low) in enumerate(zip(people, heights.tolist(), strict=True)):
        if person.activity.seated and low > 0.12:
            others = np.linalg.norm(np.delete(places, index, 0) - places[index], axis=1)
            roomy = not (others < 1.7).any()
            props.append(seat(surroundings, places[index], person.heading, low - 0.01, roomy))
    away = [distance + layout.uniform(0.7, 4) for _ in range(layout.integers(0, 3))]
    if layout.random() < 0.25:
        away.append(max(distance - layout.uniform(0.5, 1.2), 1.0))
    for meters in away:
        spot = camera.ground_point(layout.uniform(0, width), meters)
        if np.linalg.norm(places - spot, axis=1).min() > 0.7:
            props.append(obstacle(surroundings, spot))
    lamp = Lamp.random(surroundings)
    shadow = float(surroundings.uniform(0.15, 0.6)) if ground else 0.0
    lens = Lens.random(surroundings, max(width, height))
    return World(crowd, places, camera, lamp, background, props, shadow, lens, seed, [posed])


def _framing(rng: np.random.Generator, people: int, calm: bool) -> tuple[float, float]:
    """How tall a standing person is against the image, and the height over the ground (m) it is aimed at."""
    kind = rng.random()
    if calm or kind < 0.70:
        tallest = {1: 0.92, 2: 0.88, 3: 0.82}.get(people, 0.75)
        return float(rng.uniform(0.38 if people > 1 else 0.45, tallest)), float(rng.uniform(0.7, 1.05))
    share = float(rng.uniform(1.0, 1.6) if kind < 0.9 else rng.uniform(1.6, 2.6))
    if rng.random() < 0.15:  # heads may be cut off
        return share, float(rng.uniform(0.7, 1.2))
    return share, 1.8 - STATURE / share * float(rng.uniform(0.36, 0.5))


def place_people(
    rng: np.random.Generator,
    posed: Posed,
    camera: Camera,
    distance: float,
    spread: bool,
    farthest: float = 0.6,
    apart: float = 1.5,
) -> np.ndarray:
    """(N, 3) places for people posed at the origin: in the image, and not quite hidden by each other.

    Args:
        distance: meters to the nearest person, about.
        spread: the first one may be farther too.
        farthest: logarithm of how much farther the others may be.
        apart: what it counts that people hide each other.
    """
    people = len(posed.positions)
    bodies = posed.vertices[:, ::7]
    columns = (rng.permutation(people) + 0.5) / people
    places = np.zeros((people, 3))
    boxes = np.zeros((people, 4))
    for person in range(people):
        best = -np.inf
        for _ in range(_PLACES):
            jitter = rng.normal(0, 0.35 / people + 0.04)
            column = (0.5 + 0.82 * (columns[person] - 0.5) + jitter) * camera.width
            farther = np.exp(rng.uniform(-0.08, farthest)) if person or spread else 1.0
            place = camera.ground_point(column, distance * farther)
            box, inside = _outline(bodies[person] + place, camera)
            score = inside - apart * _hidden(box, boxes[:person])
            gaps = np.linalg.norm(places[:person] - place, axis=1)
            score -= 3.0 * (gaps < 0.5).sum()
            if score > best:
                best, places[person], boxes[person] = score, place, box
            if score > 0.55:
                break
    return places


def _outline(points: np.ndarray, camera: Camera) -> tuple[np.ndarray, float]:
    """Box (4,) of world points in the image, and the share of points that are in it."""
    pixels = camera.project_world(points)
    inside = ((pixels > 0) & (pixels < (camera.width, camera.height))).all(1)
    limits = np.array([camera.width, camera.height] * 2)
    return np.clip(np.concatenate((pixels.min(0), pixels.max(0))), 0, limits), float(inside.mean())


def _hidden(box: np.ndarray, others: np.ndarray) -> float:
    """Largest share that a box (4,) and any of `others` (n, 4) have of the smaller of the two."""
    if not len(others):
        return 0.0
    sides = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None)
    smaller = np.minimum(np.prod(box[2:] - box[:2]), np.prod(others[:, 2:] - others[:, :2], axis=1))
    return float((np.prod(sides, axis=1) / np.maximum(smaller, 1)).max())
