"""Jobs of runs that workers share, and what runs have written, to be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from clips import write_frames
from hfpose.distributed.job import PredictJob
from hfpose.media.manifest import MANIFEST, read_manifest
from hfpose.media.sources import open_source


def job(
    model: Path,
    detector: Any = "whole_image",
    formats: tuple[str, ...] = ("json",),
    kind: type[PredictJob] = PredictJob,
    **changes: Any,
) -> PredictJob:
    """A job with a model; changes replace fields, those of `models` add to them."""
    models = {"task": "pose-estimation", "model": model, "detector": detector, "device": "cpu"}
    fields: dict[str, Any] = {
        "finding": {"batch_size": 4},
        "tracking": {},
        "lifting": {},
        "drawing": {"keypoint_threshold": -100, "skeleton_style": "mmpose", "black_background": False},
        "draw_heatmaps": False,
        "suppress_similar": False,
        "num_instances": None,
        "formats": formats,
    }
    return PredictJob(models={**models, **changes.pop("models", {})}, **{**fields, **changes})


def write_clip(path: Path, image: np.ndarray, num_frames: int, codec: str = "mp4v") -> Path:
    """Write a video in which an image slides to and fro."""
    width = 3 * image.shape[1] // 4 // 2 * 2
    height = image.shape[0] // 2 * 2
    lefts = ((image.shape[1] - width) * (0.5 - 0.5 * np.cos(np.arange(num_frames) / 20))).astype(int).tolist()
    return write_frames(path, (image[:height, left : left + width] for left in lefts), codec)


def assert_same_results(folder: Path, other: Path) -> None:
    """Finished files (see `written`) are the same, of videos of noise the frames up to what the encoder loses.

    x264 gives other bytes for the same images now and then: its adaptive quantization depends on memory that it has
    not written. Such frames of noise differ by 8 at most; without the drawing they differ by 19, from the next by 15.
    """
    found, expected = written(folder), written(other)
    assert found.keys() == expected.keys()
    for name, content in found.items():
        if not name.endswith(".mp4"):
            assert content == expected[name], name
            continue
        for frame, same in zip(open_source(str(folder / name)), open_source(str(other / name)), strict=True):
            assert frame.timestamp == same.timestamp
            assert frame.image is not None and same.image is not None
            difference = cv2.absdiff(frame.image, same.image).mean()
            assert difference < 10, (name, frame.index, difference)


def written(folder: Path) -> dict[str, bytes]:
    """Finished files by name, without the manifest, which tells times."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.name not in (".hfpose-output", MANIFEST) and path.is_file()
    }


def facts(folder: Path) -> list[dict[str, object]]:
    """The lines of the manifest without times."""
    return [
        {key: value for key, value in line.items() if key != "seconds"} for line in read_manifest(folder / MANIFEST)
    ]
