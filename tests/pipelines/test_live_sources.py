"""Pipelines over webcams and streams."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

import hfpose
from hfpose.media.sources import open_source
from hfpose.media.writers import open_writers
from stream_server import serve_streams


@pytest.fixture(scope="module")
def pipe(tiny_pose: Path) -> hfpose.PoseEstimationPipeline:
    return hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", device="cpu", backend="torch")


@pytest.fixture(scope="module")
def pipe_3d(tiny_pose: Path, tiny_lifter: Path) -> hfpose.PoseEstimation3DPipeline:
    parts = {"model": tiny_lifter, "pose": tiny_pose, "detector": "whole_image"}
    return hfpose.pipeline("pose-estimation-3d", **parts, device="cpu", backend="torch")


def test_identities_outlive_a_stream_that_dies_and_comes_back(
    pipe: hfpose.PoseEstimationPipeline, tmp_path: Path
) -> None:
    with serve_streams(tmp_path, [7, 6]) as server:
        outputs = list(pipe(server.url, track=True, smooth=True, live="all", reconnect=0.3))
    assert [output.track_ids.tolist() for output in outputs if output.error is None] == [[0]] * 13
    assert "did not come back" in (outputs[-1].error or "")


@pytest.mark.parametrize("task", ["2d", "3d"])
def test_several_streams_go_through_one_pipeline(
    pipe: hfpose.PoseEstimationPipeline, pipe_3d: hfpose.PoseEstimation3DPipeline, task: str, tmp_path: Path
) -> None:
    with serve_streams(tmp_path, [6]) as one, serve_streams(tmp_path, [7]) as other:
        both = pipe if task == "2d" else pipe_3d
        outputs = list(both([one.url, other.url], track=True, live="all", reconnect=0))
    for url, count in ((one.url, 6), (other.url, 7)):
        own = [output for output in outputs if output.source == url]
        assert [output.frame_index for output in own] == list(range(count))
        assert {track for output in own for track in output.track_ids.tolist()} == {0}


def resident_megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
def test_two_thousand_frames_of_a_stream_take_constant_memory(
    pipe: hfpose.PoseEstimationPipeline, tmp_path: Path
) -> None:
    """With tracking, a filter, and predictions and drawn videos written."""
    count, sizes = 2_000, []
    with (
        serve_streams(tmp_path, [count]) as server,
        open_source(server.url, live="all") as source,
        open_writers(out_dir=tmp_path / "out", formats=["json", "csv", "coco"]) as writers,
    ):
        options = {"track": True, "smooth": "one-euro", "return_visualization": True, "people": 1}
        for number, (frame, output) in enumerate(pipe.stream(source, **options)):
            writers.write(frame, output)
            if number % 200 == 0:
                gc.collect()
                sizes.append(round(resident_megabytes(), 1))
    print("MB after each 200 frames:", sizes)
    assert number + 1 == count
    assert max(sizes[2:]) - sizes[2] < 2
