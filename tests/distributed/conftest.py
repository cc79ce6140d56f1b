"""Small models and inputs, and runs of the command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import hfpose
from networks import settle_normalizations
from shared_runs import write_clip


@pytest.fixture(scope="session")
def quick(tmp_path_factory) -> Path:
    """Folder of a pose model that takes about a millisecond for an image."""
    torch.manual_seed(0)
    schema = hfpose.load_schema("coco")
    config = hfpose.RTMPoseConfig(
        image_size=(64, 64),
        backbone_config=hfpose.ResNetBackboneConfig(
            stem_channels=8, base_channels=8, depths=(1,) * 4, block_type="basic"
        ),
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
    """Writes a video, see `write_clip`."""

    def make(image: np.ndarray, num_frames: int, name: str = "clip.mp4", codec: str = "mp4v") -> Path:
        return write_clip(tmp_path / name, image, num_frames, codec)

    return make


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
