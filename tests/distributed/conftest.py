"""Inputs of shared runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared_runs import write_clip


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
