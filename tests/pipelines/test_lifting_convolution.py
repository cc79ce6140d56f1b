"""Temporal convolutions as lifters: exact at the borders of windows, and online."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clips_to_lift import frames_of, online, poses, walk
from hfpose.models.temporal_convolution.configuration_temporal_convolution import TemporalConvolutionConfig
from hfpose.models.temporal_convolution.image_processing_temporal_convolution import TemporalConvolutionImageProcessor
from hfpose.models.temporal_convolution.modeling_temporal_convolution import TemporalConvolutionForPoseLifting
from hfpose.pipelines.lifting_stage import TemporalLifter
from hfpose.pipelines.stage import Stage
from hfpose.results import PoseOutput
from walking import IMAGE_SIZE

FRAMES = 40


@pytest.fixture(scope="module")
def stage() -> Stage:
    torch.manual_seed(0)
    model = TemporalConvolutionForPoseLifting(TemporalConvolutionConfig(hidden_size=16, kernel_sizes=(3, 3)))
    return Stage(model.eval(), TemporalConvolutionImageProcessor())


@pytest.fixture(scope="module")
def track() -> np.ndarray:
    return walk(FRAMES)


@pytest.fixture(scope="module")
def frames(track: np.ndarray) -> list[PoseOutput]:
    return frames_of(track)


def test_windows_of_a_long_clip_are_one_convolution(stage: Stage, track: np.ndarray, frames: list[PoseOutput]) -> None:
    inputs = stage.image_processor(track, IMAGE_SIZE, schema="coco", return_tensors="pt")
    with torch.no_grad():
        whole = stage.image_processor.post_process_pose_lifting(
            stage.model(**inputs), IMAGE_SIZE, do_rebase_height=False
        )[0]
    lifter = TemporalLifter(stage, box_smoothing=0)
    assert lifter.window == 9
    np.testing.assert_allclose(poses(lifter.lift(frames)), whole, atol=1e-5)


@pytest.mark.parametrize("lookahead", [4, 8])
def test_stream_with_the_frames_that_count_is_the_clip(lookahead: int, stage: Stage, frames: list[PoseOutput]) -> None:
    lifter = TemporalLifter(stage, do_normalize_boxes=False)
    streamed = poses(online(lifter, frames, lookahead))
    np.testing.assert_allclose(streamed, poses(lifter.lift(frames)), atol=1e-5)


def test_frames_can_be_lifted_alone(stage: Stage, frames: list[PoseOutput]) -> None:
    lifter = TemporalLifter(stage, temporal="frame")
    alone = poses([lifter.lift([frame])[0] for frame in frames])
    np.testing.assert_allclose(poses(lifter.lift(frames)), alone, atol=1e-5)


def test_model_of_one_frame_needs_no_time(frames: list[PoseOutput]) -> None:
    torch.manual_seed(0)
    model = TemporalConvolutionForPoseLifting(TemporalConvolutionConfig(hidden_size=16, kernel_sizes=(1, 1)))
    lifted = TemporalLifter(Stage(model.eval(), TemporalConvolutionImageProcessor())).lift(frames)
    assert poses(lifted).shape == (FRAMES, 17, 3)
