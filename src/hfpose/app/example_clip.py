"""A short clip out of a packaged scene, so that the video tab has an example without a network."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from hfpose.hub.resolve import PACKAGED_SCENES
from hfpose.media.images import load_image
from hfpose.media.video_writing import VideoFile

_FRAMES, _SHIFT = 40, 60


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hfpose-")  # goes when Python ends


@cache
def write_example_clip() -> Path:
    """A camera that goes past rendered people and back, of two seconds; each process writes it once, and deletes
    it."""
    scene = load_image(PACKAGED_SCENES / "300.jpg")
    width = scene.shape[1] - _SHIFT
    path = Path(_folder().name) / "clip.mp4"
    video = VideoFile(path, (width, scene.shape[0]), fps=20.0)
    for left in (_SHIFT * (1 - np.cos(np.linspace(0, 2 * np.pi, _FRAMES))) / 2).astype(int).tolist():
        video.write(np.ascontiguousarray(scene[:, left : left + width]), None)
    video.finish()
    return path
