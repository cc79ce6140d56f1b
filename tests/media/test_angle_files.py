from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from hfpose.keypoints import load_schema
from hfpose.keypoints.human36m import keypoints_to_h36m
from hfpose.media.motions import MotionFormat
from hfpose.media.tracks import save_motion
from hfpose.results import PoseOutput
from walking import FRAME_RATE, stepping_feet, walking_pose


def walk(frames: int = 120) -> np.ndarray:
    """Keypoints (T, 17, 3) of COCO of a person who walks 1.2 m/s toward the camera, in the axes of 3D results."""
    pose = walking_pose(frames, 1.75, 0.0, np.pi / 2) @ np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
    return pose + np.arange(frames)[:, None, None] / FRAME_RATE * 1.2 * np.array([0, 1.0, 0])


def results(keypoints: np.ndarray, schema: str = "coco") -> list[PoseOutput]:
    count = keypoints.shape[1]
    return [
        PoseOutput(
            pose[None],
            np.ones((1, count)),
            track_ids=[2],
            schema=load_schema(schema),
            frame_index=i,
            timestamp=i / FRAME_RATE,
        )
        for i, pose in enumerate(keypoints)
    ]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_angles_of_a_walk(tmp_path: Path) -> None:
    save_motion(results(walk()), tmp_path / "walk", "angles")
    rows = read(tmp_path / "walk" / "walk_track2.csv")
    assert len(rows) == 120 and float(rows[30]["time"]) == pytest.approx(1)
    swing = np.array([float(row["left_hip_flexion"]) for row in rows])
    assert swing.max() == pytest.approx(np.rad2deg(0.5), abs=5) and swing.min() < -20


def stepping_joints(stride: float, period: float, stance: float) -> np.ndarray:
    """Joints (120, 17, 3) of Human3.6M of a person whose feet stand and step."""
    feet, _ = stepping_feet(np.arange(120) / FRAME_RATE, stride, period, stance)
    joints = np.zeros((120, 17, 3))
    joints += feet.mean(1, keepdims=True) * (0, 1, 0) + (0, 0, 0.9)
    joints[:, [6, 3]] = feet
    return joints


@pytest.mark.parametrize(("stride", "period", "stance"), [(1.2, 1.0, 0.6), (2.4, 0.72, 0.35)])
def test_steps_of_who_walks_and_runs(stride: float, period: float, stance: float, tmp_path: Path) -> None:
    save_motion(results(stepping_joints(stride, period, stance - 0.1), "h36m"), tmp_path / "walk", "angles")
    strides = [row for row in read(tmp_path / "walk" / "gait.csv") if row["stride_time"]]
    assert len(strides) >= 4 and {row["foot"] for row in strides} == {"left", "right"}
    for row in strides:
        assert float(row["stride_time"]) == pytest.approx(period, abs=0.04)
        assert float(row["cadence"]) == pytest.approx(120 / period, rel=0.06)
        assert float(row["stride_length"]) == pytest.approx(stride, rel=0.06)
        assert float(row["stance"]) == pytest.approx(stance, abs=0.15)


def test_strides_in_which_a_person_is_not_seen_are_empty(tmp_path: Path) -> None:
    joints = stepping_joints(1.2, 1.0, 0.5)
    joints[50:58] = np.nan
    save_motion(results(joints, "h36m"), tmp_path / "walk", "angles")
    rows = read(tmp_path / "walk" / "gait.csv")
    strides = [row for row in rows if row["stride_time"]]
    assert strides and all(float(row["stride_time"]) == pytest.approx(1, abs=0.04) for row in strides)
    times = {row[name] for row in rows for name in ("contact", "toe_off")}
    assert not times & {f"{49 / FRAME_RATE:.4f}", f"{58 / FRAME_RATE:.4f}"}


def test_a_foot_that_seems_to_hop_for_an_instant_has_no_stride_of_it(tmp_path: Path) -> None:
    joints = stepping_joints(1.2, 1.0, 0.5)
    joints[38:41, 6] += (0, 0.2, 0.3)
    save_motion(results(joints, "h36m"), tmp_path / "walk", "angles")
    strides = [float(row["stride_time"]) for row in read(tmp_path / "walk" / "gait.csv") if row["stride_time"]]
    assert strides == pytest.approx([1] * len(strides), abs=0.04)


def test_a_foot_that_stands_all_the_time_has_no_row(tmp_path: Path) -> None:
    joints = stepping_joints(1.2, 1.0, 0.5)
    joints[:, 3] = joints[0, 3] * (1, 1, 0)
    save_motion(results(joints, "h36m"), tmp_path / "walk", "angles")
    assert {row["foot"] for row in read(tmp_path / "walk" / "gait.csv")} == {"left"}


@pytest.mark.parametrize(("kind", "column"), [("angles", "pelvis_turn"), ("mot", "pelvis_rotation")])
def test_who_turns_around_goes_on_beyond_half_a_turn(kind: MotionFormat, column: str, tmp_path: Path) -> None:
    turn = np.linspace(0, 1.5 * np.pi, 120)
    turns = np.array([[np.cos(turn), -np.sin(turn), 0 * turn], [np.sin(turn), np.cos(turn), 0 * turn]])
    turns = np.concatenate((turns, np.broadcast_to([[[0.0], [0], [1]]], (1, 3, 120)))).transpose(2, 0, 1)
    keypoints = np.einsum("tij,tkj->tki", turns, walk() - walk()[:, 11:13].mean(1, keepdims=True))
    save_motion(results(keypoints), tmp_path / "walk", kind)
    lines = (tmp_path / "walk" / f"walk_track2.{'csv' if kind == 'angles' else kind}").read_text().splitlines()
    rows = [line.replace("\t", ",").split(",") for line in lines]
    header = next(row for row in rows if column in row)
    turned = [float(row[header.index(column)]) for row in rows[rows.index(header) + 1 :]]
    assert np.abs(np.diff(turned)).max() < 30 and abs(turned[-1] - turned[0]) == pytest.approx(270, abs=30)


def test_who_stays_on_the_spot_has_no_steps(tmp_path: Path) -> None:
    body, _ = keypoints_to_h36m(walk(), None, "coco")
    save_motion(results(body - body[:, :1] * (1, 1, 0), "h36m"), tmp_path / "walk", "angles")
    assert [path.name for path in (tmp_path / "walk").iterdir()] == ["walk_track2.csv"]


def test_angles_of_2d_results(tmp_path: Path) -> None:
    save_motion(results(walk()[..., 1:] * (100, -100)), tmp_path / "side", "angles")
    (row, *_) = read(tmp_path / "side" / "side_track2.csv")
    assert "left_knee_flexion" in row and "left_hip_abduction" not in row


def test_mot_is_read_by_its_header(tmp_path: Path) -> None:
    keypoints = walk(10)
    keypoints[4, 13:] = np.nan  # the legs below the hips
    save_motion(results(keypoints), tmp_path / "walk", "mot")
    lines = (tmp_path / "walk" / "walk_track2.mot").read_text().splitlines()
    end = lines.index("endheader")
    header = dict(line.split("=") for line in lines[1:end])
    names = lines[end + 1].split("\t")
    rows = np.array([[float(value) for value in line.split("\t")] for line in lines[end + 2 :]])
    assert rows.shape == (10, len(names)) == (int(header["nRows"]), int(header["nColumns"]))
    assert header["inDegrees"] == "yes" and names[0] == "time" and {"hip_flexion_r", "pelvis_tx"} <= set(names)
    assert np.isfinite(rows).all()  # OpenSim reads no further than to a value that is missing
    knee = rows[:, names.index("knee_angle_r")]
    assert knee[4] == pytest.approx((knee[3] + knee[5]) / 2, abs=1e-5)
    gaps = read(tmp_path / "walk" / "gaps.csv")
    assert {"person": "track2", "keypoint": "knee_angle_r", "first_frame": "4", "last_frame": "4"} in gaps
    assert rows[:, names.index("pelvis_tx")] == pytest.approx(keypoints[:, 11:13, 1].mean(1), abs=1e-5)
