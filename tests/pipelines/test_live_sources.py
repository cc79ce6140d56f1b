"""Pipelines over webcams and streams."""

from __future__ import annotations

from pathlib import Path

import pytest

import hfpose
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
