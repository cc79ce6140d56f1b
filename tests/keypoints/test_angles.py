from __future__ import annotations

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.keypoints.angles import joint_angles, opensim_coordinates

H36M = load_schema("h36m")
# x right of a person who faces the camera, y forward, z up.
STANDING = {
    "root": (0, 0, 1),
    "right_hip": (0.1, 0, 1),
    "right_knee": (0.1, 0, 0.55),
    "right_foot": (0.1, 0, 0.1),
    "left_hip": (-0.1, 0, 1),
    "left_knee": (-0.1, 0, 0.55),
    "left_foot": (-0.1, 0, 0.1),
    "spine": (0, 0, 1.25),
    "thorax": (0, 0, 1.5),
    "neck_base": (0, 0, 1.6),
    "head": (0, 0, 1.7),
    "left_shoulder": (-0.2, 0, 1.5),
    "left_elbow": (-0.2, 0, 1.2),
    "left_wrist": (-0.2, 0, 0.95),
    "right_shoulder": (0.2, 0, 1.5),
    "right_elbow": (0.2, 0, 1.2),
    "right_wrist": (0.2, 0, 0.95),
}


def angles(turned: float = 0.0, **moved: tuple[float, float, float]) -> dict[str, float]:
    """Of the standing person with some keypoints elsewhere, turned to the left by degrees."""
    cosine, sine = np.cos(np.deg2rad(turned)), np.sin(np.deg2rad(turned))
    turn = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    points = np.array([(STANDING | moved)[name] for name in H36M.keypoint_names], float) @ turn.T
    return {name: float(value[0]) for name, value in joint_angles(points[None], H36M).items()}


@pytest.mark.parametrize("turned", [0, 100])
def test_who_stands_upright_has_angles_of_zero(turned: float) -> None:
    found = angles(turned)
    assert found.pop("pelvis_turn") == pytest.approx(turned)
    assert np.abs(list(found.values())).max() < 1e-6 and len(found) == 7 + 2 * 6


@pytest.mark.parametrize("turned", [0, 100])
@pytest.mark.parametrize(
    ("name", "expected", "moved"),
    [
        ("right_hip_flexion", 45, {"right_knee": (0.1, 0.3, 0.7)}),
        ("left_hip_flexion", -45, {"left_knee": (-0.1, -0.3, 0.7)}),
        ("right_hip_abduction", 45, {"right_knee": (0.4, 0, 0.7)}),
        ("left_hip_abduction", 45, {"left_knee": (-0.4, 0, 0.7)}),
        ("right_knee_flexion", 90, {"right_foot": (0.1, -0.4, 0.55)}),
        ("left_shoulder_flexion", 90, {"left_elbow": (-0.2, 0.3, 1.5)}),
        ("left_shoulder_abduction", 90, {"left_elbow": (-0.5, 0, 1.5)}),
        ("right_elbow_flexion", 90, {"right_wrist": (0.2, 0.3, 1.2)}),
        ("neck_flexion", 45, {"head": (0, 0.2, 1.7)}),
        ("neck_side", 45, {"head": (0.2, 0, 1.7)}),
        ("pelvis_side", 45, {"right_hip": (0.1, 0, 0.9), "left_hip": (-0.1, 0, 1.1)}),
        ("trunk_turn", 90, {"right_shoulder": (0, 0.2, 1.5), "left_shoulder": (0, -0.2, 1.5)}),
        ("pelvis_tilt", 45, {"spine": (0, 0.2, 1.2)}),
        ("trunk_flexion", 45, {"thorax": (0, 0.5, 1.5)}),
        ("trunk_side", 45, {"thorax": (0.5, 0, 1.5)}),
    ],
)
def test_signs(turned: float, name: str, expected: float, moved: dict[str, tuple[float, float, float]]) -> None:
    assert angles(turned, **moved)[name] == pytest.approx(expected)


@pytest.mark.parametrize("facing", [1, -1])
def test_flexions_of_who_is_seen_from_the_side_in_2d(facing: int) -> None:
    schema = load_schema("halpe26")
    moved = STANDING | {"right_knee": (0.1, 0.3, 0.7), "neck_base": (0, 0.1, 1.6)}
    names = {
        "hip": "root",
        "neck": "thorax",
        "nose": "neck_base",
        "left_ankle": "left_foot",
        "right_ankle": "right_foot",
    }
    keypoints = np.full((2, 26, 2), np.nan)
    for index, name in enumerate(schema.keypoint_names):
        if (place := moved.get(names.get(name, name))) is not None:
            keypoints[:, index] = (facing * place[1] * 100, -place[2] * 100)
    for side in ("left", "right"):
        ankle = keypoints[:, schema.index(f"{side}_ankle")]
        keypoints[:, schema.index(f"{side}_big_toe")] = ankle + np.array([facing * 10, 10])
    found = joint_angles(keypoints, schema)
    assert found["right_hip_flexion"] == pytest.approx([45, 45]) and found["left_hip_flexion"] == pytest.approx([0, 0])
    assert found["left_ankle_flexion"] == pytest.approx([-45, -45])  # the toe is as far below as before the ankle
    assert not any(name.endswith(("_abduction", "_side", "_turn")) for name in found)


def test_missing_keypoints_leave_other_angles() -> None:
    found = angles(right_foot=(np.nan, np.nan, np.nan))
    assert np.isnan(found["right_knee_flexion"]) and found["left_knee_flexion"] == 0


def test_opensim_counts_adduction_and_extension() -> None:
    points = np.array(
        [(STANDING | {"right_knee": (0.4, 0, 0.7), "thorax": (0, 0.5, 1.5)})[n] for n in H36M.keypoint_names]
    )
    found = opensim_coordinates(joint_angles(points[None].astype(float), H36M))
    assert found["hip_adduction_r"][0] == pytest.approx(-45) and found["lumbar_extension"][0] == pytest.approx(-45)
    assert "ankle_angle_r" not in found and len(found) == 6 + 2 * 6


def test_other_shapes_are_explained() -> None:
    with pytest.raises(InputError, match=r"\(T, K, 2\)"):
        joint_angles(np.zeros((17, 3)), H36M)
