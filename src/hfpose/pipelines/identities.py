"""Identities of instances over the frames of videos."""

from __future__ import annotations

from collections.abc import Generator, Iterable

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
            smoother = keypoint_smoother(frame) if options.smooth else None
        item = frame.item
        output = tracker.update(output)
        yield frame, output if smoother is None else smoother.update(output)


def keypoint_smoother(frame: Frame) -> KeypointSmoother:
    """A smoother for the frame rate of the video that a frame is of."""
    return KeypointSmoother((frame.video and frame.video.fps) or DEFAULT_FRAME_RATE)
