"""Measures of tracking, against numbers worked out by hand and TrackEval's on the same files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hfpose.cli import app
from hfpose.errors import InputError
from hfpose.evaluation.tracking import PairedFrame, evaluate_tracking
from hfpose.evaluation.tracking_files import Tracked, TrackingFile, evaluate_tracks, read_tracks
from hfpose.keypoints import load_schema

GOLDENS = Path(__file__).parents[1] / "goldens" / "tracking"
NAMES = list(load_schema("posetrack18").keypoint_names)


def paired(tracks: Sequence[Sequence[int]], similarity: float = 1.0) -> list[PairedFrame]:
    """Frames in which the person in place i is found as the track in place i; -1 where they are missed."""
    frames = []
    for row in tracks:
        found = np.flatnonzero(np.array(row) >= 0)
        alike = np.zeros((len(row), len(found)))
        alike[found, np.arange(len(found))] = similarity
        frames.append(PairedFrame(np.arange(len(row)), np.array(row)[found], alike))
    return frames


def test_a_person_whose_track_changes_halfway() -> None:
    metrics = evaluate_tracking([paired([[0, 1], [0, 1], [0, 2], [0, 2]])])
    # Of 8 matches 4 are of a person with one track, 4 of one with half of the frames each: (4 * 1 + 4 * 1/2) / 8.
    expected = {"DetA": 1, "AssA": 0.75, "HOTA": 0.75**0.5, "IDF1": 6 / 8, "MOTA": 1 - 1 / 8, "switches": 1}
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert (metrics["people"], metrics["identities"]) == (2, 3)


def test_hota_is_the_mean_over_thresholds() -> None:
    metrics = evaluate_tracking([paired([[0]] * 4, similarity=0.62)])
    assert metrics["DetA"] == metrics["AssA"] == pytest.approx(12 / 19)  # 0.05, 0.10, ..., 0.60 of 19


def test_misses_and_false_ones_count() -> None:
    frames = paired([[0], [-1], [0], [0]])
    frames[3] = PairedFrame(np.array([0]), np.array([0, 1]), np.array([[1.0, 0.2]]))
    metrics = evaluate_tracking([frames])
    assert (metrics["misses"], metrics["false"], metrics["switches"]) == (1, 1, 0)
    assert metrics["MOTA"] == pytest.approx(1 - 2 / 4)
    assert metrics["IDF1"] == pytest.approx(2 * 3 / (4 + 4))


def test_many_false_ones_make_mota_negative() -> None:
    frame = PairedFrame(np.array([0]), np.arange(3), np.zeros((1, 3)))
    assert evaluate_tracking([[frame]])["MOTA"] == -3


def test_sequences_add_up() -> None:
    first, second = paired([[0, 1]] * 3), paired([[0], [1]])
    metrics = evaluate_tracking([first, second])
    assert metrics["IDF1"] == pytest.approx(2 * (6 + 1) / (8 + 8))
    assert (metrics["people"], metrics["identities"]) == (3, 4)


def test_nothing_annotated_is_told() -> None:
    assert "annotated" in evaluate_tracking([]).missing["HOTA"]


def test_files_of_mot_give_the_numbers_of_trackeval() -> None:
    """What trackeval 1.3.0 says of them with MotChallenge2DBox: a distractor and a car are among the annotations."""
    annotations = read_tracks(GOLDENS / "mot_annotations.txt")
    metrics = evaluate_tracks(annotations, read_tracks(GOLDENS / "mot_results.txt"))["boxes"]
    expected = {
        "HOTA": 0.398606029229331,
        "DetA": 0.4401175486384603,
        "AssA": 0.3619852887323305,
        "IDF1": 0.4701492537313433,
        "MOTA": 0.3,
        "switches": 10,
        "misses": 23,
        "false": 51,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-12)


def mot(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("ending", ["0.9,-1,-1", "0.9,0,-1", "0,1,-1", "0.9,-1,-1,-1", "0.9"])
def test_all_lines_of_mot_results_are_of_people(tmp_path: Path, ending: str) -> None:
    data = read_tracks(mot(tmp_path / "gt.txt", "1,1,5,5,20,40,1,1,1", "2,1,5,5,20,40,1,1,1"))
    results = read_tracks(mot(tmp_path / "r.txt", f"1,7,5,5,20,40,{ending}", f"2,7,5,5,20,40,{ending}"), data)
    assert evaluate_tracks(data, results)["boxes"]["HOTA"] == pytest.approx(1)


def test_spaces_may_stand_for_the_commas_of_mot(tmp_path: Path) -> None:
    data = read_tracks(mot(tmp_path / "gt.txt", "1,1,5,5,20,40,1,1,1"))
    for line in ("1 7 5 5 20 40 0.9 -1 -1 -1", "1, 7, 5, 5, 20, 40, 0.9, -1, -1, -1", "\ufeff1\t7\t5\t5\t20\t40\t0.9"):
        results = read_tracks(mot(tmp_path / "r.txt", line), data)
        assert evaluate_tracks(data, results)["boxes"]["HOTA"] == pytest.approx(1)


def test_frames_that_are_numbered_otherwise_are_told(tmp_path: Path) -> None:
    data = read_tracks(mot(tmp_path / "gt.txt", "1,1,5,5,20,40,1,1,1", "2,1,5,5,20,40,1,1,1"))
    results = read_tracks(mot(tmp_path / "r.txt", "0,7,5,5,20,40,1", "1,7,5,5,20,40,1"), data)
    (notice,) = evaluate_tracks(data, results)["boxes"].notices
    assert notice.startswith("gt: results in 1 frames before or after")


def test_sequences_of_one_file_alone_are_told() -> None:
    one = {0: [Tracked(1, np.array([0.0, 0, 10, 10]))]}
    measured = evaluate_tracks(TrackingFile({"a": one, "b": one}), TrackingFile({"a": one, "c": one}))
    unknown, missing = measured["boxes"].notices
    assert unknown.endswith("do not have: c.") and missing.startswith("1 of 2 sequences have no results")


def pose(x: float) -> list[float]:
    """17 keypoints of x, y and visibility; the ears are not annotated, as in PoseTrack."""
    points = np.column_stack((x + 5 * np.arange(17.0), 10 * np.arange(17.0), np.ones(17)))
    points[3:5] = 0
    return points.flatten().tolist()


def posetrack(tmp_path: Path, name: str, annotations: list[dict[str, Any]], **image: Any) -> Path:
    """A file of two videos, of two frames and one."""
    images = [
        {"id": 10, "frame_id": 0, "vid_id": "a", "file_name": "a/0.jpg"},
        {"id": 11, "frame_id": 1, "vid_id": "a", "file_name": "a/1.jpg", **image},
        {"id": 20, "frame_id": 0, "vid_id": "b", "file_name": "b/0.jpg"},
    ]
    path = tmp_path / name
    categories = [{"id": 1, "name": "person", "keypoints": NAMES}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def person(image: int, track: int, x: float = 0.0) -> dict[str, Any]:
    return {"image_id": image, "track_id": track, "bbox": [x, 0, 80, 160], "keypoints": pose(x), "category_id": 1}


def test_posetrack_is_measured_by_boxes_and_by_poses(tmp_path: Path) -> None:
    data = read_tracks(posetrack(tmp_path, "data.json", [person(10, 0), person(11, 0), person(20, 0)]))
    found = [person(10, 5), person(11, 5, x=40), person(20, 5)]
    measured = evaluate_tracks(data, read_tracks(posetrack(tmp_path, "results.json", found), data))
    # Half a box aside: an IoU of a third, and keypoints that are far for their sigmas.
    assert measured["boxes"]["IDF1"] == measured["poses"]["IDF1"] == pytest.approx(2 / 3)
    assert measured["boxes"]["DetA"] > measured["poses"]["DetA"]
    assert measured["boxes"]["people"] == 2


def test_oks_is_that_of_coco(tmp_path: Path) -> None:
    moved = person(10, 1)
    moved["keypoints"][0] += 2.0
    data = read_tracks(posetrack(tmp_path, "data.json", [person(10, 0)]))
    measured = evaluate_tracks(data, read_tracks(posetrack(tmp_path, "results.json", [moved]), data))
    nose = np.exp(-(2.0**2) / (2 * (2 * 0.026) ** 2 * 0.53 * 80 * 160))
    oks = (14 + nose) / 15
    assert measured["poses"]["DetA"] == pytest.approx((np.arange(0.05, 0.99, 0.05) <= oks).mean())


def test_frames_that_are_not_labeled_do_not_count(tmp_path: Path) -> None:
    data = read_tracks(posetrack(tmp_path, "data.json", [person(10, 0)], is_labeled=False))
    results = posetrack(tmp_path, "results.json", [person(10, 0), person(11, 0, x=500)])
    assert evaluate_tracks(data, read_tracks(results, data))["boxes"]["IDF1"] == 1


def test_nothing_is_wrong_in_an_ignored_region(tmp_path: Path) -> None:
    region = {"ignore_regions_x": [[400, 700, 700, 400]], "ignore_regions_y": [[0, 0, 300, 300]]}
    data = read_tracks(posetrack(tmp_path, "data.json", [person(11, 0)], **region))
    found = [person(11, 0), person(11, 1, x=500), person(11, 2, x=900)]
    measured = evaluate_tracks(data, read_tracks(posetrack(tmp_path, "results.json", found), data))
    assert measured["boxes"]["false"] == 1


def test_own_results_of_a_video_are_measured(tmp_path: Path) -> None:
    """A frame is told by its number; who has no identity is not tracked."""
    data = tmp_path / "gt.txt"
    data.write_text("1,1,0,0,80,160,1,1,1\n2,1,0,0,80,160,1,1,1\n")
    instances = [{"track_id": 7, "bbox": [[0, 0, 80, 160]]}, {"track_id": -1, "bbox": [[500, 0, 580, 160]]}]
    results = tmp_path / "clip.json"
    results.write_text(json.dumps([{"frame_id": frame, "instances": instances} for frame in range(2)]))
    output = tmp_path / "metrics.json"
    arguments = ["eval-tracking", "--data", data, "--results", results, "--output", output]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    assert "IDF1    1.0000" in result.output
    assert json.loads(output.read_text())["boxes"]["HOTA"] == pytest.approx(1)


def test_an_identity_that_is_twice_in_a_frame_counts_once(tmp_path: Path) -> None:
    data = read_tracks(posetrack(tmp_path, "data.json", [person(10, 0)]))
    results = read_tracks(posetrack(tmp_path, "results.json", [person(10, 3), person(10, 3, x=300)]), data)
    assert results.left_out.total == 1
    assert evaluate_tracks(data, results)["boxes"]["false"] == 0


@pytest.mark.parametrize("content", ['{"a": 1}', "3", '[{"image_id": 3}]'])
def test_other_files_are_explained(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"images"):
        read_tracks(path)


def test_odd_entries_of_posetrack_do_no_harm(tmp_path: Path) -> None:
    path = posetrack(tmp_path, "data.json", [person(10, 0), person(11, 0) | {"track_id": [1]}])
    content = json.loads(path.read_text())
    content["images"] += ["no image", content["images"][0] | {"id": "text", "frame_id": None}]
    content["categories"] = ["person", *content["categories"]]
    path.write_text(json.dumps(content))
    data = read_tracks(path)
    assert len(data.instances) == 1 and data.keypoint_names is not None
    assert data.left_out.counts == {"instance without track_id": 1}


def test_a_line_of_mot_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "sequence.txt"
    path.write_text("1,1,2,3,4,5\nnan,1,2,3,4,5\n")
    found = read_tracks(path)
    assert len(found.instances) == 1 and found.left_out.total == 1


def test_files_without_people_are_measured(tmp_path: Path) -> None:
    data = read_tracks(posetrack(tmp_path, "data.json", []))
    assert evaluate_tracks(data, data)["boxes"].missing["HOTA"] == "no instance is annotated"
