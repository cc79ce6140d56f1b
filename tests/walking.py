"""Walking people with known joints: the truth for tests of tracking and of lifting over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hfpose.keypoints import load_schema
from hfpose.ops.boxes import pairwise_iou
from hfpose.results import PoseOutput

FRAME_RATE = 30.0
IMAGE_SIZE = (1280, 720)
PIXELS_PER_METER = 200.0
BOX_MARGIN = 15.0
STEPS_PER_SECOND = 0.9


@dataclass(frozen=True)
class Walkers:
    """P people over T frames, as a detector and a pose model see them.

    Args:
        keypoints: (T, P, 17, 2) COCO keypoints with noise, in pixels.
        boxes: (T, P, 4).
        visible: (T, P) whether the detector finds the person.
    """

    keypoints: np.ndarray
    boxes: np.ndarray
    visible: np.ndarray

    def frame(self, index: int, order: np.random.Generator | None = None) -> tuple[PoseOutput, np.ndarray]:
        """What is found in a frame, and which person each of it is; in any order."""
        people = np.flatnonzero(self.visible[index])
        if order is not None:
            people = order.permutation(people)
        output = PoseOutput(
            keypoints=self.keypoints[index, people],
            keypoint_scores=np.ones((len(people), 17)),
            boxes=self.boxes[index, people],
            schema=load_schema("coco"),
            image_size=IMAGE_SIZE,
            frame_index=index,
        )
        return output, people


def crossing_walkers(
    seed: int,
    frames: int = 600,
    crossings: int = 1,
    noise: float = 2.0,
    missed: float = 0.02,
    hidden_overlap: float = 0.5,
) -> Walkers:
    """Two people who walk to and fro in front of each other.

    Args:
        seed: of their sizes, steps and noise.
        frames: how long they walk.
        crossings: how often they cross.
        noise: standard deviation in pixels of keypoints and boxes.
        missed: share of people whom the detector misses.
        hidden_overlap: the second one is not found where the boxes overlap by more than this.
    """
    rng = np.random.default_rng(seed)
    cycle = np.pi * np.arange(frames) * crossings / frames
    people = []
    for start in (0.0, np.pi):
        place = 0.4 * IMAGE_SIZE[0] * np.cos(cycle + start) + IMAGE_SIZE[0] / 2 + rng.uniform(-60, 60)
        # They turn around smoothly at either end.
        heading = np.pi / 2 + np.pi / 2 * np.tanh(8 * np.sin(cycle + start))
        joints = walking_pose(frames, rng.uniform(1.55, 1.9), rng.uniform(0, 2 * np.pi), heading)
        across = place[:, None] + PIXELS_PER_METER * joints[..., 0]
        down = 0.9 * IMAGE_SIZE[1] - PIXELS_PER_METER * joints[..., 1]
        people.append(np.stack((across, down), axis=-1))
    keypoints = np.stack(people, axis=1)
    keypoints += rng.normal(0, noise, keypoints.shape)
    boxes = np.concatenate((keypoints.min(2) - BOX_MARGIN, keypoints.max(2) + BOX_MARGIN), axis=-1)
    boxes += rng.normal(0, noise, boxes.shape)
    visible = rng.random((frames, 2)) >= missed
    overlap = np.array([pairwise_iou(pair[:1], pair[1:])[0, 0] for pair in boxes])
    visible[:, 1] &= overlap <= hidden_overlap
    return Walkers(keypoints.astype(np.float32), boxes.astype(np.float32), visible)


def walking_pose(frames: int, height: float, phase: float, heading: np.ndarray | float) -> np.ndarray:
    """COCO joints (T, 17, 3) in meters of someone who walks on the spot, feet near y = 0.

    x goes right, y up, z toward the camera.

    Args:
        frames: T.
        height: of the person in meters.
        phase: of the first step in radians.
        heading: (T,) angle in radians: 0 walks right, pi / 2 toward the camera, pi left.
    """
    step = 2 * np.pi * STEPS_PER_SECOND * np.arange(frames) / FRAME_RATE + phase
    size = height / 1.7
    zero = np.zeros(frames)

    def below(joint: np.ndarray, length: float, angle: np.ndarray) -> np.ndarray:
        """The end of a bone that hangs from a joint, swung forward by an angle."""
        return joint + length * size * np.stack((np.sin(angle), -np.cos(angle), zero), axis=-1)

    # In the frame of the body: x forward, y up, z to its right.
    root = np.stack((zero, 0.92 * size + 0.02 * np.cos(2 * step), zero), axis=-1)
    joints = {"nose": root + size * np.array([0.13, 0.68, 0.0])}
    for side, sign, swing in (("left", -1, step), ("right", 1, step + np.pi)):
        hip = root + size * np.array([0.0, 0.0, 0.11 * sign])
        shoulder = root + size * np.array([0.02, 0.5, 0.19 * sign])
        thigh, upper_arm = 0.5 * np.sin(swing), -0.45 * np.sin(swing)
        knee, elbow = below(hip, 0.44, thigh), below(shoulder, 0.29, upper_arm)
        joints |= {
            f"{side}_eye": root + size * np.array([0.1, 0.72, 0.03 * sign]),
            f"{side}_ear": root + size * np.array([0.0, 0.7, 0.08 * sign]),
            f"{side}_shoulder": shoulder,
            f"{side}_elbow": elbow,
            f"{side}_wrist": below(elbow, 0.26, upper_arm + 0.4),
            f"{side}_hip": hip,
            f"{side}_knee": knee,
            f"{side}_ankle": below(knee, 0.44, thigh - 0.35 * (1 + np.cos(swing))),
        }
    body = np.stack([joints[name] for name in load_schema("coco").keypoint_names], axis=1)
    cosine, sine = (np.broadcast_to(f(heading), frames)[:, None] for f in (np.cos, np.sin))
    forward, right = body[..., 0], body[..., 2]
    return np.stack((forward * cosine - right * sine, body[..., 1], forward * sine + right * cosine), axis=-1)


def stepping_feet(
    times: np.ndarray, stride: float = 1.2, period: float = 1.0, stance: float = 0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Two ankles (T, 2, 3), z up, that stand for a share of a period and then make a step of a stride along y, in
    turns; and when they stand (T, 2)."""
    phase = np.stack((times, times + period / 2), axis=1) / period
    cycle = phase % 1.0
    swing = np.clip((cycle - stance) / (1 - stance), 0, 1)
    way = stride * (np.floor(phase) + (1 - np.cos(np.pi * swing)) / 2)
    way[:, 1] -= stride / 2
    return np.stack((0 * way + (-0.1, 0.1), way, 0.1 * stride * np.sin(np.pi * swing)), axis=-1), cycle < stance
