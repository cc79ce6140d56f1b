from __future__ import annotations

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.media.bvh import bvh_text
from hfpose.media.skeleton import skeleton_motion
from motion_files import read_bvh
from rendered_people.activities import ACTIVITIES
from rendered_people.motions import look_at, random_motion

NAMES = load_schema("h36m").keypoint_names


def figure(activity: str = "dance", frames: int = 12, seed: int = 3) -> np.ndarray:
    """(T, 17, 3) joints of somebody whose bones keep their length."""
    views = look_at(random_motion(seed, frames, activity), [0], frames, np.random.default_rng(seed))
    return views.joints[0]


def bvh(keypoints: np.ndarray, frame_rate: float = 25) -> str:
    return bvh_text({"": skeleton_motion(keypoints, NAMES, "h36m")}, frame_rate=frame_rate)


def read_back(text: str) -> np.ndarray:
    """(T, 17, 3) joints of a file, in the frame of 3D results."""
    joints = read_bvh(text).joints()
    points = np.stack([joints[name] for name in NAMES], axis=1)
    return np.stack((-points[..., 0], points[..., 2], points[..., 1]), axis=-1)


@pytest.mark.parametrize("activity", ACTIVITIES)
def test_rotations_give_the_joints_back(activity: str) -> None:
    keypoints = figure(activity)
    assert np.abs(read_back(bvh(keypoints)) - keypoints).max() < 1e-4


def test_bones_keep_their_median_length_where_the_track_changes_them() -> None:
    keypoints = figure(frames=9)
    scale = np.array([0.9, 0.95, 1, 1, 1.02, 1, 1.1, 1.2, 1])[:, None, None]
    found = read_back(bvh(keypoints * scale))
    knee, foot = NAMES.index("left_knee"), NAMES.index("left_foot")
    shank = np.linalg.norm(found[:, foot] - found[:, knee], axis=-1)
    assert shank == pytest.approx(np.linalg.norm(keypoints[0, foot] - keypoints[0, knee]), abs=1e-4)
    directions = found[:, foot] - found[:, knee]
    wanted = keypoints[:, foot] - keypoints[:, knee]
    assert np.abs(directions - wanted).max() < 1e-4


@pytest.mark.parametrize("hidden", [{"right_wrist": 8}, {"right_wrist": 8, "left_wrist": 12}, {"left_wrist": 12}])
def test_bones_are_as_long_as_where_both_ends_are_seen(hidden: dict[str, int]) -> None:
    given = figure(frames=12)
    keypoints = given.copy()
    for name, frames in hidden.items():
        keypoints[:frames, NAMES.index(name)] = np.nan
    known = np.isfinite(keypoints)
    assert np.abs(read_back(bvh(keypoints)) - given)[known].max() < 1e-4


def test_rest_pose_is_upright_with_arms_stretched_out() -> None:
    keypoints = figure()
    file = read_bvh(bvh(keypoints))
    file.frames = np.zeros((1, file.frames.shape[1]))
    joints = {name: place[0] for name, place in file.joints().items()}
    assert joints["head"][1] > joints["thorax"][1] > joints["root"][1] > joints["left_foot"][1]
    assert joints["left_wrist"][0] > joints["left_shoulder"][0] > 0 > joints["right_wrist"][0]
    assert joints["left_wrist"][1] == pytest.approx(joints["left_shoulder"][1])
    upper_arm = np.linalg.norm(joints["left_elbow"] - joints["left_shoulder"])
    elbow, shoulder = NAMES.index("left_elbow"), NAMES.index("left_shoulder")
    assert upper_arm == pytest.approx(np.linalg.norm(keypoints[0, elbow] - keypoints[0, shoulder]), abs=1e-5)


def test_somebody_who_looks_at_the_camera_looks_along_z() -> None:
    keypoints = np.zeros((1, 17, 3))
    keypoints[0, NAMES.index("neck_base")] = 0, 0.2, 0.6  # toward the camera
    keypoints[0, NAMES.index("left_shoulder")] = -0.2, 0, 0.5  # right in the image
    keypoints[0, NAMES.index("right_shoulder")] = 0.2, 0, 0.5
    keypoints[0, NAMES.index("thorax")] = 0, 0, 0.5
    joints = read_bvh(bvh(keypoints)).joints()
    assert joints["neck_base"][0] == pytest.approx([0, 0.6, 0.2], abs=1e-5)
    assert joints["left_shoulder"][0] == pytest.approx([0.2, 0.5, 0], abs=1e-5)


def test_missing_frames_hold_the_pose_before_them() -> None:
    keypoints = figure(frames=6)
    keypoints[[0, 3, 4]] = np.nan
    found = read_back(bvh(keypoints))
    assert np.abs(found - keypoints[[1, 1, 2, 2, 2, 5]]).max() < 1e-4


def test_channels_are_those_that_blender_and_others_write() -> None:
    text = bvh(figure(frames=3), 30)
    file = read_bvh(text)
    assert file.root.channels == [f"{axis}position" for axis in "XYZ"] + [f"{axis}rotation" for axis in "ZXY"]
    assert file.root.children[0].channels == ["Zrotation", "Xrotation", "Yrotation"]
    assert file.frame_time == pytest.approx(1 / 30)
    assert len(file.frames) == 3 and "Frames: 3\n" in text


def test_angles_do_not_jump() -> None:
    """Somebody who turns all the way around: no angle goes from 180 to -180 degrees."""
    pose = figure("stand", frames=1)[0]
    turns = np.linspace(0, 4 * np.pi, 100)
    cosine, sine, zero, one = np.cos(turns), np.sin(turns), np.zeros(100), np.ones(100)
    matrices = np.stack((cosine, -sine, zero, sine, cosine, zero, zero, zero, one), axis=-1).reshape(-1, 3, 3)
    keypoints = pose @ matrices.transpose(0, 2, 1)
    file = read_bvh(bvh(keypoints))
    assert np.abs(np.diff(file.frames[:, :6], axis=0)).max() < 20
    assert np.abs(read_back(bvh(keypoints)) - keypoints).max() < 1e-4


def test_bones_that_point_against_their_rest_or_have_no_length() -> None:
    keypoints = figure("stand", frames=2)
    knee, foot, head, neck = (NAMES.index(name) for name in ("left_knee", "left_foot", "head", "neck_base"))
    hip = NAMES.index("left_hip")
    keypoints[1, foot] = keypoints[1, knee] + (keypoints[1, hip] - keypoints[1, knee])  # folded onto the thigh
    keypoints[:, head] = keypoints[:, neck]
    found = read_back(bvh(keypoints))
    assert np.isfinite(found).all()
    assert np.abs(found[:, head] - keypoints[:, head]).max() < 1e-4
    back = found[1, foot] - found[1, knee]
    thigh = keypoints[1, hip] - keypoints[1, knee]
    assert back @ thigh == pytest.approx(np.linalg.norm(back) * np.linalg.norm(thigh), rel=1e-4)
