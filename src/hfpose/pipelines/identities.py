"""Identities of instances over the frames of videos."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence

import numpy as np

from hfpose.media.frames import Frame
from hfpose.pipelines.options import CallOptions
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import KeypointSmoother, PoseTracker

DEFAULT_FRAME_RATE = 30.0


def track_results(
    results: Iterable[tuple[Frame, PoseOutput]], options: CallOptions
) -> Generator[tuple[Frame, PoseOutput], None, None]:
    """The results with identities, and with smooth keypoints where asked; each video begins anew."""
    tracker = PoseTracker(options.association, options.tracking_threshold)
    item, smoother = None, None
    for frame, output in results:
        if item is None or (frame.item != item and "video" in (frame.item.kind, item.kind)):
            tracker.reset()
            smoother = keypoint_smoother(frame, options) if options.smooth else None
        item = frame.item
        output = tracker.update(output)
        yield frame, output if smoother is None else smoother.update(output, frame.timestamp)


def keypoint_smoother(frame: Frame, options: CallOptions) -> KeypointSmoother:
    """A smoother for the video that a frame is of."""
    return KeypointSmoother(frame_rate(frame), options.smooth_min_cutoff, options.smooth_beta)


def frame_rate(frame: Frame) -> float:
    """Frames per second of the video that a frame is of."""
    return (frame.video and frame.video.fps) or DEFAULT_FRAME_RATE


def frame_times(frames: Sequence[Frame]) -> np.ndarray:
    """Seconds (T,) at which the frames of a video are shown; by its rate where they do not grow or are not known."""
    times = np.array([np.nan if frame.timestamp is None else frame.timestamp for frame in frames])
    if (np.diff(times) > 0).all() and np.isfinite(times).all():
        return times
    return np.arange(len(frames)) / frame_rate(frames[0])
