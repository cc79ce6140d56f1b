"""Real models through `hub`: official checkpoint, conversion and pipeline, from an empty cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkpoint_host import CheckpointHost, zoo_environment
from golden import Golden

POSE = "rtmpose-m_8xb256-420e_body8-256x192"
DETECTOR = "rtmdet_nano_320-8xb32_hand"

DETECT = """
from hfpose import hub
from transformers import AutoModelForObjectDetection
folder = hub.resolve("hand", "detector")
print(type(AutoModelForObjectDetection.from_pretrained(folder)).__name__)
"""
PREDICT = """
import json, numpy as np
from hfpose import pipeline
pipe = pipeline("pose-estimation", model="human", device="cpu")
image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
out = pipe(image, boxes=[[10, 10, 200, 220]])
print(json.dumps(out.keypoints.tolist()))
"""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Seeded checkpoints as the reference would publish them."""
    folder = tmp_path_factory.mktemp("checkpoints")
    goldens = {DETECTOR: Golden("detect", DETECTOR), POSE: Golden("pose2d", POSE)}
    return {name: golden.write_checkpoint(folder / "x.pth").read_bytes() for name, golden in goldens.items()}


@pytest.fixture
def host(tmp_path: Path, checkpoints: dict[str, bytes]) -> Iterator[CheckpointHost]:
    with CheckpointHost() as host:
        for name, checkpoint in checkpoints.items():
            host.add(name, checkpoint)
        host.item(POSE)["default_detector"] = DETECTOR  # the smallest one, to keep the test quick
        host.write_zoo(tmp_path / "zoo.json")
        yield host


def run(code: str, tmp_path: Path) -> str:
    env = {**os.environ, **zoo_environment(tmp_path / "zoo.json"), "HF_HOME": str(tmp_path / "home")}
    env.pop("HFPOSE_CACHE", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_alias_becomes_a_model_that_transformers_loads(host: CheckpointHost, tmp_path: Path) -> None:
    assert run(DETECT, tmp_path) == "RTMDetForObjectDetection\n"


def test_pipeline_from_an_empty_cache_and_again_without_a_request(host: CheckpointHost, tmp_path: Path) -> None:
    first = run(PREDICT, tmp_path)
    assert len(json.loads(first)[0]) == 17
    assert len(host.requests) == 2
    assert (tmp_path / "home/hfpose").is_dir()
    del host.requests[:]
    assert run(PREDICT, tmp_path) == first
    assert host.requests == []
