from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.media import parquet
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.parquet import ParquetWriter
from hfpose.media.writers import open_writers
from hfpose.results import PoseOutput

pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'hfpose[parquet]'")


def frame(index: int, frame_index: int | None = None) -> Frame:
    item = MediaItem(index, "image" if frame_index is None else "video", f"name{index}", f"/in/{index}")
    return Frame(item, np.zeros((4, 6, 3), np.uint8), frame_index=frame_index)


def output(people: int = 2, seed: int = 0, **fields) -> PoseOutput:
    rng = np.random.default_rng(seed)
    return PoseOutput(
        rng.uniform(0, 6, (people, 17, 2)),
        rng.uniform(0, 1, (people, 17)),
        boxes=rng.uniform(0, 6, (people, 4)),
        box_scores=rng.uniform(0, 1, people),
        schema=load_schema("coco"),
        image_size=(6, 4),
        **fields,
    )


def rows(folder: Path) -> list[dict]:
    return pq.read_table(folder).to_pylist()


def test_rows_hold_the_instances_exactly(tmp_path):
    writer = ParquetWriter(tmp_path)
    people = output(2, track_ids=np.array([4, 7]))
    writer.write(frame(0), people)
    writer.write(frame(1), output(0))
    writer.write(frame(2, 0), output(1, 2))
    last = frame(2, 1)
    last.timestamp = 0.25
    writer.write(last, output(1, 3, keypoints_2d=np.ones((1, 17, 2)), interpolated=[True]))
    writer.write(frame(3), PoseOutput.failed("bad"))
    writer.close()
    found = rows(tmp_path)
    assert [(row["name"], row["frame_id"], row["instance"]) for row in found] == [
        ("name0", None, 0),
        ("name0", None, 1),
        ("name1", None, None),
        ("name2", 0, 0),
        ("name2", 1, 0),
    ]
    first = found[1]
    assert (first["source"], first["width"], first["height"], first["track_id"]) == ("/in/0", 6, 4, 7)
    np.testing.assert_array_equal(np.float32(first["keypoints"]).reshape(17, 2), people.keypoints[1])
    np.testing.assert_array_equal(np.float32(first["keypoint_scores"]), people.keypoint_scores[1])
    np.testing.assert_array_equal(np.float32(first["bbox"]), people.boxes[1])
    assert found[2]["keypoints"] is None and found[3]["track_id"] is None
    assert found[4]["keypoints_2d"] == [1.0] * 34
    assert [(row["timestamp"], row["interpolated"]) for row in found[3:]] == [(None, None), (0.25, True)]
    (part,) = tmp_path.iterdir()
    schema = json.loads(pq.read_schema(part).metadata[b"hfpose.schema"])
    assert schema["name"] == "coco"


def test_files_end_between_inputs_and_are_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 3)
    monkeypatch.setattr(parquet, "_PART_ROWS", 5)
    first, second = ParquetWriter(tmp_path, resume=True), ParquetWriter(tmp_path, resume=True)  # of two processes
    for index in range(10):
        writer = second if index % 2 else first
        for number in range(4):
            writer.write(frame(index, number), output(1, index))
    assert not any(len(pq.read_table(part)) % 4 for part in tmp_path.glob("part-*"))
    first.close()
    second.close()
    assert len(list(tmp_path.iterdir())) == 6
    assert sorted(row["name"] for row in rows(tmp_path)) == sorted([f"name{index}" for index in range(10)] * 4)


def test_a_run_that_broke_off_is_resumed_and_a_new_one_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_PART_ROWS", 2)
    writer = ParquetWriter(tmp_path)
    for index in range(4):
        writer.write(frame(index), output(2))
    writer.abandon()
    again = ParquetWriter(tmp_path, resume=True)
    assert [again.is_complete(frame(index).item) for index in range(5)] == [True, True, True, False, False]
    for index in range(5):  # another format may have to be written for what is complete here
        again.write(frame(index), output(2))
    again.close()
    assert [row["name"] for row in rows(tmp_path)] == [f"name{index}" for index in range(5) for _ in range(2)]
    assert [path.name[0] for path in tmp_path.iterdir()] == ["p"] * 5
    fresh = ParquetWriter(tmp_path)
    fresh.write(frame(7), output(1))
    fresh.close()
    assert [row["name"] for row in rows(tmp_path)] == ["name7"]


def test_an_item_that_is_done_again_has_its_new_rows_alone(tmp_path):
    for people in (1, 3):
        writer = ParquetWriter(tmp_path, resume=people == 3)
        writer.write(frame(0), output(people))
        if people == 1:
            writer.write(frame(1), output(1))
        writer.close()
    assert [row["name"] for row in rows(tmp_path)] == ["name1"] + ["name0"] * 3
    assert writer.outputs(frame(0).item) == [tmp_path]


def test_a_run_without_results_leaves_no_file(tmp_path):
    with open_writers(pred_out_dir=tmp_path, formats=["parquet"]) as writers:
        assert writers.outputs(frame(0).item) == [tmp_path / "results.parquet"]
    assert list((tmp_path / "results.parquet").iterdir()) == []


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"hfpose\[parquet\]"):
        ParquetWriter(tmp_path)
