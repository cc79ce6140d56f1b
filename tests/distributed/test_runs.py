"""Several processes share a run: the same files as from one process, whoever dies."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hfpose.distributed import runs, segments
from hfpose.media.images import load_image
from hfpose.media.manifest import MANIFEST, WORK_FOLDER, read_manifest


def results(folder: Path) -> dict[str, bytes]:
    """Finished files by name, without the manifest, which tells times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name != ".hfpose-output" and path.is_file() and path.name != MANIFEST
    }


def facts(folder: Path) -> list[dict[str, object]]:
    """The lines of the manifest without times."""
    return [
        {key: value for key, value in line.items() if key != "seconds"} for line in read_manifest(folder / MANIFEST)
    ]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_a_folder_is_shared_and_what_a_dead_process_left_is_done_by_the_next_run(
    predict_shared, predict_alone, images, quick, tmp_path
):
    arguments = [images, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", "--batch-size", 4]
    out = tmp_path / "out"
    journal = out / WORK_FOLDER / "journal-00001.jsonl"
    run = predict_shared(*arguments, "--out-dir", out)
    run.kill_when(1, lambda: lines(journal) >= 3)
    (code, err), _ = run.wait()
    assert code == 2
    assert "stopped early: 1" in err and "--resume" in err
    done = facts(out)
    assert 3 <= len(done) < 151
    assert not any(path.name.startswith("journal") for path in out.rglob("*"))

    stamps = {name: (out / name).stat().st_mtime_ns for line in done for name in line["outputs"]}
    (code, err), (other_code, other_err) = predict_shared(*arguments, "--out-dir", out, "--resume").wait()
    assert (code, other_code) == (1, 0)  # for the bad image
    assert (err + other_err).count("hfpose: /") == 1
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())

    alone = tmp_path / "alone"
    assert predict_alone(*arguments, "--out-dir", alone) == 1
    assert results(out) == results(alone)
    found, expected = facts(out), facts(alone)
    # An image may have been complete when the process died, but not yet in its journal.
    assert sum(line["frames"] is None for line in found) <= 1
    assert found == [
        {**line, **({"frames": None, "instances": None} if same["frames"] is None else {})}
        for line, same in zip(expected, found, strict=True)
    ]
    assert [line["index"] for line in found] == list(range(150))
    bad = read_manifest(out / MANIFEST)[70]
    assert (bad["status"], bad["outputs"]) == ("error", []) and "0070.jpg" in bad["error"]


def test_a_lifted_video_in_segments_survives_the_first_process(
    predict_shared, predict_alone, quick, tiny_lifter, make_clip, tmp_path
):
    clip = make_clip(np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8), 400)
    arguments = [clip, "--pose3d", tiny_lifter, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu"]
    arguments += ["--segment-frames", 20]
    out, alone = tmp_path / "out", tmp_path / "alone"
    kept_in = out / WORK_FOLDER / "segments" / "clip"
    run = predict_shared(*arguments, "--out-dir", out)
    run.kill_when(0, lambda: len(list(kept_in.glob("*.npz"))) >= 3)
    _, (code, err) = run.wait()
    assert code == 2
    assert "rank 0" in err and "--resume" in err
    assert len(err.strip().splitlines()) == 1
    kept = {path: path.stat().st_mtime_ns for path in kept_in.glob("*.npz")}
    assert len(kept) >= 3

    ended = predict_shared(*arguments, "--out-dir", out, "--resume").wait()
    assert [code for code, _ in ended] == [0, 0], ended
    assert not (out / WORK_FOLDER).exists()
    predict_alone(*arguments, "--out-dir", alone)
    assert results(out) == results(alone)
    assert facts(out) == facts(alone)


# One of two processes, with the other one's part played by this file


class Store:
    """What one process of two sees while the other one does nothing."""

    rank, size = 0, 2
    device = torch.device("cpu")

    def __init__(self, use_cpu: bool) -> None:
        assert use_cpu
        self.values = {"listed/1": "[]"}
        self.counters: Counter[str] = Counter()

    def claim(self, counter: str) -> int:
        return self.count(counter, 1) - 1

    def count(self, counter: str, amount: int = 0) -> int:
        self.counters[counter] += amount
        return self.counters[counter]

    def tell(self, name: str, value: str = "") -> None:
        self.values[name] = value

    def hear(self, name: str) -> str:
        return self.values[name]

    def wait_for_all(self, point: str, value: str = "") -> list[int]:
        self.tell(f"{point}/{self.rank}", value)
        return []

    def leave(self, finished: bool) -> None:
        pass

    def disconnect(self) -> None:
        pass


class SlowNeighbor(Store):
    """The other process has taken the first chunk of every three, and is still at it."""

    def claim(self, counter: str) -> int:
        number = super().claim(counter)
        return super().claim(counter) if counter == "chunks" and number % 3 == 0 else number


@pytest.fixture
def one_of_two(monkeypatch):
    """Makes this process one of two that share a run."""

    def become(store: type[Store]) -> None:
        for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("hfpose.distributed.ranks.Ranks", store)

    return become


@pytest.mark.parametrize("options", [[], ["--track", "--smooth"]])
def test_people_of_a_video_in_segments_keep_their_identities(
    predict_alone, one_of_two, quick, person_detector, photo, make_clip, tmp_path, options
):
    clip = make_clip(load_image(photo), 60)
    arguments = [clip, "--pose2d", quick, "--det-model", person_detector, "--device", "cpu", *options]
    arguments += ["--batch-size", 4, "--segment-frames", 13, "--kpt-thr", "-100"]
    out, alone = tmp_path / "out", tmp_path / "alone"
    assert predict_alone(*arguments, "--out-dir", alone) == 0
    one_of_two(Store)
    with calls_of(segments, "find_in_segment", runs) as made:
        assert predict_alone(*arguments, "--out-dir", out) == 0
    assert [segment.start for segment in made] == [0, 16, 32, 48]  # in whole batches
    assert results(out) == results(alone)
    assert facts(out) == facts(alone)
    frames = json.loads((out / "predictions" / "clip.json").read_text())
    before, after = ({person.get("track_id") for person in frame["instances"]} for frame in frames[31:33])
    assert before & after


class HelpingNeighbor(Store):
    """The other process lifts every other batch of windows, and dies before it has written them."""

    def claim(self, counter: str) -> int:
        number = super().claim(counter)
        return super().claim(counter) if counter.startswith("lifted") and number % 2 else number


def test_windows_of_a_long_video_are_lifted_in_shares(
    predict_alone, one_of_two, quick, tiny_lifter, make_clip, tmp_path, monkeypatch
):
    clip = make_clip(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8), 150)
    arguments = [
        clip,
        "--pose3d",
        tiny_lifter,
        "--pose2d",
        quick,
        "--det-model",
        "whole_image",
        "--device",
        "cpu",
        "--smooth",
    ]
    arguments += ["--segment-frames", 40]
    out, alone = tmp_path / "out", tmp_path / "alone"
    assert predict_alone(*arguments, "--out-dir", alone) == 0
    one_of_two(HelpingNeighbor)
    shares = []
    monkeypatch.setattr(np, "save", lambda file, array, save=np.save: (shares.append(len(array)), save(file, array)))
    assert predict_alone(*arguments, "--out-dir", out) == 0
    assert results(out) == results(alone)
    assert facts(out) == facts(alone)
    # 25 windows of 9 frames in batches of 8: numbers 0 and 2 are lifted as shares, 1 and 3 when all is joined.
    assert shares == [8, 8, 8, 1]
    assert not (out / WORK_FOLDER).exists()


@contextmanager
def calls_of(module: Any, name: str, user: Any) -> Iterator[list[Any]]:
    """The first arguments of the calls of a function."""
    seen: list[Any] = []
    function = getattr(module, name)

    def noting(first: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(first)
        return function(first, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(user, name, noting)
        yield seen


def test_whole_videos_are_shared_where_there_are_many(predict_alone, one_of_two, quick, make_clip, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    clips = [make_clip(noise, 30, f"clip{number}.mp4") for number in range(8)]
    one_of_two(SlowNeighbor)
    arguments = ["--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", "--segment-frames", 10]
    with calls_of(segments, "find_in_segment", runs) as made:
        predict_alone(*clips, *arguments, "--out-dir", tmp_path / "out")
    assert not made
    assert [line["name"] for line in facts(tmp_path / "out")] == [f"clip{number}" for number in (1, 2, 4, 5, 7)]


def test_images_are_handed_out_in_chunks_and_together_where_people_are_tracked(
    predict_alone, one_of_two, quick, images, tmp_path
):
    one_of_two(SlowNeighbor)
    arguments = [images, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu"]
    predict_alone(*arguments, "--out-dir", tmp_path / "out")
    mine = [line["index"] for line in facts(tmp_path / "out")]
    assert mine == [index for index in range(150) if index // 16 % 3]
    predict_alone(*arguments, "--track", "--out-dir", tmp_path / "tracked")
    assert not (tmp_path / "tracked" / MANIFEST).exists()  # the neighbor has them all


def test_processes_write_one_table_of_parquet(predict_alone, one_of_two, quick, images, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'hfpose[parquet]'")
    arguments = [images, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", "--format", "parquet"]
    out, alone = tmp_path / "out", tmp_path / "alone"
    predict_alone(*arguments, "--out-dir", alone)
    for store, options in ((SlowNeighbor, []), (Store, ["--resume"])):
        one_of_two(store)
        predict_alone(*arguments, "--out-dir", out, *options)
    one, other = (pq.read_table(folder / "predictions" / "results.parquet").sort_by("name") for folder in (alone, out))
    assert one.num_rows == 149
    assert one == other
    assert len(list((out / "predictions" / "results.parquet").iterdir())) == 2
    assert facts(out)[3]["outputs"][0] == "predictions/results.parquet"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "need --out-dir"),
        (["--out-dir", "out", "--format", "csv"], "json, openpose or parquet"),
        (["--out-dir", "out", "--show"], "no window"),
    ],
)
def test_what_several_processes_cannot_do(
    predict_alone, one_of_two, quick, images, monkeypatch, tmp_path, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    one_of_two(Store)
    code = predict_alone(images, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", *arguments)
    assert code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_world_size_that_is_no_number(predict_alone, quick, images, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORLD_SIZE", "two")
    assert predict_alone(images, "--pose2d", quick, "--out-dir", tmp_path / "out") == 2
    assert "WORLD_SIZE must be a whole number" in capsys.readouterr().err
