"""Identities of instances over the frames of videos, and what needs them: chosen people, filled gaps, smoothed
keypoints."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from hfpose.media.frames import Frame, MediaItem
from hfpose.media.image_spool import ImageSpool
from hfpose.pipelines.options import CallOptions
from hfpose.results import PoseOutput
from hfpose.tracking.filters import fill_gaps, smooth_clip
from hfpose.tracking.identity_tracker import CONFIRMATION_FRAMES, IdentityTracker
from hfpose.tracking.people_choice import PeopleChoice
from hfpose.tracking.relinking import relink_tracks
from hfpose.tracking.tracker import KeypointSmoother


def follow_people(
    results: Iterable[tuple[Frame, PoseOutput]], options: CallOptions
) -> Generator[tuple[Frame, PoseOutput], None, None]:
    """The results with identities, only the chosen people, and smoothed keypoints; each video starts afresh."""
    live: dict[MediaItem | None, _PeopleByFrame] = {}
    for item, group in groupby(results, key=lambda pair: clip_of(pair[0], options)):
        if options.waits_for_clip(item):
            with ImageSpool() as images:
                frames, outputs = read_clip(group, images, options)
                outputs = smooth_outputs(outputs, frames, options)
                for frame, image, output in zip(frames, images, outputs, strict=True):
                    yield replace(frame, image=image), output
            continue
        people = live.get(item) or _PeopleByFrame(options, item)
        if item is not None and item.is_live:
            live[item] = people  # several live sources take turns
        yield from people.follow(group)


def clip_of(frame: Frame, options: CallOptions) -> MediaItem | None:
    """The video that a frame belongs to; images that are tracked are one clip (None)."""
    return None if frame.item.kind == "image" and options.track else frame.item


def read_clip(
    results: Iterable[tuple[Frame, PoseOutput]], images: ImageSpool, options: CallOptions
) -> tuple[list[Frame], list[PoseOutput]]:
    """All frames of a clip without their images, and their chosen people with identities and filled gaps.

    Args:
        images: takes their images where they are drawn or cannot be read again, otherwise None.
    """
    frames, outputs = [], []
    followed = PeopleFollower(options, is_clip=True)
    for frame, output in results:
        images.append(frame.image if options.draws or frame.source is None else None)
        outputs.append(followed.track(frame, output, looks_back=True))
        frames.append(replace(frame, image=None))
    times = frame_times(frames)
    followed.relink(outputs, times)
    for output in outputs:
        followed.consider(output)
    outputs = [followed.select(output) for output in outputs]
    return frames, fill_gaps(outputs, times, options.fill_gaps) if options.fill_gaps else outputs


class PeopleFollower:
    """Identities of the people of a clip, and the choice among them.

    Args:
        is_image: whether this is a single image, whose people need no identities.
        is_clip: whether `relink` follows at the end.
    """

    def __init__(self, options: CallOptions, is_image: bool = False, is_clip: bool = False) -> None:
        links = is_clip and options.link_tracks is not False
        self._tracker = options.make_tracker(links) if options.tracks and not is_image else None
        self._links = links and (bool(options.link_tracks) or isinstance(self._tracker, IdentityTracker))
        self._choice = None if options.people is None else PeopleChoice(options.people)
        self._last: deque[PoseOutput] = deque(maxlen=CONFIRMATION_FRAMES)

    def track(self, frame: Frame, output: PoseOutput, looks_back: bool = False) -> PoseOutput:
        """All people of the next frame with identities.

        Args:
            frame: with its image, where the camera is followed.
            output: what is found in it.
            looks_back: whether a person confirmed now gets the identity in the frames before too: the last
                `CONFIRMATION_FRAMES` outputs of this method are changed in place.
        """
        if self._tracker is None:
            return output
        output = self._tracker.update(output, frame.image)
        if looks_back:
            self._last.append(output)
            for ago, row, identity in self._tracker.late_identities:
                before = self._last[-1 - ago].track_ids
                assert before is not None
                before[row] = identity
        return output

    def relink(self, outputs: Sequence[PoseOutput], times: np.ndarray) -> None:
        """Look at the identities of a whole clip again: `outputs` at `times` (T,) in seconds are changed in place."""
        if self._links:
            relink_tracks(outputs, times, getattr(self._tracker, "max_gap", IdentityTracker().max_gap))

    def consider(self, output: PoseOutput) -> None:
        """Take the people of a frame into account for the choice."""
        if self._choice is not None:
            self._choice.add(output)

    def select(self, output: PoseOutput) -> PoseOutput:
        """The chosen people of a frame, by the frames so far."""
        return output if self._choice is None else self._choice.select(output)

    def update(self, frame: Frame, output: PoseOutput) -> PoseOutput:
        """The chosen people of the next frame, with identities."""
        output = self.track(frame, output)
        self.consider(output)
        return self.select(output)


class _PeopleByFrame:
    """The same frame by frame, without waiting for the end of the clip, with smoothed keypoints.

    Frames of files wait for the few frames in which a new person is confirmed.
    """

    def __init__(self, options: CallOptions, item: MediaItem | None) -> None:
        is_image = item is not None and item.kind == "image"
        self._waits = options.tracks and not is_image and (item is None or not item.is_live)
        self._followed = PeopleFollower(options, is_image)
        self._smooths = not is_image and options.smooths_by_frame("this source")
        self._options = options
        self._smoother: KeypointSmoother | None = None

    def follow(self, results: Iterable[tuple[Frame, PoseOutput]]) -> Generator[tuple[Frame, PoseOutput], None, None]:
        waiting: deque[tuple[Frame, PoseOutput]] = deque()
        for frame, output in results:
            # Arrays may be of a stream.
            waits = self._waits and (frame.item.kind == "video" or frame.source is not None)
            waiting.append((frame, self._followed.track(frame, output, looks_back=waits)))
            while len(waiting) > (CONFIRMATION_FRAMES - 1 if waits else 0):
                yield self._complete(*waiting.popleft())
        while waiting:
            yield self._complete(*waiting.popleft())

    def _complete(self, frame: Frame, output: PoseOutput) -> tuple[Frame, PoseOutput]:
        self._followed.consider(output)
        output = self._followed.select(output)
        if self._smooths:
            self._smoother = self._smoother or keypoint_smoother(frame, self._options)
            output = self._smoother.update(output, frame.timestamp)
        return frame, output


def smooth_outputs(outputs: list[PoseOutput], frames: Sequence[Frame], options: CallOptions) -> list[PoseOutput]:
    """The frames of a whole clip with smoothed keypoints."""
    times = frame_times(frames)
    for name in options.filters:
        if name == "one-euro":
            smoother = keypoint_smoother(frames[0], options)
            outputs = [smoother.update(output, time) for output, time in zip(outputs, times.tolist(), strict=True)]
        else:
            outputs = smooth_clip(outputs, times, options.clip_filter(name))
    return outputs


def keypoint_smoother(frame: Frame, options: CallOptions) -> KeypointSmoother:
    """A smoother for the video that a frame is of."""
    return KeypointSmoother(frame.fps, options.smooth_min_cutoff, options.smooth_beta)


def frame_times(frames: Sequence[Frame]) -> np.ndarray:
    """Seconds (T,) at which the frames of a video are shown; by its rate where they do not grow or are not known."""
    times = np.array([np.nan if frame.timestamp is None else frame.timestamp for frame in frames])
    if (np.diff(times) > 0).all() and np.isfinite(times).all():
        return times
    return np.arange(len(frames)) / frames[0].fps
