from __future__ import annotations

import numpy as np
import pytest

from rendered_people.activities import ACTIVITIES, random_activity
from rendered_people.anatomy import (
    ANGLE_INDEX,
    ANGLES,
    BONE_INDEX,
    HIGHEST_ANGLES,
    LOWEST_ANGLES,
    Body,
    limit_angles,
    place_bones,
    rotation,
)
from rendered_people.motion import HandTarget, Pose, solve_pose

UPRIGHT = np.eye(3)[None]


def pose_bones(pose: Pose, body: Body) -> tuple[np.ndarray, np.ndarray]:
    rotations, positions = place_bones(body.joints[None], solve_pose(pose, body.joints)[None], UPRIGHT)
    return rotations[0], positions[0]


def bend_degrees(positions: np.ndarray, *bones: str) -> float:
    first, middle, last = (positions[BONE_INDEX[bone]] for bone in bones)
    a, b = middle - first, last - middle
    return float(np.rad2deg(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


@pytest.mark.parametrize("name", ACTIVITIES)
def test_every_activity_respects_the_joints_limits_at_all_times(name):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        body = Body.random(rng)
        activity = random_activity(rng, body, name)
        assert activity.name == name
        for time in np.linspace(0, 9, 13):
            angles = solve_pose(activity.pose(float(time)), body.joints)
            assert (angles >= LOWEST_ANGLES).all() and (angles <= HIGHEST_ANGLES).all()
            _, positions = place_bones(body.joints[None], angles[None], UPRIGHT)
            for side in ("left", "right"):
                elbow = bend_degrees(positions[0], *(f"{side}_{bone}" for bone in ("upper_arm", "forearm", "hand")))
                knee = bend_degrees(positions[0], *(f"{side}_{bone}" for bone in ("thigh", "shank", "foot")))
                assert elbow < 150 and knee < 152


def test_knees_bend_backward_and_elbows_forward():
    body = Body()
    _, straight = pose_bones(Pose({}), body)
    _, bent = pose_bones(Pose({"knee": 60, "elbow": 60}), body)
    for side in ("left", "right"):
        foot, hand = BONE_INDEX[f"{side}_foot"], BONE_INDEX[f"{side}_hand"]
        assert bent[foot, 1] > straight[foot, 1] + 0.2  # y is to the back
        assert bent[hand, 1] < straight[hand, 1] - 0.15


def test_angles_of_the_right_side_mirror_those_of_the_left():
    body = Body()
    rng = np.random.default_rng(0)
    turned = {name.removeprefix("left_"): rng.uniform(-40, 40) for name in ANGLES if name.startswith("left_")}
    _, positions = pose_bones(Pose(turned), body)
    for name in ("forearm", "hand", "fingers", "shank", "foot", "toes"):
        left, right = (positions[BONE_INDEX[f"{side}_{name}"]] for side in ("left", "right"))
        np.testing.assert_allclose(left * (-1, 1, 1), right, atol=1e-9)


def test_limits_leave_little_of_an_arm_raised_backward():
    angles = np.zeros(len(ANGLES))
    angles[ANGLE_INDEX["left_arm_raise"]] = 170
    assert limit_angles(angles)[ANGLE_INDEX["left_arm_raise"]] == 170
    angles[ANGLE_INDEX["left_arm_plane"]] = 180
    assert limit_angles(angles)[ANGLE_INDEX["left_arm_raise"]] == 55


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("point", [(0.2, -0.35, 0.3), (0.1, -0.25, 0.6), (0.35, -0.2, 0.75), (0.0, -0.3, 0.2)])
def test_a_hand_gets_to_its_target(side, point):
    body = Body()
    bend = {"lumbar_flex": 20, "chest_twist": 15, "clavicle_up": 5}
    rotations, positions = pose_bones(Pose(bend, {side: HandTarget("chest", point)}), body)
    chest = BONE_INDEX["chest"]
    outward = np.array(point) * (1 if side == "left" else -1, 1, 1)
    wanted = positions[chest] + rotations[chest] @ (outward - body.joints[chest])
    np.testing.assert_allclose(positions[BONE_INDEX[f"{side}_hand"]], wanted, atol=1e-6)


def test_a_target_out_of_reach_is_pointed_at():
    body = Body()
    _, positions = pose_bones(Pose({}, {"left": HandTarget("chest", (0.2, -3.0, 0.5))}), body)
    shoulder, hand = positions[BONE_INDEX["left_upper_arm"]], positions[BONE_INDEX["left_hand"]]
    way, wanted = hand - shoulder, np.array([0.2, -3.0, 0.5]) - shoulder
    assert way @ wanted / np.linalg.norm(way) / np.linalg.norm(wanted) > 0.999


def test_rotations_are_right_handed_about_their_axis():
    np.testing.assert_allclose(rotation(2, 90.0) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotation(0, 90.0) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotation(1, 90.0) @ [0, 0, 1], [1, 0, 0], atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_limbs_have_human_proportions(seed):
    body = Body.random(np.random.default_rng(seed))
    joints = {name: body.joints[index] for name, index in BONE_INDEX.items()}

    def share(first: str, second: str) -> float:
        return float(np.linalg.norm(joints[first] - joints[second])) / body.stature

    assert 0.15 < share("left_upper_arm", "left_forearm") < 0.20
    assert 0.12 < share("left_forearm", "left_hand") < 0.17
    assert 0.20 < share("left_thigh", "left_shank") < 0.27
    assert 0.20 < share("left_shank", "left_foot") < 0.27
    assert 0.17 < share("left_upper_arm", "right_upper_arm") < 0.23
    assert 1.0 < body.stature < 2.05
