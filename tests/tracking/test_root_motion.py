"""People who move before a camera: where they are, and the ground that they stand on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.keypoints.human36m import keypoints_to_h36m
from hfpose.results import PoseOutput
from hfpose.tracking.placing import Placing, place_clip
from walking import FRAME_RATE, walking_pose

FOCAL, SIZE, ELEVATION, PITCH = 1000.0, (1280, 720), 1.5, np.deg2rad(8)
FEET = [load_schema("h36m").index(name) for name in ("left_foot", "right_foot")]
# The world's axes (x left, y toward the camera, z up) to those of a camera that looks down.
LOOK = np.array([[1, 0, 0], [0, np.cos(PITCH), np.sin(PITCH)], [0, -np.sin(PITCH), np.cos(PITCH)]])


def walk(heading: float, frames: int = 150) -> np.ndarray:
    """Joints (T, 17, 3) of someone who walks 1.2 m/s, x left, y toward the camera, z up, feet near z = 0."""
    pose = walking_pose(frames, 1.75, 0.0, heading) @ np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    way = np.arange(frames)[:, None, None] / FRAME_RATE * 1.2 * np.array([-np.cos(heading), np.sin(heading), 0])
    joints, _ = keypoints_to_h36m(pose + way, None, "coco")
    return joints


def jump(height: float) -> np.ndarray:
    """The same who stands for a second, and jumps with straight legs three times."""
    joints = np.repeat(walk(np.pi / 2, 1), 150, axis=0)
    time = np.arange(150) / FRAME_RATE % 1.6 - 0.8
    flight = np.sqrt(8 * height / 9.81)
    joints[..., 2] += np.where(np.abs(time) < flight / 2, height * (1 - (2 * time / flight) ** 2), 0)[:, None]
    return joints


def seen(joints: np.ndarray, start: tuple[float, float], grow: float = 0.0) -> list[PoseOutput]:
    """What a lifter that errs in nothing but the size says of joints, of somebody who begins at `start` on the
    ground."""
    camera = (joints + np.array([*start, -ELEVATION])) @ LOOK.T
    pixels = camera[..., [0, 2]] / camera[..., 1:2] * FOCAL + np.array(SIZE) / 2
    poses = camera - camera[:, :1]
    poses *= np.exp(np.linspace(-grow, grow, len(poses)))[:, None, None]
    return [
        PoseOutput(
            pose[None],
            np.ones((1, 17)),
            track_ids=[3],
            keypoints_2d=pixel[None],
            image_size=SIZE,
            schema=load_schema("h36m"),
        )
        for pose, pixel in zip(poses, pixels, strict=True)
    ]


def placed(outputs: list[PoseOutput], **settings: Any) -> np.ndarray:
    times = np.arange(len(outputs)) / FRAME_RATE
    return np.stack([output.keypoints[0] for output in place_clip(outputs, times, Placing(**settings))])


@pytest.mark.parametrize("height", [0.16, 0.35])
@pytest.mark.parametrize("field_of_view", [65.2, 45.0])
def test_who_jumps_leaves_the_ground(height: float, field_of_view: float) -> None:
    joints = jump(height)
    found = placed(seen(joints, (0.3, -4.0)), field_of_view=field_of_view)
    feet = found[:, FEET, 2].min(1)
    assert feet.max() == pytest.approx(height, rel=0.15)
    standing = joints[:, FEET, 2].min(1) < 0.01 + joints[:, FEET, 2].min()
    assert np.abs(feet[standing]).max() < 0.03
    by_frame = placed(seen(joints, (0.3, -4.0)), ground="frame")
    assert (by_frame[..., 2].min(1) == 0).all()


@pytest.mark.parametrize(("heading", "start"), [(np.pi / 2, (0.5, -10.0)), (0.3, (3.0, -6.0)), (2.0, (1.0, -8.0))])
def test_who_walks_stays_on_the_ground(heading: float, start: tuple[float, float]) -> None:
    joints = walk(heading)
    found = placed(seen(joints, start, grow=0.05), field_of_view=65.2)
    lowest, expected = (each[:, FEET, 2].min(1) for each in (found, joints))
    assert np.abs(lowest - np.median(lowest) - expected + np.median(expected)).max() < 0.025
    np.testing.assert_array_equal(found[:, 0, :2], 0)
    turned = found - found[:, :1] - joints + joints[:, :1]  # upright, though the camera looks down
    assert np.linalg.norm(turned, axis=-1).max() < 0.06


@pytest.mark.parametrize("root", ["planar", "camera"])
def test_people_are_where_they_go(root: Any) -> None:
    joints, start = walk(1.2), (1.0, -8.0)
    found = placed(seen(joints, start, grow=0.05), root=root, field_of_view=65.2)
    true = joints + np.array([*start, 0.0])
    if root == "camera":
        true = (true - (0, 0, ELEVATION)) @ LOOK.T
    way, expected = found[-1, 0] - found[0, 0], true[-1, 0] - true[0, 0]
    assert np.linalg.norm(way - expected) < 0.1 * np.linalg.norm(expected)
    assert np.linalg.norm(found[:, 0] - true[:, 0], axis=-1).max() < 0.45
    if root == "planar":  # upright, though the camera looks down
        spine = found[:, 8] - found[:, 0]
        lean = np.rad2deg(np.arccos(spine[:, 2] / np.linalg.norm(spine, axis=-1)))
        assert lean.max() < 4


def test_feet_that_stand_do_not_slide() -> None:
    found = placed(seen(walk(1.2), (1.0, -8.0), grow=0.05), root="planar", field_of_view=65.2)
    speeds = np.linalg.norm(np.diff(found[:, FEET, :2], axis=0), axis=-1) * FRAME_RATE
    assert np.percentile(speeds, 20) < 0.05


def test_the_height_of_a_person_scales_their_way() -> None:
    outputs = seen(walk(0.3), (3.0, -6.0))
    ways = [np.ptp(placed(outputs, root="planar", height=height)[:, 0, :2], axis=0) for height in (1.6, 1.92)]
    np.testing.assert_allclose(ways[1], 1.2 * ways[0], rtol=0.02)


def test_who_has_no_identity_stands_in_each_frame() -> None:
    outputs = seen(walk(0.3, 20), (3.0, -6.0))
    for output in outputs:
        output.track_ids = None
    assert (placed(outputs)[..., 2].min(1) == 0).all()


def test_who_has_no_identity_is_not_where_the_camera_is() -> None:
    joints, start = walk(1.2, 20), (1.0, -8.0)
    outputs = seen(joints, start)
    for output in outputs:
        output.track_ids = np.array([-1])
    found = placed(outputs, root="camera", field_of_view=65.2)[:, 0]
    true = (joints[:, 0] + (*start, -ELEVATION)) @ LOOK.T
    assert np.linalg.norm(found - true, axis=-1).max() < 0.45


@pytest.mark.parametrize(
    "settings",
    [{"ground": "plane"}, {"root": "walk"}, {"height": 0}, {"focal_length": 500, "field_of_view": 60}],
)
def test_bad_settings_are_explained(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Placing(**settings)
