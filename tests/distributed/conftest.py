"""Small models, and processes that share a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import hfpose
from networks import settle_normalizations

TIMEOUT = 150.0  # seconds for all processes of a run


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Path:
    """Folder of a pose model that takes about a millisecond for an image."""
    torch.manual_seed(0)
    schema = hfpose.load_schema("coco")
    config = hfpose.RTMPoseConfig(
        image_size=(64, 64),
        backbone_config=hfpose.CSPNeXtBackboneConfig(depth_multiplier=0.167, width_multiplier=0.125),
        hidden_size=32,
        attention_size=32,
        id2label=dict(enumerate(schema.keypoint_names)),
        keypoint_schema=schema.to_dict(),
    )
    model = hfpose.RTMPoseForPoseEstimation(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    settle_normalizations(model, torch.randn(8, 3, 64, 64))
    folder = tmp_path_factory.mktemp("models") / "quick"
    model.save_pretrained(folder)
    hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of 150 images of noise, and one that is none."""
    folder = tmp_path / "in"
    folder.mkdir()
    for index in range(150):
        noise = np.random.default_rng(index).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{index:04d}.jpg")
    (folder / "0070.jpg").write_text("no image")
    return folder


@pytest.fixture
def make_clip(tmp_path) -> Callable[..., Path]:
    """Writes a video in which an image slides to and fro."""

    def make(image: np.ndarray, num_frames: int, name: str = "clip.mp4", codec: str = "mp4v") -> Path:
        width = 3 * image.shape[1] // 4 // 2 * 2
        height = image.shape[0] // 2 * 2
        path = tmp_path / name
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25, (width, height))
        for index in range(num_frames):
            left = int((image.shape[1] - width) * (0.5 - 0.5 * np.cos(index / 20)))
            writer.write(np.ascontiguousarray(image[:height, left : left + width, ::-1]))
        writer.release()
        return path

    return make


class Processes:
    """The processes of a run of `hfpose predict`."""

    def __init__(self, arguments: Sequence[object], count: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "hfpose", "predict", *map(str, arguments)]
        self.processes = [
            subprocess.Popen(
                command,
                env={
                    **os.environ,
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(count),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                    "HFPOSE_RANK_TIMEOUT": "4",
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(count)
        ]
        self._deadline = time.monotonic() + TIMEOUT

    def kill_when(self, rank: int, reached: Callable[[], bool]) -> None:
        """Kill one process as soon as `reached` is true."""
        while not reached():
            assert self.processes[rank].poll() is None, "it ended before it could be killed"
            assert time.monotonic() < self._deadline
            time.sleep(0.005)
        self.processes[rank].kill()

    def wait(self) -> list[tuple[int, str]]:
        """Exit code and stderr of each, when all have ended by themselves."""
        ended = [process.communicate(timeout=self._deadline - time.monotonic()) for process in self.processes]
        return [(process.returncode, err) for process, (_, err) in zip(self.processes, ended, strict=True)]

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait(timeout=30)


@pytest.fixture
def predict_shared() -> Iterator[Callable[..., Processes]]:
    """Starts `hfpose predict` in several processes."""
    started: list[Processes] = []

    def start(*arguments: object, count: int = 2) -> Processes:
        started.append(Processes(arguments, count))
        return started[-1]

    yield start
    for processes in started:
        processes.stop()


@pytest.fixture
def predict_alone(monkeypatch) -> Callable[..., int]:
    """Runs `hfpose predict` in this process; returns the exit code."""
    from hfpose import cli

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["hfpose", "predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        return int(exit_info.value.code or 0)

    return run
