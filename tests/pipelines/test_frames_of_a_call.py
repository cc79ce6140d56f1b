"""How much of our own code lies between a call and the networks."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

import hfpose

SOURCE = str(Path(hfpose.__file__).parent)
MOST_FRAMES = 8
IMAGE = np.zeros((240, 320, 3), np.uint8)


@pytest.fixture
def frames_to_forward(monkeypatch):
    """Counts the frames of ours up to and with the forward pass of each class of models that a pipeline has."""
    counts: dict[str, int] = {}

    def watch(pipe: hfpose.PosePipeline) -> dict[str, int]:
        for stage in pipe.stages.values():
            kind = type(stage.model)
            forward = kind.forward

            def counting(self, *args, forward=forward, kind=kind, **kwargs):
                stack = traceback.extract_stack(sys._getframe(1))
                counts[kind.__name__] = 1 + sum(frame.filename.startswith(SOURCE) for frame in stack)
                return forward(self, *args, **kwargs)

            monkeypatch.setattr(kind, "forward", counting)
        return counts

    return watch


def test_a_call_in_2d(tiny_pose, person_detector, photo, frames_to_forward):
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector=person_detector, device="cpu")
    counts = frames_to_forward(pipe)
    pipe(photo)
    assert set(counts) == {"RTMDetForObjectDetection", "RTMPoseForPoseEstimation"}
    assert max(counts.values()) <= MOST_FRAMES, counts


def test_a_call_in_3d(tiny_pose, tiny_lifter, person_detector, photo, frames_to_forward):
    pipe = hfpose.pipeline(
        "pose-estimation-3d", model=tiny_lifter, pose=tiny_pose, detector=person_detector, device="cpu"
    )
    counts = frames_to_forward(pipe)
    pipe(photo)
    assert len(counts) == 3
    assert max(counts.values()) <= MOST_FRAMES, counts
