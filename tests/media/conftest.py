"""Images, videos and results that several tests use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clips import write_frames
from hfpose.keypoints import load_schema
from hfpose.media.frames import Frame
from hfpose.results import PoseOutput


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """RGB image (48, 64, 3) with smooth color and some noise; its corners differ."""
    y, x = np.mgrid[:48, :64]
    smooth = np.stack([x * 3, y * 4, 255 - x * 2 - y], axis=2)
    noise = np.random.default_rng(0).integers(0, 12, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    """Writes a clip of 64x48 pixels whose top left quarter is red and whose rest gets brighter with each frame."""

    def write(name: str = "clip.mp4", num_frames: int = 12, fps: float = 25.0, codec: str = "mp4v") -> Path:
        images = np.empty((num_frames, 48, 64, 3), np.uint8)
        images[:] = 2 * np.arange(num_frames)[:, None, None, None]
        images[:, :24, :32] = (255, 0, 0)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return write_frames(tmp_path / name, images, codec, fps)

    return write


@pytest.fixture
def cut_video(write_video: Callable[..., Path]) -> Path:
    """A video of 60 frames of which the second half of the file is missing."""
    path = write_video("cut.avi", num_frames=60, codec="MJPG")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def make_output(frame: Frame, people: int = 1, schema: str = "coco") -> PoseOutput:
    """A result for a frame as a pipeline would give it: numbers that depend on the frame, and the frame as drawing."""
    if frame.error is not None:
        return PoseOutput.failed(frame.error, source=frame.source, frame_index=frame.frame_index)
    keypoint_schema = load_schema(schema)
    rng = np.random.default_rng([frame.item.index, frame.frame_index or 0])
    shape = (people, keypoint_schema.num_keypoints)
    return PoseOutput(
        keypoints=rng.uniform(0, 48, (*shape, 2)),
        keypoint_scores=rng.uniform(0.3, 1, shape),
        boxes=np.tile(np.array([1.0, 2.0, 30.0, 40.0]), (people, 1)),
        box_scores=rng.uniform(0.5, 1, people),
        schema=keypoint_schema,
        visualization=frame.image,
        source=frame.source,
        frame_index=frame.frame_index,
    )


@pytest.fixture(name="make_output")
def make_output_fixture() -> Callable[..., PoseOutput]:
    return make_output
