"""Clips of people with known identities, as a detector and a pose model would see them, for the benchmark of tracking.

People walk on a floor before a camera that stands, pans or shakes. What is found of them is their true boxes and
keypoints with noise; scores sink where they are hidden, 10 % are missed, and of 100 boxes some 5 are false. Images
exist where the camera moves: a textured wall with the people as textured shapes, which is all that the compensation of
camera motion looks at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from hfpose.keypoints import load_schema
from hfpose.ops.boxes import pairwise_iou
from hfpose.results import PoseOutput
from hfpose.tracking.camera_motion import CameraMotion

FRAME_RATE = 30.0
SIZE = (1280, 720)
_FOCAL, _EYE = 1000.0, 1.6  # pixels, meters over the floor
_MISSED, _MISSED_FRAMES = 0.1, 3.0  # share, and for how many frames in the mean
_FALSE, _FALSE_FRAMES = 0.05, 1.2
HIDDEN = 0.65  # share of a box behind nearer people from which the person is not seen
_MERGES = 0.3  # IoU from which two boxes may be merged
_WALL = (4000, 1600)
_COCO = load_schema("coco")

KINDS = ("cross", "exits", "pan and shake", "merged")


@dataclass(frozen=True)
class Seen:
    """A frame: who is there, and what is found, each of it of the person `owners` (M,), -1 where false. Who is found
    in the boxes `hidden` (n, 4) counts neither as found nor as false."""

    people: np.ndarray
    boxes: np.ndarray
    output: PoseOutput
    owners: np.ndarray
    hidden: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))


@dataclass(frozen=True)
class Clip:
    """A clip; `shifts` (T, 2, 3) is where the camera's motion moves what stands still, None if the camera stands."""

    kind: str
    num_people: int
    frames: list[Seen]
    shifts: np.ndarray | None
    silhouettes: np.ndarray  # (T, P, 4) boxes, farthest person first, for the images
    seed: int

    @cached_property
    def _wall(self) -> np.ndarray:
        rng = np.random.default_rng([self.seed, 5])
        wall = np.zeros((_WALL[1], _WALL[0], 3), np.float32)
        for cells in (8, 40, 160):
            noise = rng.uniform(0, 255, (cells, 2 * cells, 3)).astype(np.float32)
            wall += cv2.resize(noise, _WALL, interpolation=cv2.INTER_CUBIC) / 3
        return wall.clip(0, 255).astype(np.uint8)

    @cached_property
    def motions(self) -> np.ndarray:
        return camera_motions(map(self.image, range(len(self.frames))), self.frames)

    def image(self, index: int) -> np.ndarray | None:
        """RGB image of a frame, None where the camera stands."""
        if self.shifts is None:
            return None
        shift = self.shifts[index].copy()
        shift[:, 2] += shift[:, :2] @ -((np.array(_WALL) - SIZE) / 2)
        image = cv2.warpAffine(self._wall, shift, SIZE, borderMode=cv2.BORDER_REFLECT)
        for person, box in enumerate(self.silhouettes[index]):
            x1, y1, x2, y2 = box.clip(0, [*SIZE, *SIZE]).astype(int)
            rng = np.random.default_rng([self.seed, person])
            cloth = cv2.resize(rng.integers(0, 255, (12, 5, 3), np.uint8), (120, 300))
            if x2 - x1 > 8 and y2 - y1 > 8:
                margin = (x2 - x1) // 4
                patch = cv2.resize(cloth, (x2 - x1 - 2 * margin, y2 - y1))
                image[y1:y2, x1 + margin : x2 - margin] = patch
        return image


def camera_motions(images: Iterable[np.ndarray | None], frames: Sequence[Seen]) -> np.ndarray:
    """The motions (T, 2, 3) of the camera from frame to frame, NaN where not known."""
    camera = CameraMotion()
    motions = [camera.update(image, seen.output.boxes) for image, seen in zip(images, frames, strict=True)]
    return np.array([np.full((2, 3), np.nan) if motion is None else motion for motion in motions])


def clips(first_seed: int = 0) -> list[Clip]:
    """36 clips of 300 frames: four kinds, with 2, 4 and 8 people, three of each."""
    return [
        make_clip(kind, people, 300, first_seed + seed, ["walk"])
        for kind in KINDS
        for people in (2, 4, 8)
        for seed in range(3)
    ]


def make_clip(kind: str, people: int, frames: int, seed: int, activities: Sequence[str]) -> Clip:
    """A clip of one of `KINDS`."""
    rng = np.random.default_rng([seed, people, KINDS.index(kind)])
    keypoints, depths = _bodies(rng, people, frames, kind == "exits", activities)
    shifts = _camera(rng, frames) if kind == "pan and shake" else None
    if shifts is not None:
        keypoints = keypoints @ shifts[:, None, :, :2].transpose(0, 1, 3, 2) + shifts[:, None, None, :, 2]
    low, high = keypoints.min(2), keypoints.max(2)
    margin = 0.07 * (high - low)[..., 1:]
    boxes = np.concatenate((low - margin, high + margin), axis=-1)
    order = np.argsort(-depths, axis=1)
    silhouettes = np.take_along_axis(boxes, order[..., None], axis=1)
    finder = Finder(rng, frames, people, merges=kind == "merged")
    seen = []
    for index in range(frames):
        centers = (boxes[index, :, :2] + boxes[index, :, 2:]) / 2
        is_there = ((centers > 0) & (centers < SIZE)).all(-1)
        covered = covered_share(boxes[index], depths[index])
        there = np.flatnonzero(is_there & (covered < HIDDEN))
        output, owners = finder.find(index, there, keypoints[index], boxes[index], covered, depths[index])
        shuffled = rng.permutation(len(owners))
        output = PoseOutput(
            **{name: getattr(output, name)[shuffled] for name in ("keypoints", "keypoint_scores", "boxes", "box_scores")},
            schema=_COCO, image_size=SIZE, frame_index=index, timestamp=index / FRAME_RATE,
        )  # fmt: skip
        seen.append(Seen(there, boxes[index, there], output, owners[shuffled]))
    return Clip(kind, people, seen, shifts, silhouettes, seed)


class Finder:
    """What a detector and a pose model would find in the frames of a clip, with their errors.

    Args:
        rng: chooses the errors.
        frames, people: of the clip.
        merges: whether boxes that overlap are merged.
        size: (width, height) of the images.
    """

    def __init__(
        self, rng: np.random.Generator, frames: int, people: int, merges: bool, size: tuple[int, int] = SIZE
    ) -> None:
        self._rng, self.people, self._merges, self._size = rng, people, merges, size
        self._missed = _episodes(rng, (frames, people), _MISSED, _MISSED_FRAMES)
        self._merging: dict[tuple[int, int], int] = {}
        self._false: list[tuple[np.ndarray, np.ndarray, int]] = []

    def find(
        self,
        index: int,
        there: np.ndarray,
        keypoints: np.ndarray,
        boxes: np.ndarray,
        covered: np.ndarray,
        depths: np.ndarray,
    ) -> tuple[PoseOutput, np.ndarray]:
        """What is found in the frame `index` of the people `there` (n,), and which person (M,) each is, -1 for none.

        Keypoints (P, 17, 2), boxes (P, 4), the shares of them that are covered (P,) and depths (P,) are those of all
        people.
        """
        rng = self._rng
        found = [row for row in there.tolist() if not self._missed[index, row]]
        output, owners = _found(rng, found, keypoints, boxes, covered, depths)
        if self._merges:
            output, owners = _merge(rng, output, owners, self._merging, index)
        self._false = [each for each in self._false if each[2] > index]
        for _ in range(rng.binomial(self.people, _FALSE / _FALSE_FRAMES)):
            box, pose = _false_one(rng, keypoints, self._size)
            self._false.append((box, pose, index + int(rng.geometric(1 / _FALSE_FRAMES))))
        return _with_false(rng, output, owners, self._false)


def _bodies(
    rng: np.random.Generator, people: int, frames: int, leaves: bool, activities: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (T, P, 17, 2) in pixels of a camera that stands, and depths (T, P) in meters."""
    from rendered_people.motions import random_motion

    rows = 5 + 0.55 * rng.permutation(people)
    depth, across, turns = ways(rng, rows, frames, 0.5 * SIZE[0] / _FOCAL, (0.6, 1.0), leaves)
    poses = []
    for person in range(people):
        motion = random_motion(int(rng.integers(1 << 30)), frames, str(rng.choice(activities)))
        pose = motion.coco - motion.joints[:, :1] * [1, 1, 0]  # on the spot
        cosine, sine = np.cos(turns[:, person, None]), np.sin(turns[:, person, None])
        x, y = pose[..., 0] * cosine - pose[..., 1] * sine, pose[..., 0] * sine + pose[..., 1] * cosine
        x, y = x + across[:, person, None], y + depth[:, person, None]
        poses.append(np.stack((x / y * _FOCAL + SIZE[0] / 2, (_EYE - pose[..., 2]) / y * _FOCAL + 0.35 * SIZE[1]), -1))
    return np.stack(poses, axis=1), depth


def ways(
    rng: np.random.Generator, rows: np.ndarray, frames: int, view: float, speeds: tuple[float, float], leaves: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How people go to and fro, each along a row (P,) of its own, in meters before the camera.

    Args:
        rows: of the people.
        frames: T.
        view: half the width that the camera sees, in distances.
        speeds: least and greatest, in radians of a way to and fro per second.
        leaves: whether every other person leaves the image.

    Returns:
        Depths and places across (T, P) in meters, and turns (T, P) in radians: people look where they go, and at the
        camera as they turn.
    """
    people, time = len(rows), np.arange(frames)[:, None] / FRAME_RATE
    depth = rows + 0.2 * np.sin(time * rng.uniform(0.2, 0.6, people) + rng.uniform(0, 7, people))
    reach = rng.uniform(0.5, 0.85, people)
    if leaves:
        reach = np.where(np.arange(people) % 2, reach, rng.uniform(1.25, 1.6, people))
    phase = time * rng.uniform(*speeds, people) + rng.uniform(0, 2 * np.pi, people)
    return depth, view * depth * reach * np.cos(phase), np.pi / 2 * np.tanh(4 * np.sin(phase))


def _camera(rng: np.random.Generator, frames: int) -> np.ndarray:
    """Affine motion (T, 2, 3) of the image: it pans to and fro by 15 pixels a frame, shakes by 6, and rolls a
    little."""
    time = np.arange(frames)
    pan = 550 * np.sin(time * rng.uniform(0.02, 0.03) + rng.uniform(0, 7))
    shake = rng.normal(0, 6, (frames, 2)) + 40 * np.sin(time[:, None] * [0.11, 0.17])
    angle = np.deg2rad(1.5 * np.sin(time * 0.13) + rng.normal(0, 0.15, frames))
    turn = np.stack((np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)), -1).reshape(-1, 2, 2)
    center = np.array(SIZE) / 2
    place = center - turn @ center + shake + np.stack((pan, np.zeros(frames)), -1)
    return np.concatenate((turn, place[..., None]), axis=-1)


def _episodes(rng: np.random.Generator, shape: tuple[int, ...], share: float, duration: float) -> np.ndarray:
    """What is on for a `share` of the time, for `duration` frames in the mean."""
    on = rng.random(shape) < share
    for index in range(1, shape[0]):
        starts = rng.random(shape[1:]) < share / (1 - share) / duration
        goes_on = rng.random(shape[1:]) < 1 - 1 / duration
        on[index] = np.where(on[index - 1], goes_on, starts)
    return on


def covered_share(boxes: np.ndarray, depths: np.ndarray) -> np.ndarray:
    """Share (P,) of each box behind that of the nearer person who covers most of it."""
    top_left = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = np.maximum(bottom_right - top_left, 0).prod(-1) / (boxes[:, 2:] - boxes[:, :2]).prod(-1)[:, None]
    return np.where(depths[:, None] > depths[None], shared, 0).max(1, initial=0)


def _found(
    rng: np.random.Generator,
    rows: list[int],
    keypoints: np.ndarray,
    boxes: np.ndarray,
    covered: np.ndarray,
    depths: np.ndarray,
) -> tuple[PoseOutput, np.ndarray]:
    """What is found of some people: noise that grows with their size and with how much of them is hidden."""
    sides = boxes[rows, 2:] - boxes[rows, :2]
    noise = (1 + 2 * covered[rows])[:, None]
    poses = keypoints[rows] + rng.normal(0, 1, (len(rows), 17, 2)) * (0.012 * sides[:, 1:] * noise)[:, None]
    for place, row in enumerate(rows):  # the pose model takes the nearer person for the one who is half hidden
        if covered[row] > 0.5 and rng.random() < 0.2:
            nearest = np.argmax(np.where(depths < depths[row], pairwise_iou(boxes[row, None], boxes)[0], -1))
            poses[place] = keypoints[nearest] + rng.normal(0, 0.012 * sides[place, 1], (17, 2))
    found = boxes[rows] + rng.normal(0, 1, (len(rows), 4)) * (0.02 * np.tile(sides, 2) * noise)
    scores = (rng.normal(0.85, 0.07, len(rows)) * (1 - 0.6 * covered[rows])).clip(0.3, 0.99)
    point_scores = np.repeat(scores[:, None], 17, axis=1)
    return PoseOutput(poses, point_scores, boxes=found, box_scores=scores), np.array(rows, int)


def _merge(
    rng: np.random.Generator,
    output: PoseOutput,
    owners: np.ndarray,
    merging: dict[tuple[int, int], int],
    index: int,
) -> tuple[PoseOutput, np.ndarray]:
    """Two boxes that overlap are one for 5 to 15 frames, with the pose of the first."""
    assert output.boxes is not None and output.box_scores is not None
    kept, boxes = np.ones(len(owners), bool), output.boxes.copy()
    overlap = pairwise_iou(output.boxes, output.boxes)
    for first, second in zip(*np.nonzero(np.triu(overlap > 0, 1)), strict=True):
        pair = (int(owners[first]), int(owners[second]))
        last = merging.get(pair, -100)
        if overlap[first, second] > _MERGES and index > last + 30:
            last = merging[pair] = index + int(rng.integers(5, 16))
        if index < last and kept[first] and kept[second]:
            kept[second] = False
            boxes[first] = [
                *np.minimum(boxes[first, :2], boxes[second, :2]),
                *np.maximum(boxes[first, 2:], boxes[second, 2:]),
            ]
    output.boxes = boxes
    return output[kept], owners[kept]


def _false_one(
    rng: np.random.Generator, keypoints: np.ndarray, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """A box (4,) and a pose (17, 2) where no person is."""
    height = rng.uniform(120, 350) * size[1] / SIZE[1]
    corner = rng.uniform(0, 1, 2) * (np.array(size) - [0.4 * height, height])
    pose = keypoints[rng.integers(len(keypoints))]
    low, high = pose.min(0), pose.max(0)
    pose = (
        corner
        + (pose - low) / np.maximum(high - low, 1) * [0.4 * height, height]
        + rng.normal(0, 8, (17, 2)) * size[1] / SIZE[1]
    )
    return np.concatenate((corner, corner + np.array([0.4 * height, height]))), pose


def _with_false(
    rng: np.random.Generator, output: PoseOutput, owners: np.ndarray, false: list[tuple[np.ndarray, np.ndarray, int]]
) -> tuple[PoseOutput, np.ndarray]:
    assert output.boxes is not None and output.box_scores is not None
    scores = rng.uniform(0.3, 0.75, len(false))
    return PoseOutput(
        np.concatenate((output.keypoints, np.reshape([pose for _, pose, _ in false], (-1, 17, 2)))),
        np.concatenate((output.keypoint_scores, np.repeat(scores[:, None], 17, axis=1))),
        boxes=np.concatenate((output.boxes, np.reshape([box for box, _, _ in false], (-1, 4)))),
        box_scores=np.concatenate((output.box_scores, scores)),
    ), np.concatenate((owners, np.full(len(false), -1)))
