from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hfpose.media.frames import Frame, MediaItem
from hfpose.media.manifest import (
    MANIFEST,
    WORK_FOLDER,
    Journal,
    JournalFile,
    is_unchanged,
    merge_journal,
    read_manifest,
)
from hfpose.media.sources import open_source
from hfpose.media.writers import open_writers
from hfpose.results import PoseOutput

IMAGE = np.zeros((4, 4, 3), np.uint8)


def output(people: int = 1, error: str | None = None) -> PoseOutput:
    if error:
        return PoseOutput.failed(error)
    return PoseOutput(np.zeros((people, 1, 2)), np.zeros((people, 1)))


def item(index: int, kind: str = "image") -> MediaItem:
    return MediaItem(index, kind, f"name{index}", f"/in/{index}")  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path):  # type: ignore[no-untyped-def]
    def start() -> Journal:
        file = JournalFile(tmp_path)
        return Journal(tmp_path, lambda item: [tmp_path / "predictions" / f"{item.name}.json"], file.add)

    return start


def test_each_input_has_one_line_with_all_its_frames(journal, tmp_path):
    writing = journal()
    writing.note(Frame(item(0), IMAGE), output(3))
    for index in range(4):
        writing.note(Frame(item(1, "video"), IMAGE, frame_index=index), output(2))
    writing.note(Frame(item(1, "video"), error="cut"), output(error="cut"))
    writing.note(Frame(item(2), error="bad"), output(error="bad"))
    writing.finish()
    merge_journal(tmp_path)
    lines = read_manifest(tmp_path / MANIFEST)
    assert [(line["input"], line["status"], line["error"]) for line in lines] == [
        ("/in/0", "ok", None),
        ("/in/1", "error", "cut"),
        ("/in/2", "error", "bad"),
    ]
    assert [(line["frames"], line["instances"]) for line in lines] == [(1, 3), (4, 8), (0, 0)]
    assert [line["outputs"] for line in lines] == [["predictions/name0.json"], ["predictions/name1.json"], []]
    assert all(line["seconds"] >= 0 for line in lines)
    assert not (tmp_path / WORK_FOLDER).exists()


def test_inputs_that_end_in_any_order_are_listed_in_theirs(journal, tmp_path):
    writing = journal()
    for index in (0, 3, 4, 1, 2):
        writing.note(Frame(item(index), IMAGE), output())
    merge_journal(tmp_path)
    assert [line["index"] for line in read_manifest(tmp_path / MANIFEST)] == [0, 1, 2, 3, 4]


def test_an_input_that_was_not_finished_has_no_line(journal, tmp_path):
    writing = journal()
    writing.note(Frame(item(0), IMAGE), output())
    writing.note(Frame(item(1, "video"), IMAGE, frame_index=0), output())
    path = tmp_path / WORK_FOLDER / "journal.jsonl"
    path.write_text(path.read_text() + '{"index": 2, "na')  # of a process that was killed
    merge_journal(tmp_path)
    assert [line["index"] for line in read_manifest(tmp_path / MANIFEST)] == [0]


def test_a_run_that_goes_on_keeps_the_earlier_lines(journal, tmp_path):
    writing = journal()
    writing.note(Frame(item(0), IMAGE), output(5))
    writing.note(Frame(item(1), error="bad"), output(error="bad"))
    writing.finish()
    merge_journal(tmp_path)
    again = journal()
    again.keep(item(0))
    again.note(Frame(item(1), IMAGE), output(2))
    again.keep(item(2))  # of a run that kept no journal
    again.finish()
    merge_journal(tmp_path)
    lines = read_manifest(tmp_path / MANIFEST)
    assert [(line["status"], line["instances"]) for line in lines] == [("ok", 5), ("ok", 2), ("ok", None)]
    fresh = journal()
    fresh.note(Frame(item(2), IMAGE), output())
    fresh.finish()
    merge_journal(tmp_path, keep_earlier=False)
    assert [line["index"] for line in read_manifest(tmp_path / MANIFEST)] == [2]


def test_writers_tell_what_they_wrote(tmp_path, photo):
    formats = ("json", "openpose", "csv")
    writers = open_writers(out_dir=tmp_path, formats=formats)
    with writers, open_source([photo]) as source:
        for frame in source:
            result = PoseOutput(np.zeros((0, 17, 2)), np.zeros((0, 17)), schema=None, visualization=frame.image)
            writers.write(frame, result)
            written = [path.relative_to(tmp_path).as_posix() for path in writers.outputs(frame.item)]
    name = "0000000000"
    assert written == [
        f"predictions/{name}.json",
        f"predictions/openpose/{name}_keypoints.json",
        "predictions/results.csv",
        f"visualizations/{name}.jpg",
    ]


def test_a_result_belongs_to_the_very_file_that_it_is_of(tmp_path: Path, journal) -> None:  # type: ignore[no-untyped-def]
    first, second = tmp_path / "a.png", tmp_path / "a.jpg"
    first.write_bytes(b"1")
    second.write_bytes(b"1")
    done = MediaItem(0, "image", "a", str(first))
    writing = journal()
    writing.note(Frame(done, IMAGE), output())
    writing.finish()
    merge_journal(tmp_path)
    (entry,) = read_manifest(tmp_path / MANIFEST)
    assert is_unchanged(entry, done)
    assert not is_unchanged(entry, MediaItem(0, "image", "a", str(second)))  # takes the name in another run
    first.write_bytes(b"22")
    assert not is_unchanged(entry, done)
    assert not is_unchanged(None, done)
    assert not is_unchanged({**entry, "frames": 0}, done)  # it could not be read
