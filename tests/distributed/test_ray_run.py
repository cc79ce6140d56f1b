"""Workers of a Ray cluster give what one process gives, whichever of them die."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from command_line import run_command
from hfpose.distributed.ray_run import Cluster, predict_on_ray
from hfpose.distributed.shared_run import open_shared_run
from hfpose.media.sources import Source, open_source
from shared_runs import assert_same_results, facts, job, write_clip

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'hfpose[ray]'")
# One cluster at a time; with two cores the workers take minutes to start.
pytestmark = [pytest.mark.xdist_group("ray"), pytest.mark.slow]

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
CLUSTER = Cluster("auto", num_workers=3, gpus_per_worker=0)


NUM_IMAGES = 2000
NUM_INPUTS = NUM_IMAGES + 2


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A cluster of three machines with one CPU each, on this one."""
    from ray.cluster_utils import Cluster as Nodes

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
    yield nodes
    ray.shutdown()
    nodes.shutdown()


def run(
    job: Any,
    inputs: Any,
    out: Path | str,
    resume: bool = False,
    stop_after: int | None = None,
    after: Any = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """Do a run, calling `after` with the number of inputs that are done; of one that is stopped the rest is left, as
    by a driver that is killed."""

    def make_source(skip: Callable[..., bool]) -> Source:
        return open_source(inputs, skip=skip)

    entries = []
    with (
        open_shared_run(str(out), job.formats, resume, make_source) as (run, source),
        closing(predict_on_ray(job, source, str(out), CLUSTER, **options)) as done,
    ):
        for entry in done:
            run.add(entry)
            entries.append(entry)
            if after is not None:
                after(len(entries))
            if len(entries) == stop_after:
                break
    return entries


def kill_a_worker() -> None:
    """Kill one of the processes that hold a pipeline; all of the cluster are children of this one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # others end at this moment, or have ended and wait for their parent
            if "ray::Worker" in " ".join(process.cmdline()):
                process.kill()
                return
    raise AssertionError("no worker is left")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> list[Path]:
    """Two thousand images of noise, one of them bad, and two long videos."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("in")
    for index in range(NUM_IMAGES):
        noise = np.random.default_rng(index).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index:04d}.jpg")
    (folder / "0070.jpg").write_text("no image")
    clips = [write_clip(folder.parent / f"{folder.name}-{index}.mp4", NOISE, 300) for index in range(2)]
    return [folder, *clips]


def test_whoever_dies_everything_is_done_once(nodes, quick, inputs, tmp_path):
    arguments = ["--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", "--batch-size", 4]
    run_command("predict", *inputs, *arguments, "--kpt-thr", "-100", "--out-dir", tmp_path / "alone")

    def harm(num_done: int) -> None:
        if num_done == 1:
            kill_a_worker()
            nodes.remove_node(nodes.list_all_nodes()[-1])

    out = tmp_path / "out"
    entries = run(job(quick), inputs, out, after=harm, segment_frames=20)
    nodes.add_node(num_cpus=1)  # for the next test
    assert_same_results(out, tmp_path / "alone")
    assert facts(out) == facts(tmp_path / "alone")
    assert sorted(entry["index"] for entry in entries) == list(range(NUM_INPUTS))


def test_a_driver_that_is_stopped_is_followed_by_one_that_goes_on(nodes, quick, inputs, tmp_path):
    undisturbed, out = tmp_path / "undisturbed", tmp_path / "out"
    run(job(quick), inputs, undisturbed, segment_frames=20)
    run(job(quick), inputs, out, stop_after=700, segment_frames=20)
    stamps = {name: (out / name).stat().st_mtime_ns for line in facts(out) for name in line["outputs"]}
    assert 0 < len(stamps) < NUM_IMAGES
    again = run(job(quick), inputs, out, resume=True, segment_frames=20)
    assert len(again) < NUM_INPUTS
    assert_same_results(out, undisturbed)
    assert facts(out) == facts(undisturbed)
    assert all((out / name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())


def test_a_run_to_a_url_goes_on_from_its_manifest(nodes, quick, inputs, tmp_path):
    folder, *_ = inputs
    run(job(quick), folder, tmp_path / "folder")
    url = f"local://{tmp_path / 'url'}"
    run(job(quick), folder, url, stop_after=70)
    again = run(job(quick), folder, url, resume=True)
    assert 0 < len(again) < NUM_IMAGES
    assert_same_results(tmp_path / "url", tmp_path / "folder")
    assert [line["status"] for line in facts(tmp_path / "url")].count("ok") == NUM_IMAGES - 1


def test_errors_of_workers_are_told_as_they_are(nodes, inputs, tmp_path):
    from hfpose.errors import HFPoseError

    with pytest.raises(HFPoseError, match="nowhere"):
        run(job(tmp_path / "nowhere"), inputs, tmp_path / "out")


def test_the_command_starts_a_cluster_or_joins_one(nodes, quick, inputs, tmp_path):
    arguments = [inputs[0], "--pose2d", quick, "--det-model", "whole_image", "--device", "cpu", "--ray"]
    for options, code, told in (
        (["--out-dir", tmp_path / "out", "--workers", 2], 1, f"{NUM_IMAGES - 1} images, {NUM_IMAGES - 1} instances"),
        ([], 2, "--out-dir"),
        (["--out-dir", tmp_path / "out", "--format", "csv"], 2, "json, openpose or parquet"),
    ):
        done = run_command("predict", *arguments, *options)
        assert done.returncode == code and told in done.stderr  # 1 is for the bad image
