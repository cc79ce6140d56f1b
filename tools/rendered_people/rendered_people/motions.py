"""Training data for lifters: figures that move, as a 2D pose model would see them, with their exact 3D joints.

Only bones are posed and projected; no image is drawn. Everything follows from the seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hfpose.keypoints import load_schema
from hfpose.models.motionbert.image_processing_motionbert import MotionBertImageProcessor
from hfpose.pipelines.lifting_stage import smooth_rows
from hfpose.results import PoseOutput
from rendered_people.activities import random_activity
from rendered_people.anatomy import Body, rotation
from rendered_people.camera import camera_rotation, to_joint_frame
from rendered_people.face import face_keypoints
from rendered_people.people import coco_keypoints, crown_height, h36m_joints, place_figures

# Pixels: the longer side of the images that figures are projected into.
IMAGE_SIZE = 1000
# Meters: how tall people are in round numbers, how near the camera may be, and how far skin and clothes reach
# beyond the bones.
_STATURE, _NEAREST, _FLESH = 1.72, 1.2, 0.06
# How much COCO's keypoints are off against each other: face, shoulders, elbows, wrists, hips, knees, ankles.
_DIFFICULTY = np.repeat((0.55, 0.7, 1.05, 1.6, 0.95, 1.1, 1.5), (5, 2, 2, 2, 2, 2, 2))
# Bones under the ground are what the feet's soles would be.
_SOLE = 0.03


@dataclass(frozen=True)
class Motion:
    """A figure over T frames, before any camera looks at it. Meters, z up, feet near z = 0.

    Args:
        coco: (T, 17, 3) keypoints of COCO.
        joints: (T, 17, 3) joints of Human3.6M.
        outline: (T, M, 3) points that the silhouette reaches around.
    """

    coco: np.ndarray
    joints: np.ndarray
    outline: np.ndarray

    def mirrored(self) -> Motion:
        """The motion in a mirror: left and right change places."""
        mirror = np.array([-1.0, 1, 1])
        coco, h36m = (list(load_schema(name).required_flip_indices()) for name in ("coco", "h36m"))
        return Motion(self.coco[:, coco] * mirror, self.joints[:, h36m] * mirror, self.outline * mirror)


def random_motion(seed: int, frames: int, activity: str | None = None) -> Motion:
    """A person who does something for some frames, 20 to 33 of them a second.

    Args:
        seed: of body, activity and frame rate.
        frames: T.
        activity: what it is, see `rendered_people.activities.ACTIVITIES`; default a random one.
    """
    rng = np.random.default_rng([seed, 11])
    body = Body.random(rng)
    doing = random_activity(rng, body, activity)
    times = rng.uniform(0, 20) + np.arange(frames) / rng.uniform(20, 33)
    poses = [doing.pose(time) for time in times.tolist()]
    rest = np.broadcast_to(body.joints, (frames, *body.joints.shape))
    rotations, bones, walked = place_figures(poses, poses[:1] * frames, [0.0] * frames, rest)
    walked[:, 2] += _SOLE - bones[..., 2].min(1)
    bones = bones + walked[:, None]
    joints = h36m_joints(rotations, bones, np.full(frames, crown_height(body)))
    coco = coco_keypoints(rotations, bones, np.repeat(face_keypoints(body)[None], frames, axis=0))
    return Motion(coco, joints, np.concatenate((bones, joints[:, 10:11]), axis=1))


@dataclass(frozen=True)
class Views:
    """Clips of L frames by V cameras, without any error.

    Args:
        keypoints: (V, L, 17, 2) COCO's in pixels.
        boxes: (V, L, 4) x1, y1, x2, y2 around the figure.
        joints: (V, L, 17, 3) Human3.6M's in meters relative to the first, in the frame of 3D results: x left, y toward
            the camera, z up.
    """

    keypoints: np.ndarray
    boxes: np.ndarray
    joints: np.ndarray


def look_at(motion: Motion, starts: Sequence[int], length: int, rng: np.random.Generator) -> Views:
    """The motion as seen by random cameras, one for each entry of `starts`, the first of its `length` frames."""
    index = np.asarray(starts)[:, None] + np.arange(length)
    number = len(index)
    turn = rotation(2, rng.uniform(-180, 180, number))
    share = rng.uniform(0.25, 1.1, number)  # of the image that a standing person fills
    focal = IMAGE_SIZE * rng.uniform(0.95, 1.9, number)
    distance = np.maximum(focal * _STATURE / (share * IMAGE_SIZE), _NEAREST + 0.5)
    low = rng.random(number) < 0.85
    elevation = np.where(low, rng.uniform(0.6, 2.1, number), rng.uniform(2.1, 4.0, number))
    aim = rng.uniform(0.5, 1.2, number)
    pitch = np.clip(np.rad2deg(np.arctan2(elevation - aim, distance)), -25, 40)
    level = rng.random(number) < 0.85
    roll = np.where(level, rng.normal(0, 1.5, number), rng.uniform(-14, 14, number))
    camera = camera_rotation(pitch, roll)
    aside = rng.uniform(-0.4, 0.4, number) * IMAGE_SIZE / focal * distance
    middle = motion.joints[index[:, length // 2], 0] * (1, 1, 0)

    def seen(points: np.ndarray) -> np.ndarray:
        """World points (T, P, 3) in the cameras' frames (V, L, P, 3)."""
        around = (points[index] - middle[:, None, None]) @ turn[:, None].transpose(0, 1, 3, 2)
        around += np.stack((aside, distance, -elevation), axis=-1)[:, None, None]
        return around @ camera[:, None].transpose(0, 1, 3, 2)

    outline = seen(motion.outline)
    # Who walks up to the camera and past it began farther away.
    behind = np.maximum(_NEAREST - outline[..., 2].min((1, 2)), 0)[:, None, None]
    coco, joints = seen(motion.coco), seen(motion.joints)
    for points in (outline, coco, joints):
        points[..., 2] += behind

    def project(points: np.ndarray) -> np.ndarray:
        return points[..., :2] / points[..., 2:] * focal[:, None, None, None] + (IMAGE_SIZE - 1) / 2

    flesh = _FLESH * focal[:, None, None] / outline[..., 2].mean(2, keepdims=True)
    pixels = project(outline)
    boxes = np.concatenate((pixels.min(2) - flesh, pixels.max(2) + flesh), axis=-1)
    framed = to_joint_frame(joints)
    return Views(project(coco), boxes, framed - framed[:, :, :1])


@dataclass(frozen=True)
class PoseNoise:
    """How a 2D pose model errs over time, in shares of the longer side of a person's box.

    The proportions are those of the packaged `demo` pipeline on rendered people who walk: errors last for several
    frames, limbs are worse than faces, some moments worse than others, and scores tell of it. Where left and right are
    seen over each other, knees, ankles, elbows and wrists change sides for a few frames. Now and then a keypoint is
    hidden and only guessed, the whole body is taken for its back, or a frame is missed and filled in between the
    others.

    Args:
        level: standard deviation of a keypoint of average difficulty along x and y.
        hidden: share of keypoints that are hidden.
        confused: share of frames in which the sides of legs are confused, for people seen from anywhere; of arms it is
            half as much, of the whole body a tenth.
        missed: share of frames that are missed.
        box: standard deviation of the edges of boxes.
    """

    level: float = 0.012
    hidden: float = 0.05
    confused: float = 0.1
    missed: float = 0.03
    box: float = 0.02

    # Frames that each of these lasts on the average.
    _HIDDEN_FRAMES = 10.0
    _CONFUSED_FRAMES = 3.0
    _DRIFT_FRAMES = 6.0
    _LONGEST_GAP = 5
    # How much larger an error is where a keypoint is hidden.
    _GUESS = 3.0
    # Spread of the logarithm of a keypoint's difficulty: over time, and from person to person.
    _MOMENTS, _PEOPLE = 0.5, 0.3

    def observe(self, views: Views, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keypoints (V, L, 17, 2) and boxes (V, L, 4) as they are found, and scores (V, L, 17)."""
        number, length, count, _ = views.keypoints.shape
        size = (views.boxes[..., 2:] - views.boxes[..., :2]).max(-1)[..., None, None]
        moments = _drift(rng, (number, length, count), self._DRIFT_FRAMES)
        difficulty = np.exp(self._MOMENTS * moments + rng.normal(0, self._PEOPLE, (number, 1, count)))
        scale = self.level * _DIFFICULTY * difficulty
        hidden = _episodes(rng, np.full((number, length, count), self.hidden), self._HIDDEN_FRAMES)
        scale = np.where(hidden, self._GUESS * scale, scale)
        errors = _lasting(rng, (number, length, count, 2), self._DRIFT_FRAMES)
        keypoints = views.keypoints + errors * scale[..., None] * size
        scores = 1.0 - 0.5 * np.log(1.25 * scale / 0.01) + 0.12 * _lasting(rng, scale.shape, self._DRIFT_FRAMES)
        keypoints, confused = self._confuse(keypoints, size[..., 0], rng)
        scores = np.where(confused, 0.5 * scores, scores)
        boxes = views.boxes + self.box * _lasting(rng, views.boxes.shape, self._DRIFT_FRAMES) * size[..., 0]
        found = keypoints, boxes, np.clip(scores, 0.1, 1.6)
        return self._fill_in(found, rng) if self.missed > 0 and length > 2 else found

    def _confuse(
        self, keypoints: np.ndarray, size: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints with sides confused, and which of them (V, L, 17) are; `size` (V, L, 1) of the boxes."""
        indices = np.array(load_schema("coco").flip_indices)
        width = np.linalg.norm(keypoints[:, :, 5] - keypoints[:, :, 6], axis=-1) / size[..., 0]
        from_the_side = np.clip(2 - 8 * width, 0.2, 2)
        confused = np.repeat(
            _episodes(rng, np.full(width.shape, 0.1 * self.confused), self._CONFUSED_FRAMES)[..., None], 17, axis=-1
        )
        for share, near, far in ((0.5, (7, 8), (9, 10)), (1.0, (13, 14), (15, 16))):  # arms and legs
            episode = _episodes(rng, share * self.confused * from_the_side, self._CONFUSED_FRAMES)
            for pair, also in ((near, 0.5), (far, 1.0)):
                # the knee may stay where only the ankle changes sides, and both ankles may be seen at the same place
                joins = rng.random(episode.shape) < also
                alone = rng.integers(0, 4, episode.shape)
                for side, keypoint in enumerate(pair):
                    confused[..., keypoint] |= episode & joins & (alone != side)
        return np.where(confused[..., None], keypoints[:, :, indices], keypoints), confused

    def _fill_in(
        self, found: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same with missed frames filled in as the lifting stage does, on a line between those around them."""
        number, length = found[0].shape[:2]
        missed = _episodes(rng, np.full((number, length), self.missed), 2.0)
        missed[:, [0, -1]] = False
        filled = tuple(array.copy() for array in found)
        for clip in np.flatnonzero(missed.any(1)).tolist():
            seen = np.flatnonzero(~missed[clip])
            for before in np.flatnonzero(np.diff(seen) > 1).tolist():
                first, last = int(seen[before]), int(seen[before + 1])
                if last - first - 1 > self._LONGEST_GAP:
                    continue
                share = (np.arange(first + 1, last) - first) / (last - first)
                for array in filled:
                    weight = share.reshape(-1, *[1] * (array.ndim - 2))
                    array[clip, first + 1 : last] = (
                        array[clip, first] + (array[clip, last] - array[clip, first]) * weight
                    )
        return filled[0], filled[1], filled[2]


def _episodes(rng: np.random.Generator, share: np.ndarray, duration: float) -> np.ndarray:
    """Booleans (V, L, ...) that are True for some frames in a row, `share` (V, L, ...) of all of them."""
    begins, ends = share / (1 - share) / duration, 1 / duration
    chance = rng.random(share.shape)
    states = np.empty(share.shape, bool)
    states[:, 0] = chance[:, 0] < share[:, 0]
    for frame in range(1, share.shape[1]):
        states[:, frame] = np.where(
            states[:, frame - 1], chance[:, frame] >= ends, chance[:, frame] < begins[:, frame]
        )
    return states


def _drift(rng: np.random.Generator, shape: tuple[int, ...], duration: float) -> np.ndarray:
    """Normal values (V, L, ...) that change slowly, with a correlation of 1/e after `duration` frames."""
    kept = np.exp(-1 / duration)
    values = rng.normal(size=shape)
    for frame in range(1, shape[1]):
        values[:, frame] = kept * values[:, frame - 1] + np.sqrt(1 - kept**2) * values[:, frame]
    return values


def _lasting(rng: np.random.Generator, shape: tuple[int, ...], duration: float) -> np.ndarray:
    """Normal values (V, L, ...): one part is new in each frame, most drifts, and some stays."""
    fresh, drifting, staying = 0.12, 0.73, 0.15
    stays = rng.normal(size=(shape[0], 1, *shape[2:]))
    drifts = _drift(rng, shape, duration)
    return np.sqrt(fresh) * rng.normal(size=shape) + np.sqrt(drifting) * drifts + np.sqrt(staying) * stays


def encode_clips(
    processor: MotionBertImageProcessor, keypoints: np.ndarray, scores: np.ndarray, boxes: np.ndarray, smoothing: float
) -> np.ndarray:
    """Network inputs (V, L, 17, C) as `hfpose.pipelines.lifting_stage.TemporalLifter` makes them.

    Args:
        processor: of the lifter.
        keypoints, scores, boxes: COCO's, as `PoseNoise.observe` gives them.
        smoothing: frames over which boxes are averaged.
    """
    converted, certainty = processor.convert_keypoints(keypoints.astype(np.float32), scores.astype(np.float32), "coco")
    boxes = boxes.astype(np.float32)
    if boxes.shape[1] > 1:
        boxes = np.stack([smooth_rows(clip, smoothing) for clip in boxes])
    visibility = certainty if processor.do_use_scores else None
    size = (IMAGE_SIZE, IMAGE_SIZE)
    return processor(converted, size, boxes=boxes, visibility=visibility, return_tensors="np")["keypoints_2d"]


def lifting_labels(joints: np.ndarray) -> np.ndarray:
    """What a network should say for joints (..., 17, 3) in the frame of 3D results, where a unit is a meter.

    It undoes the change of axes of `MotionBertImageProcessor.post_process_pose_lifting`.
    """
    return np.stack((-joints[..., 0], -joints[..., 2], joints[..., 1]), axis=-1).astype(np.float32)


@dataclass(frozen=True)
class MotionSample:
    """A motion, and the length of the clips that are to be made of it."""

    motion: Motion
    length: int


class RandomMotions:
    """Motions, each from a seed of its own, with a length of clips for each batch of them.

    Args:
        seeds: of the motions.
        frames: of each motion; a multiple of every length.
        lengths: length of clips -> how often.
        per_batch: motions in a row with clips of the same length.
        walking: share of people who walk, beside those who do so anyway.
    """

    def __init__(
        self, seeds: range, frames: int, lengths: Mapping[int, float], per_batch: int, walking: float = 0.0
    ) -> None:
        self.seeds = seeds
        self.frames = frames
        self.lengths = dict(lengths)
        self.per_batch = per_batch
        self.walking = walking

    def __len__(self) -> int:
        return len(self.seeds)

    def load(self, index: int, rng: np.random.Generator) -> MotionSample:
        batch = np.random.default_rng([self.seeds.start, 12, index // self.per_batch])
        length = int(batch.choice(list(self.lengths), p=list(self.lengths.values())))
        activity = "walk" if rng.random() < self.walking else None
        return MotionSample(random_motion(self.seeds[index], self.frames, activity), length)


@dataclass(frozen=True)
class LiftingClips:
    """Makes training samples of motions: `keypoints_2d` (V, L, 17, C) and `labels` (V, L, 17, 3).

    A motion is cut into clips, each seen by cameras of its own. Half of the motions are mirrored.

    Args:
        processor: of the lifter.
        views: cameras for each clip.
        levels: least and greatest `PoseNoise.level`.
        box_smoothing: see `hfpose.pipelines.lifting_stage.TemporalLifter`.
    """

    processor: MotionBertImageProcessor
    views: int = 2
    levels: tuple[float, float] = (0.004, 0.025)
    box_smoothing: float = 15.0

    def __call__(self, sample: MotionSample, rng: np.random.Generator, progress: float) -> dict[str, np.ndarray]:
        motion = sample.motion.mirrored() if rng.random() < 0.5 else sample.motion
        starts = np.tile(np.arange(0, len(motion.coco), sample.length), self.views)
        views = look_at(motion, starts.tolist(), sample.length, rng)
        noise = PoseNoise(level=float(np.exp(rng.uniform(*np.log(self.levels)))))
        keypoints, boxes, scores = noise.observe(views, rng)
        return {
            "keypoints_2d": encode_clips(self.processor, keypoints, scores, boxes, self.box_smoothing),
            "labels": lifting_labels(views.joints),
        }


def collate_clips(items: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """The clips of several items as one batch."""
    return {name: torch.from_numpy(np.concatenate([item[name] for item in items])) for name in items[0]}


def found_people(views: Views, noise: PoseNoise, rng: np.random.Generator) -> list[PoseOutput]:
    """2D results for each of L frames, with the V clips as people who are there at the same time."""
    keypoints, boxes, scores = noise.observe(views, rng)
    return [
        PoseOutput(
            keypoints=keypoints[:, frame],
            keypoint_scores=scores[:, frame],
            boxes=boxes[:, frame],
            track_ids=np.arange(len(keypoints)),
            image_size=(IMAGE_SIZE, IMAGE_SIZE),
            schema=load_schema("coco"),
            frame_index=frame,
        )
        for frame in range(keypoints.shape[1])
    ]
