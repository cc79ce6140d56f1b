"""The whole way with keypoints of one's own: drawn images, training, interrupt, resume, evaluation, export,
prediction.

Some minutes: `pytest -m slow tests/training/test_journey.py`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from coco_files import write_json
from hfpose.media.images import save_image

NAMES = ("griff_links", "griff_rechts", "kopf", "spitze", "fuss_links", "fuss_rechts")
# Where the keypoints lie in the box of a figure, and their colors.
PLACES = np.array([[0.05, 0.4], [0.95, 0.4], [0.5, 0.1], [0.5, 0.5], [0.2, 0.95], [0.8, 0.95]])
COLORS = ((255, 60, 60), (60, 60, 255), (255, 255, 80), (80, 255, 80), (255, 80, 255), (80, 255, 255))
ENVIRONMENT = os.environ | {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}  # small networks are slower with more threads
LINKS = ((0, 3), (1, 3), (2, 3), (3, 4), (3, 5))


def draw_figures(folder: Path, count: int, seed: int) -> Path:
    """Images of 200x160 pixels with a figure each on noise, and their annotations."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    images, annotations = [], []
    for index in range(count):
        image = rng.integers(60, 140, (160, 200, 3), dtype=np.uint8)
        size = rng.uniform(60, 120, 2)
        corner = rng.uniform(4, np.array([200, 160]) - size - 4)
        points = corner + (PLACES + rng.uniform(-0.05, 0.05, (6, 2))) * size
        for start, end in LINKS:
            cv2.line(image, *(tuple(map(int, points[i])) for i in (start, end)), (230, 230, 230), 3)
        for point, color in zip(points, COLORS, strict=True):
            cv2.circle(image, tuple(map(int, point)), 6, color, -1)
        save_image(folder / f"{index}.png", image)
        images.append({"id": index + 1, "file_name": f"{index}.png", "width": 200, "height": 160})
        keypoints = np.column_stack((points, np.full(6, 2))).flatten().tolist()
        box = [*corner.tolist(), *size.tolist()]
        annotations.append(
            {
                "id": index + 1,
                "image_id": index + 1,
                "category_id": 1,
                "bbox": box,
                "keypoints": keypoints,
                "num_keypoints": 6,
            }
        )
    category = {"id": 1, "name": "figur", "keypoints": list(NAMES), "skeleton": [[a + 1, b + 1] for a, b in LINKS]}
    content = {"images": images, "annotations": annotations, "categories": [category]}
    return write_json(folder / "figures.json", content)


def hfpose(*arguments: object, code: int = 0) -> str:
    command = [sys.executable, "-m", "hfpose", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout


def small_model(folder: Path) -> Path:
    """An RTMPose for crops of 96x96 pixels that has learned nothing, quick enough for two cores."""
    import torch

    import hfpose as library

    torch.manual_seed(0)
    schema = library.load_schema("coco")
    config = library.RTMPoseConfig(
        backbone_config=library.CSPNeXtBackboneConfig(depth_multiplier=0.167, width_multiplier=0.25),
        image_size=(96, 96), hidden_size=64, attention_size=32,
        id2label=dict(enumerate(schema.keypoint_names)), keypoint_schema=schema.to_dict(),
    )  # fmt: skip
    library.RTMPoseForPoseEstimation(config).save_pretrained(folder)
    library.RTMPoseImageProcessor(size={"height": 96, "width": 96}).save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("heard_interrupts")
def test_own_keypoints_from_images_to_predictions(tmp_path):
    train, held_out = draw_figures(tmp_path / "train", 60, 1), draw_figures(tmp_path / "val", 12, 2)
    tuned = tmp_path / "tuned"
    assert "No fault was found." in hfpose("check-data", train, "--output", tmp_path / "samples.png")
    options = [
        "train", "--model", small_model(tmp_path / "small"), "--data", train, "--val-data", held_out, "--output", tuned,
        "--steps", 500, "--batch-size", 16, "--learning-rate", 4e-3, "--save-steps", 125, "--log-steps", 10,
        "--workers", 1, "--cpu",
    ]  # fmt: skip
    running = subprocess.Popen(
        [sys.executable, "-m", "hfpose", *map(str, options)], stdout=subprocess.PIPE, text=True, start_new_session=True,
        env=ENVIRONMENT,
    )  # fmt: skip
    deadline = time.monotonic() + 600
    assert running.stdout is not None
    first = []
    for line in running.stdout:
        first.append(line)
        if line.startswith("step    150/"):
            os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C: the workers get it too
        assert time.monotonic() < deadline
    assert running.wait() == 130
    told = "".join(first)
    assert "2 flip pairs: griff_links and griff_rechts, fuss_links and fuss_rechts" in told
    assert "newly initialized" in told and "To go on, run the same command again." in told

    resumed = hfpose(*options)
    assert re.search(r"Going on from .*checkpoint-15\d", resumed)
    before, after = map(float, re.search(r"AP (\d\.\d+) -> (\d\.\d+)", resumed).groups())
    assert after > before + 0.25

    hfpose("eval", "--model", tuned, "--data", held_out, "--gt-boxes", "--output", tmp_path / "numbers")
    assert json.loads((tmp_path / "numbers/metrics.json").read_text())["AP"] == pytest.approx(after, abs=2e-3)
    exported = tmp_path / "exported"
    hfpose("export", tuned, "--output", exported)
    for model, backend in ((tuned, "torch"), (exported, "onnxruntime")):
        out = tmp_path / backend
        hfpose(
            "predict", tmp_path / "val/0.png", "--pose2d", model, "--det-model", "whole_image", "--backend", backend,
            "--out-dir", out,
        )  # fmt: skip
        assert list(out.rglob("*.json"))
