"""Identities of instances over the frames of videos."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace

import numpy as np

from hfpose.media.frames import Frame
from hfpose.pipelines.options import CallOptions
from hfpose.results import PoseOutput
from hfpose.tracking.filters import smooth_zero_phase
from hfpose.tracking.tracker import UNTRACKED, KeypointSmoother, PoseTracker

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
        yield frame, output if smoother is None else smoother.update(output, frame.seconds)


def keypoint_smoother(frame: Frame, options: CallOptions) -> KeypointSmoother:
    """A smoother for the video that a frame is of."""
    return KeypointSmoother(frame_rate(frame), options.smooth_min_cutoff, options.smooth_beta)


def frame_rate(frame: Frame) -> float:
    """Frames per second of the video that a frame is of."""
    return (frame.video and frame.video.fps) or DEFAULT_FRAME_RATE


def frame_times(frames: Sequence[Frame]) -> np.ndarray:
    """Seconds (T,) at which the frames of a video are shown; by its rate where they do not grow or are not known."""
    times = np.array([np.nan if frame.seconds is None else frame.seconds for frame in frames])
    if (np.diff(times) > 0).all() and np.isfinite(times).all():
        return times
    return np.arange(len(frames)) / frame_rate(frames[0])


def smooth_clip(outputs: Sequence[PoseOutput], times: np.ndarray, cutoff: float) -> list[PoseOutput]:
    """The frames of a video with smooth `keypoints`, without lag; those without an identity stay as they are.

    Args:
        outputs: T results with `track_ids`.
        times: (T,) seconds.
        cutoff: in Hz.
    """
    smoothed = [output.keypoints.copy() for output in outputs]
    for places in track_places(outputs).values():
        index, rows = np.array(places).T
        motion = np.stack([outputs[i].keypoints[row] for i, row in places])
        for i, row, pose in zip(index, rows, smooth_zero_phase(motion, times[index], cutoff), strict=True):
            smoothed[i][row] = pose
    return [replace(output, keypoints=keypoints) for output, keypoints in zip(outputs, smoothed, strict=True)]


def track_places(outputs: Iterable[PoseOutput]) -> dict[int, list[tuple[int, int]]]:
    """Where each identity is: numbers of the results, and its rows in them."""
    places: dict[int, list[tuple[int, int]]] = {}
    for index, output in enumerate(outputs):
        for row, track in enumerate([] if output.track_ids is None else output.track_ids.tolist()):
            if track != UNTRACKED:
                places.setdefault(track, []).append((index, row))
    return places
