"""RTMW3D in the 3D pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hfpose
from hfpose.errors import ConfigError, InputError
from hfpose.hub.zoo import get_entry
from hfpose.media.tracks import save_motion
from motion_files import read_bvh, read_glb, read_trc
from small_zoo import save_small_model

BOXES = [[10, 10, 120, 180], [100, 20, 250, 190]]
HIPS = [11, 12]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(get_entry("wholebody3d"), tmp_path_factory.mktemp("models") / "rtmw3d")


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Any:
    return hfpose.pipeline("pose-estimation-3d", model=folder, detector="whole_image", device="cpu")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (200, 260, 3), dtype=np.uint8)


def test_people_come_in_meters_without_a_lifter(pipe: Any, image: np.ndarray) -> None:
    people = pipe(image, boxes=BOXES)
    assert isinstance(pipe, hfpose.WholeBody3DPipeline)
    assert people.keypoints.shape == (2, 133, 3)
    assert people.keypoints_2d.shape == (2, 133, 2)
    assert people.schema.name == "coco_wholebody"
    assert (people.keypoints[..., 2].min(1) == 0).all()


def test_hips_are_the_origin(pipe: Any, image: np.ndarray) -> None:
    people = pipe(image, boxes=BOXES, ground=None)
    np.testing.assert_allclose(people.keypoints[:, HIPS].mean(1), 0, atol=1e-5)
    camera = pipe(image, boxes=BOXES, do_root_relative=False, axes="camera", root_depth=2.0)
    np.testing.assert_allclose(
        people.keypoints[..., 1],
        -(camera.keypoints[..., 2] - camera.keypoints[:, HIPS, 2].mean(1, keepdims=True)),
        atol=1e-4,
    )


def test_camera_scales_what_lies_across_the_view(pipe: Any, image: np.ndarray) -> None:
    options = {"boxes": BOXES, "do_root_relative": False, "axes": "camera"}
    near, far = (pipe(image, focal_length=focal, **options).keypoints for focal in (500, 1000))
    np.testing.assert_allclose(near[..., :2], 2 * far[..., :2], atol=1e-4)
    np.testing.assert_allclose(near[..., 2], far[..., 2])


def test_modes_of_the_reference(pipe: Any, image: np.ndarray) -> None:
    flat = pipe(image, boxes=BOXES, reference_mode="2d")
    np.testing.assert_array_equal(flat.keypoints, flat.keypoints_2d)
    cells = pipe(image, boxes=BOXES, reference_mode="vis").keypoints
    assert cells[..., 0].max() <= 288 and cells[..., 1].max() <= 384 and cells[..., 2].max() <= 288
    assert pipe(image, boxes=BOXES, reference_mode="3d").keypoints.shape == (2, 133, 3)
    with pytest.raises(InputError, match="reference_mode"):
        pipe(image, boxes=BOXES, reference_mode="3d", focal_length=500)


def test_results_are_drawn_and_empty_ones_too(pipe: Any, image: np.ndarray) -> None:
    people = pipe(image, boxes=BOXES, return_visualization=True)
    assert people.visualization.shape[0] == 200 and people.visualization.shape[1] > 260
    empty = pipe(image, boxes=[], return_visualization=True)
    assert empty.keypoints.shape == (0, 133, 3)
    assert (empty.axes, empty.units) == (people.axes, people.units) == ("world", "meters")


def test_frames_can_be_tracked(pipe: Any, image: np.ndarray) -> None:
    results = list(pipe([image, image], boxes=[BOXES, BOXES], track=True))
    assert [output.track_ids.tolist() for output in results] == [[0, 1], [0, 1]]


def test_folder_gives_back_the_same_pipeline(pipe: Any, image: np.ndarray, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    again = hfpose.pipeline("pose-estimation-3d", model=tmp_path, device="cpu")
    assert isinstance(again, hfpose.WholeBody3DPipeline)
    np.testing.assert_array_equal(again(image).keypoints, pipe(image).keypoints)


def test_all_points_go_into_files_of_motions(pipe: Any, image: np.ndarray, tmp_path: Path) -> None:
    found = pipe(image, boxes=BOXES)
    ahead = np.array([0, 0.1, 0], np.float32)  # toward the camera, which is z of the files
    clip = [
        replace(found, keypoints=found.keypoints + i * ahead, track_ids=[3, 8], frame_index=i, timestamp=i / 25)
        for i in range(4)
    ]
    for kind in ("trc", "bvh", "glb"):
        save_motion(clip, tmp_path / kind / "clip", kind)
    _, names, rows = read_trc((tmp_path / "trc" / "clip" / "clip_track8.trc").read_text())
    markers = rows[:, 2:].reshape(4, -1, 3) / 1000
    hips = found.keypoints[1, HIPS].mean(0)[[1, 2, 0]]  # x and z of a TRC are to the front and to the right
    np.testing.assert_allclose(markers[0, names.index("Hip")], hips, atol=1e-5)
    np.testing.assert_allclose(markers[0, names.index("LIndex")], found.keypoints[1, 96][[1, 2, 0]], atol=1e-5)
    file = read_bvh((tmp_path / "bvh" / "clip" / "clip_track8.bvh").read_text())
    times, people = read_glb((tmp_path / "glb" / "clip" / "clip_track8.glb").read_bytes())
    (of_glb,) = people.values()
    assert file.frame_time == pytest.approx(1 / 25) and times[-1] - times[0] == pytest.approx(3 / 25)
    for joints in (file.joints(), of_glb):
        assert {"LeftToeBase", "RightHandThumb4", "LeftHandPinky1"} <= set(joints)
        np.testing.assert_allclose(joints["Hips"] - joints["Hips"][0], np.arange(4)[:, None] * (0, 0, 0.1), atol=1e-5)
        np.testing.assert_allclose(joints["Hips"][0], hips[[2, 1, 0]], atol=1e-5)


def test_a_lifter_has_no_use(folder: Path) -> None:
    with pytest.raises(ConfigError, match="lifter"):
        hfpose.pipeline("pose-estimation-3d", model=folder, lifter="human3d", detector="whole_image")


def test_mmposes_inferencer_takes_it(folder: Path, image: np.ndarray) -> None:
    from hfpose.compat.mmpose import MMPoseInferencer

    (result,) = MMPoseInferencer(pose3d=str(folder), det_model="whole_image", device="cpu")(image)
    (people,) = result["predictions"]
    assert np.shape(people[0]["keypoints"]) == (133, 3)
