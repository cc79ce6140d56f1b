from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.openpose_json import openpose_json
from hfpose.media.prediction_formats import CocoWriter, CsvWriter, OpenPoseWriter
from hfpose.results import PoseOutput


def image(name: str = "000000000785", index: int = 0) -> Frame:
    return Frame(MediaItem(index, "image", name))


def clip_frame(number: int, name: str = "clip", index: int = 0) -> Frame:
    return Frame(MediaItem(index, "video", name), frame_index=number)


def person(schema: str = "coco", people: int = 1, **fields: Any) -> PoseOutput:
    """Keypoint k of person n at (100 n + k, 100 n + k + 0.5) with score 0.5 + k / 1000."""
    keypoint_schema = load_schema(schema)
    k = np.arange(keypoint_schema.num_keypoints)
    x = 100.0 * np.arange(people)[:, None] + k
    defaults = {"keypoints": np.stack([x, x + 0.5], axis=2), "keypoint_scores": np.tile(0.5 + k / 1000, (people, 1))}
    return PoseOutput(**{**defaults, "schema": keypoint_schema, **fields})


# COCO


def coco_rows(path: Path, frame: Frame, output: PoseOutput) -> list[dict[str, Any]]:
    writer = CocoWriter(path)
    writer.write(frame, output)
    writer.close()
    return json.loads(path.read_text())


def test_coco_rows(tmp_path: Path) -> None:
    output = person(people=2, boxes=np.ones((2, 4)), box_scores=np.array([0.9, 0.5]))
    first, second = coco_rows(tmp_path / "r.json", image(), output)
    assert (first["image_id"], first["category_id"], first["file_name"]) == (785, 1, "000000000785")
    assert first["keypoints"][:6] == pytest.approx([0, 0.5, 0.5, 1, 1.5, 0.501])
    assert len(second["keypoints"]) == 51 and second["keypoints"][0] == 100
    assert (first["score"], second["score"]) == pytest.approx((0.9 * 0.508, 0.5 * 0.508))


def test_coco_score_counts_visible_keypoints_only(tmp_path: Path) -> None:
    scores = np.full((1, 17), 0.1)
    scores[0, :2] = 0.6, 0.8
    (row,) = coco_rows(tmp_path / "r.json", image(), person(keypoint_scores=scores))
    assert row["score"] == pytest.approx(0.7)
    (row,) = coco_rows(tmp_path / "r.json", image(), person(keypoint_scores=np.zeros((1, 17))))
    assert row["score"] == 0


def test_coco_image_ids(tmp_path: Path) -> None:
    assert coco_rows(tmp_path / "r.json", image("street"), person())[0]["image_id"] == "street"
    assert coco_rows(tmp_path / "r.json", clip_frame(12), person())[0]["image_id"] == "clip_000012"


def test_coco_without_people(tmp_path: Path) -> None:
    assert coco_rows(tmp_path / "r.json", image(), person(people=0)) == []


def test_coco_takes_the_2d_keypoints_of_3d_results(tmp_path: Path) -> None:
    flat = person().keypoints
    output = person(keypoints=np.zeros((1, 17, 3)), keypoints_2d=flat)
    (row,) = coco_rows(tmp_path / "r.json", image(), output)
    assert row["keypoints"][3:5] == [1, 1.5]
    with pytest.raises(InputError, match="3D only"):
        coco_rows(tmp_path / "r.json", image(), person(keypoints=np.zeros((1, 17, 3))))


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    (row,) = coco_rows(tmp_path / "r.json", image(), person(keypoints=np.full((1, 17, 2), np.nan)))
    assert row["keypoints"][:2] == [0, 0]


# CSV


def csv_rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_csv_has_a_row_for_each_keypoint(tmp_path: Path) -> None:
    writer = CsvWriter(tmp_path / "r.csv")
    writer.write(image('with, comma and "quotes"'), person(people=2, track_ids=np.array([7, 8])))
    writer.write(clip_frame(3, index=1), person(schema="coco_wholebody_hand", keypoints=np.ones((1, 21, 3))))
    writer.close()
    rows = csv_rows(tmp_path / "r.csv")
    assert len(rows) == 2 * 17 + 21
    assert {name: value for name, value in rows[18].items() if name in CsvWriter.HEADER[:10]} == {
        "name": 'with, comma and "quotes"',
        "frame_id": "",
        "instance": "1",
        "track_id": "8",
        "keypoint": "left_eye",
        "x": "101.0",
        "y": "101.5",
        "z": "",
        "score": rows[18]["score"],
        "timestamp": "",
    }
    assert float(rows[18]["score"]) == pytest.approx(0.501)
    assert (rows[34]["frame_id"], rows[34]["z"], rows[34]["track_id"], rows[34]["keypoint"]) == (
        "3",
        "1.0",
        "",
        "wrist",
    )


def test_csv_tells_time_boxes_pixels_and_who_is_interpolated(tmp_path: Path) -> None:
    writer = CsvWriter(tmp_path / "r.csv")
    frame = clip_frame(3)
    frame.timestamp = 0.25
    lifted = PoseOutput(
        np.ones((2, 17, 3)),
        np.ones((2, 17)),
        boxes=[[1, 2, 3, 4]] * 2,
        box_scores=[0.5, 0.75],
        keypoints_2d=np.full((2, 17, 2), 7.0),
        interpolated=[False, True],
    )
    writer.write(frame, lifted)
    writer.close()
    first, second = (csv_rows(tmp_path / "r.csv")[row] for row in (0, 17))
    assert " ".join(first[name] for name in CsvWriter.HEADER[9:]) == "0.25 0 7.0 7.0 1.0 2.0 3.0 4.0 0.5"
    assert (second["interpolated"], second["box_score"]) == ("1", "0.75")


def test_coco_and_openpose_tell_who_is_interpolated(tmp_path: Path) -> None:
    output = PoseOutput(np.zeros((2, 17, 2)), np.ones((2, 17)), interpolated=[False, True], schema=load_schema("coco"))
    writer = CocoWriter(tmp_path / "a.json")
    writer.write(Frame(MediaItem(0, "image", "a")), output)
    writer.close()
    rows = json.loads((tmp_path / "a.json").read_text())
    assert [row["interpolated"] for row in rows] == [False, True]
    people = json.loads(openpose_json(output))["people"]
    assert [person["interpolated"] for person in people] == [False, True]


def test_csv_without_schema(tmp_path: Path) -> None:
    writer = CsvWriter(tmp_path / "r.csv")
    writer.write(image(), PoseOutput(np.full((1, 2, 2), np.nan), np.ones((1, 2))))
    writer.close()
    rows = csv_rows(tmp_path / "r.csv")
    assert [row["keypoint"] for row in rows] == ["0", "1"] and rows[0]["x"] == ""


# Resuming tables: whatever was written before the break, the end is the same


@pytest.mark.parametrize("make_writer", [CocoWriter, CsvWriter])
def test_tables_resume_after_any_break(tmp_path: Path, make_writer: Callable[..., Any]) -> None:
    frames = [
        image("a"),
        clip_frame(0, "b", 1),
        clip_frame(1, "b", 1),
        image("c", 2),
        image("empty", 3),
        image("d", 4),
    ]

    def write_all(writer: Any) -> None:
        for frame in frames:
            if not writer.is_complete(frame.item):
                writer.write(frame, person(people=0 if frame.name == "empty" else 2))
        writer.close()

    write_all(make_writer(tmp_path / "whole"))
    expected = (tmp_path / "whole").read_bytes()
    for length in range(0, len(expected), 97):
        (tmp_path / "broken").unlink(missing_ok=True)
        (tmp_path / ".broken.part").write_bytes(expected[:length])
        write_all(make_writer(tmp_path / "broken", resume=True))
        assert (tmp_path / "broken").read_bytes() == expected, length


@pytest.mark.parametrize("make_writer", [CocoWriter, CsvWriter])
def test_item_that_another_writer_wants_again_is_not_written_twice(
    tmp_path: Path, make_writer: Callable[..., Any]
) -> None:
    for resume in (False, True):
        writer = make_writer(tmp_path / "r", resume=resume)
        writer.write(image("a"), person())
        writer.close()
        if not resume:
            before = (tmp_path / "r").read_bytes()
    assert (tmp_path / "r").read_bytes() == before


@pytest.mark.parametrize("make_writer", [CocoWriter, CsvWriter])
@pytest.mark.parametrize("is_killed", [False, True])
def test_an_item_that_is_done_again_has_its_new_rows_alone(
    tmp_path: Path, make_writer: Callable[..., Any], is_killed: bool
) -> None:
    def write(path: Path, *results: tuple[Frame, PoseOutput], ends: bool = True, **options: bool) -> None:
        writer = make_writer(path, **options)
        for result in results:
            writer.write(*result)
        writer.close() if ends else writer.abandon()

    a, b, c = (image(name, index) for index, name in enumerate("abc"))
    changed, last = (a, person(people=3)), (c, person())
    write(tmp_path / "r", (a, person()), (b, person()))
    if is_killed:  # the next run does its last input once more
        write(tmp_path / "r", changed, last, ends=False, resume=True)
        write(tmp_path / "r", last, resume=True)
        write(tmp_path / "wanted", changed, (b, person()), last)
    else:
        write(tmp_path / "r", changed, resume=True)
        write(tmp_path / "wanted", (b, person()), changed)
    assert (tmp_path / "r").read_bytes() == (tmp_path / "wanted").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


# OpenPose


def openpose(folder: Path, output: PoseOutput) -> list[dict[str, Any]]:
    writer = OpenPoseWriter(folder)
    writer.write(image("a"), output)
    writer.close()
    document = json.loads((folder / "a_keypoints.json").read_text())
    assert document["version"] == 1.3
    return document["people"]


def test_openpose_body_has_a_neck(tmp_path: Path) -> None:
    (body,) = openpose(tmp_path, person())
    points = np.reshape(body["pose_keypoints_2d"], (18, 3))
    names = load_schema("coco").keypoint_names
    left, right = names.index("left_shoulder"), names.index("right_shoulder")
    assert points[0] == pytest.approx([0, 0.5, 0.5])
    assert points[1] == pytest.approx([(left + right) / 2, (left + right) / 2 + 0.5, 0.5 + min(left, right) / 1000])
    assert points[2, 0] == right and points[5, 0] == left
    assert points[16, 0] == names.index("right_ear") and points[17, 0] == names.index("left_ear")
    assert body["person_id"] == [-1] and body["face_keypoints_2d"] == body["hand_left_keypoints_2d"] == []


def test_openpose_whole_body(tmp_path: Path) -> None:
    first, second = openpose(tmp_path, person("coco_wholebody", people=2, track_ids=np.array([4, 5])))
    names = load_schema("coco_wholebody").keypoint_names
    assert second["person_id"] == [5]
    face = np.reshape(second["face_keypoints_2d"], (-1, 3))
    ends = [names.index(name) for name in ("face-0", "face-67", "right_eye", "left_eye")]
    assert face[[0, 67, 68, 69], 0].tolist() == [100 + end for end in ends] and len(face) == 70
    for side in ("left", "right"):
        hand = np.reshape(first[f"hand_{side}_keypoints_2d"], (-1, 3))
        root = names.index(f"{side}_hand_root")
        assert hand[:, 0].tolist() == list(range(root, root + 21))


def test_openpose_keeps_a_neck_that_was_predicted(tmp_path: Path) -> None:
    (body,) = openpose(tmp_path, person("halpe26"))
    assert body["pose_keypoints_2d"][3] == load_schema("halpe26").index("neck")


@pytest.mark.parametrize("schema", ["halpe26", "coco_wholebody", "halpe"])
def test_openpose_body_has_25_points_where_feet_are_known(tmp_path: Path, schema: str) -> None:
    (body,) = openpose(tmp_path, person(schema))
    points = np.reshape(body["pose_keypoints_2d"], (-1, 3))
    names = load_schema(schema).keypoint_names
    hips = [names.index("left_hip"), names.index("right_hip")]
    assert len(points) == 25
    assert points[8, 0] == (names.index("hip") if "hip" in names else np.mean(hips))
    order = {9: "right_hip", 14: "left_ankle", 15: "right_eye", 18: "left_ear", 19: "left_big_toe", 21: "left_heel"}
    order |= {20: "left_small_toe", 22: "right_big_toe", 23: "right_small_toe", 24: "right_heel"}
    assert {place: points[place, 0] for place in order} == {place: names.index(name) for place, name in order.items()}


def test_openpose_for_a_canvas_has_the_body_that_controlnets_take(tmp_path: Path) -> None:
    writer = OpenPoseWriter(tmp_path, canvas_size=(320, 120))
    writer.write(image("a"), person("coco_wholebody", image_size=(640, 480)))
    document = json.loads((tmp_path / "a_keypoints.json").read_text())
    (body,) = document["people"]
    assert [len(body[f"{part}_keypoints_2d"]) // 3 for part in ("pose", "face", "hand_left", "hand_right")] == [
        18,
        70,
        21,
        21,
    ]
    assert (document["canvas_width"], document["canvas_height"]) == (320, 120)


def test_openpose_has_the_size_of_the_canvas() -> None:
    output = person(image_size=(640, 480))
    document = json.loads(openpose_json(output))
    assert (document["canvas_width"], document["canvas_height"]) == (640, 480)
    scaled = json.loads(openpose_json(output, (320, 120)))
    assert (scaled["canvas_width"], scaled["canvas_height"]) == (320, 120)
    points, halved = (np.reshape(each["people"][0]["pose_keypoints_2d"], (18, 3)) for each in (document, scaled))
    np.testing.assert_allclose(halved, points * [0.5, 0.25, 1], rtol=1e-6)
    with pytest.raises(InputError, match="size of the image"):
        openpose_json(person(), (320, 120))


def test_openpose_without_people(tmp_path: Path) -> None:
    assert openpose(tmp_path, person(people=0)) == []


def test_openpose_is_for_people(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="wflw"):
        openpose(tmp_path, person("wflw"))


def test_openpose_folder_of_a_video(tmp_path: Path) -> None:
    for count in (3, 2):  # the second run is shorter: nothing of the first stays
        writer = OpenPoseWriter(tmp_path)
        for number in range(count):
            writer.write(clip_frame(number), person())
            assert (tmp_path / "clip").exists() == (count == 2)
        writer.close()
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == [
        "clip_000000000000_keypoints.json",
        "clip_000000000001_keypoints.json",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]
    assert OpenPoseWriter(tmp_path).is_complete(clip_frame(0).item)
