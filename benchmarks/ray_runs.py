"""What Ray costs on one machine: `hfpose predict` with and without `--ray`, on copies of an image.

    python benchmarks/ray_runs.py --image PHOTO [--images 400] [--items 200] [--memory-images 20000]

Each system runs over a quarter of the images and over all of them. The time of an image is the slope between the two,
so that start-up does not count. What Ray adds to a work item is the time of items without work, by an actor and by a
call. Memory is that of the driver and of the largest worker, sampled through a run over many tiny images.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

CHUNK = 64  # images of a work item, see hfpose.distributed.ray_run
SYSTEMS = {
    "one process, 2 threads": (2, []),
    "Ray, 2 workers of 1 thread": (1, ["--ray", "local", "--workers", "2"]),
    "one process, 1 thread": (1, []),
    "Ray, 1 worker of 1 thread": (1, ["--ray", "local", "--workers", "1"]),
}


def write_copies(image: Image.Image, count: int, folder: Path) -> Path:
    """A folder of an image under many names."""
    folder.mkdir()
    first = folder / "0.jpg"
    image.save(first)
    for index in range(1, count):
        os.link(first, folder / f"{index}.jpg")
    return folder


def start(folder: Path, out: Path, threads: int, options: list[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hfpose", "predict", folder, "--pose2d", "demo", "--out-dir", out, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    return subprocess.Popen(list(map(str, command)), env=environment, stderr=subprocess.DEVNULL)


def seconds(folder: Path, threads: int, options: list[str]) -> float:
    """Wall-clock seconds of a run."""
    with tempfile.TemporaryDirectory() as out:
        before = time.perf_counter()
        process = start(folder, Path(out), threads, options)
        if process.wait() != 0:
            raise SystemExit(f"hfpose predict ended with {process.returncode}")
        return time.perf_counter() - before


def memory(process: subprocess.Popen[bytes]) -> dict[str, list[float]]:
    """Megabytes of the driver and of the largest worker, every two seconds until the process ends."""
    samples: dict[str, list[float]] = {"driver": [], "worker": []}
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(2):
            workers = [0.0]
            for each in psutil.process_iter(["cmdline", "memory_info"]):
                if each.info["memory_info"] is None:
                    continue
                size = each.info["memory_info"].rss / 1e6
                if each.pid == process.pid:
                    samples["driver"].append(size)
                elif (each.info["cmdline"] or [""])[0].startswith("ray::Worker"):
                    workers.append(size)
            samples["worker"].append(max(workers))

    thread = threading.Thread(target=sample)
    thread.start()
    process.wait()
    stop.set()
    thread.join()
    return samples


def item_overhead(count: int) -> float:
    """Milliseconds that Ray adds to a work item, of the size that one has of images: the answer is a line for each."""
    import ray

    from hfpose.distributed.job import PredictJob
    from hfpose.distributed.worker import Chunk, Worker
    from hfpose.media.frames import MediaItem

    job = PredictJob(
        models={"task": "pose-estimation", "model": "demo", "device": "cpu"},
        finding={},
        tracking={},
        lifting={},
        drawing={},
        draw_heatmaps=False,
        suppress_similar=False,
        num_instances=None,
        formats=("json",),
    )
    items = tuple(MediaItem(index, "image", str(index), f"/nowhere/{index}.jpg") for index in range(CHUNK))
    ray.init("local", num_cpus=1, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as out:
        worker = Worker(job, out)
        actor: Any = ray.remote(Worker).remote(job, out)
        worker.start()
        ray.get(actor.start.remote())
        times: dict[str, list[float]] = {"call": [], "actor": []}
        for _ in range(count):  # in turns, as the machine may have other work
            for kind, do in (
                ("call", worker.predict),
                ("actor", lambda chunk: ray.get(actor.predict.remote(chunk))),
            ):
                before = time.perf_counter()
                do(Chunk(items, "0"))
                times[kind].append(time.perf_counter() - before)
        ray.kill(actor)
    ray.shutdown()
    return (np.median(times["actor"]) - np.median(times["call"])) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="for the times; 0 leaves them out")
    parser.add_argument("--items", type=int, default=0, help="work items, for what Ray adds to one, such as 200")
    parser.add_argument("--memory-images", type=int, default=0, help="tiny ones, for the memory, such as 20000")
    parser.add_argument("--image", type=Path, help="an image with people, for the times")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.images:
            image = Image.open(arguments.image).convert("RGB")
            many = write_copies(image, arguments.images, folder / "many")
            few = write_copies(image, arguments.images // 4, folder / "few")
            counts = arguments.images - arguments.images // 4
            each = {
                system: (seconds(many, *how) - seconds(few, *how)) / counts * 1000 for system, how in SYSTEMS.items()
            }
            process, two_workers, one_thread, one_worker = each.values()
            print(json.dumps({system: round(value, 1) for system, value in each.items()}), "ms an image")
            print(f"two workers are {process / two_workers:.2f} times as fast as one process with two threads")
            print(f"one worker takes {one_worker / one_thread:.2f} times as long as one process with one thread")
        if arguments.items:
            print(f"Ray adds {item_overhead(arguments.items):.1f} ms to a work item of {CHUNK} images")
        if arguments.memory_images:
            noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
            tiny = write_copies(noise, arguments.memory_images, folder / "tiny")
            options = ["--det-model", "whole_image", "--ray", "local", "--workers", "2", "--format", "parquet"]
            for who, megabytes in memory(start(tiny, folder / "out", 1, options)).items():
                quarter = len(megabytes) // 4
                early, late = max(megabytes[quarter : 2 * quarter]), max(megabytes[-quarter:])
                print(f"{who}: {early:.0f} MB in the second quarter, {late:.0f} MB in the last")


if __name__ == "__main__":
    main()
