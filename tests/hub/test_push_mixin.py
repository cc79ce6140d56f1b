"""Real models through `hub`: official checkpoint, conversion and pipeline, from an empty cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from checkpoint_host import CheckpointHost, zoo_environment
from file_server import Fault
from golden import Golden
from processes import run_python

POSE = "rtmpose-m_8xb256-420e_body8-256x192"
DETECTOR = "rtmdet_nano_320-8xb32_hand"

DETECT = """
from hfpose.hub import resolve as hub
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

# Ten processes that have everything imported, and go for the same model at the same moment.
TEN = """
import multiprocessing, os
import numpy as np, torch
from transformers import AutoImageProcessor, AutoModelForObjectDetection
import hfpose
from hfpose.hub import resolve as hub
from hfpose.models.rtmdet import convert_rtmdet, modeling_rtmdet

convert = hub._convert_checkpoint

def counted(name, checkpoint, folder):
    with open("conversions.txt", "a") as log:
        print(os.getpid(), name, file=log)
    convert(name, checkpoint, folder)

hub._convert_checkpoint = counted

def work(index, start):
    start.wait()
    folder = hub.resolve("hand", "detector")
    model = AutoModelForObjectDetection.from_pretrained(folder)
    inputs = AutoImageProcessor.from_pretrained(folder)(np.load("image.npy"), return_tensors="pt")
    with torch.inference_mode():
        np.save(f"answer-{index}.npy", model(**inputs).logits.numpy())

if __name__ == "__main__":
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(10)
    workers = [fork.Process(target=work, args=(index, start), daemon=True) for index in range(10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    print([worker.exitcode for worker in workers])
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


def run(code: str, tmp_path: Path, **environment: str) -> str:
    settings = {**zoo_environment(tmp_path / "zoo.json"), "HF_HOME": str(tmp_path / "home"), **environment}
    return run_python(code, tmp_path, settings)


def test_alias_becomes_a_model_that_transformers_loads(host: CheckpointHost, tmp_path: Path) -> None:
    assert run(DETECT, tmp_path) == "RTMDetForObjectDetection\n"


@pytest.mark.slow
def test_pipeline_from_an_empty_cache_and_again_without_a_request(host: CheckpointHost, tmp_path: Path) -> None:
    first = run(PREDICT, tmp_path)
    assert len(json.loads(first)[0]) == 17
    assert len(host.requests) == 2
    assert (tmp_path / "home/hfpose").is_dir()
    del host.requests[:]
    assert run(PREDICT, tmp_path) == first
    assert run(PREDICT, tmp_path, HF_HUB_OFFLINE="1") == first
    assert host.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs processes that fork")
def test_ten_processes_at_once_fetch_and_convert_once_and_answer_alike(host: CheckpointHost, tmp_path: Path) -> None:
    (path,) = (path for path in host.files if DETECTOR in path)
    host.add_fault(path, Fault(delay=0.005))
    image = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    np.save(tmp_path / "image.npy", image)
    assert run(TEN, tmp_path) == f"{[0] * 10}\n"
    assert [request.path for request in host.requests] == [path]
    assert [line.split()[1] for line in (tmp_path / "conversions.txt").read_text().splitlines()] == [DETECTOR]
    golden = Golden("detect", DETECTOR)
    with torch.inference_mode():
        expected = golden.model()(**golden.image_processor()(image, return_tensors="pt")).logits.numpy()
    for index in range(10):
        np.testing.assert_allclose(np.load(tmp_path / f"answer-{index}.npy"), expected, rtol=1e-4, atol=1e-4)
    assert [folder.name for folder in (tmp_path / "home/hfpose/models/v1").iterdir()] == [DETECTOR]
