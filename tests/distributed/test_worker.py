"""Parts of a run give what one process gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import hfpose
from command_line import run_command
from hfpose.distributed.segments import LongVideo
from hfpose.distributed.shared_run import open_shared_run
from hfpose.distributed.worker import Chunk, Worker
from hfpose.hub.zoo import find_entry
from hfpose.media.frames import MediaItem
from hfpose.media.images import load_image
from hfpose.media.sources import open_source
from shared_runs import assert_same_results, facts, job
from small_zoo import photo, save_small_model

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def started(*args: Any) -> Worker:
    worker = Worker(*args)
    worker.start()
    return worker


def video_in_segments(worker: Worker, clip: Path, frames: int, step: int) -> list[dict[str, Any]]:
    video = LongVideo(MediaItem(0, "video", clip.stem, str(clip)), frames, step)
    for segment in video.segments:
        worker.find(segment)
    return worker.join(video)


@pytest.mark.parametrize("options", [pytest.param([], marks=pytest.mark.slow), ["--track", "--smooth"]])
def test_a_video_in_segments_is_as_one_process_writes_it(quick, person_detector, photo, make_clip, tmp_path, options):
    clip = make_clip(load_image(photo), 12)
    out, alone = tmp_path / "out", tmp_path / "alone"
    arguments = ["--pose2d", quick, "--det-model", person_detector, "--device", "cpu", "--batch-size", 4]
    assert run_command("predict", clip, *arguments, "--kpt-thr", "-100", *options, "--out-dir", alone).returncode == 0
    tracking = {"track": "iou", "smooth": True} if options else {}
    worker = started(job(quick, person_detector, tracking=tracking), str(out))
    (entry,) = video_in_segments(worker, clip, 12, 5)
    assert (entry["frames"], entry["kind"]) == (12, "video")
    assert_same_results(out, alone)  # and nothing of the segments is left
    frames = json.loads((out / "predictions" / "clip.json").read_text())["frames"]
    before, after = ({person.get("track_id") for person in frame["predictions"]} for frame in frames[4:6])
    assert before & after


def test_a_one_stage_model_needs_no_detector_in_segments(make_clip, tmp_path):
    entry = find_entry("rtmo-t", "pose")
    assert entry is not None
    model = save_small_model(entry, tmp_path / "rtmo")
    size = {"height": 128, "width": 128}
    hfpose.RTMOImageProcessor.from_pretrained(model, size=size).save_pretrained(model)
    clip = make_clip(photo(), 6)
    out, alone = tmp_path / "out", tmp_path / "alone"
    options = ["--pose2d", model, "--device", "cpu", "--batch-size", 4, "--kpt-thr", "-100", "--num-instances", 2]
    assert run_command("predict", clip, *options, "--out-dir", alone).returncode == 0
    worker = started(job(model, None, num_instances=2), str(out))
    video_in_segments(worker, clip, 6, 4)
    assert_same_results(out, alone)
    frames = json.loads((out / "predictions" / "clip.json").read_text())["frames"]
    assert all(frame["predictions"] for frame in frames)


def test_a_lifted_video_in_segments_is_as_one_process_writes_it(quick, tiny_lifter, make_clip, tmp_path):
    clip = make_clip(NOISE, 20)
    out, alone = tmp_path / "out", tmp_path / "alone"
    arguments = ["--pose3d", tiny_lifter, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu"]
    run_command("predict", clip, *arguments, "--out-dir", alone)
    models = {"task": "pose-estimation-3d", "model": tiny_lifter, "pose": quick}
    worker = started(job(quick, models=models, finding={}, drawing={}), str(out))
    video_in_segments(worker, clip, 20, 8)
    assert_same_results(out, alone)


def test_a_segment_that_is_there_is_not_made_again(quick, make_clip, tmp_path, monkeypatch):
    video = LongVideo(MediaItem(0, "video", "clip", str(make_clip(NOISE, 20))), 20, 10)
    worker = started(job(quick), str(tmp_path / "out"))
    worker.find(video.segments[0])
    monkeypatch.setattr("hfpose.distributed.worker.find_in_segment", lambda *args: pytest.fail("made again"))
    assert worker.find(video.segments[0]) == 10


def test_results_go_to_any_file_system(quick, images, tmp_path):
    items = [item for item, _ in open_source(images).items()][68:72]
    entries = started(job(quick), "memory://bucket/out").predict(Chunk(tuple(items), "0"))
    assert [entry["status"] for entry in entries] == ["ok", "ok", "error", "ok"]
    files = fsspec.filesystem("memory")
    names = sorted(files.glob("/bucket/out/predictions/*.json"))
    assert [Path(name).stem for name in names] == ["0068", "0069", "0071"]
    run_command(
        "predict", items[0].source, "--pose2d", quick, "--det-model", "whole_image", "--out-dir", tmp_path / "alone"
    )
    assert files.cat_file(names[0]) == (tmp_path / "alone" / "predictions" / "0068.json").read_bytes()
    files.rm("/bucket", recursive=True)


def test_a_chunk_that_is_done_again_replaces_its_rows(quick, images, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'hfpose[parquet]'")
    worker = started(job(quick, formats=("parquet",)), str(tmp_path))
    items = tuple(item for item, _ in open_source(images).items())
    for chunk in (Chunk(items[:4], "a"), Chunk(items[4:8], "b"), Chunk(items[:4], "a")):
        worker.predict(chunk)
    table = pq.read_table(tmp_path / "predictions" / "results.parquet")
    assert sorted(table["name"].to_pylist()) == [item.name for item in items[:8]]


def test_lines_of_the_manifest_are_those_of_one_process(quick, images, tmp_path):
    alone = tmp_path / "alone"
    for path in sorted(images.iterdir())[8:]:
        path.unlink()
    run_command(
        "predict", images, "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", "--out-dir", alone
    )
    items = tuple(item for item, _ in open_source(images).items())
    entries = started(job(quick), str(tmp_path / "out")).predict(Chunk(items, "0"))
    assert [{name: entry[name] for name in line} for entry, line in zip(entries, facts(alone), strict=True)] == facts(
        alone
    )


def test_what_a_dead_worker_has_left_is_no_result(quick, images, tmp_path):
    left = tmp_path / ".hfpose" / "partial-dead"
    with open_shared_run(str(tmp_path), ("json",), False, lambda skip: open_source(images, skip=skip)):
        left.mkdir(parents=True)
        (left / "0.part").write_text("{")
    assert not left.parent.exists()
