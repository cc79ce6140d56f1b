"""Identities of instances over the frames of videos, and what follows from them: who is kept, gaps, smooth keypoints."""

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
from hfpose.tracking.identity_tracker import CONFIRMATION_FRAMES
from hfpose.tracking.people_choice import PeopleChoice
from hfpose.tracking.tracker import KeypointSmoother

DEFAULT_FRAME_RATE = 30.0


def follow_people(
    results: Iterable[tuple[Frame, PoseOutput]], options: CallOptions
) -> Generator[tuple[Frame, PoseOutput], None, None]:
    """The results with identities, with the people alone that are asked for, and with smooth keypoints; each video begins anew."""
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
    """What frames that belong together have in common: their video; images that are tracked are one clip (None)."""
    return None if frame.item.kind == "image" and options.track else frame.item


def read_clip(
    results: Iterable[tuple[Frame, PoseOutput]], images: ImageSpool, options: CallOptions
) -> tuple[list[Frame], list[PoseOutput]]:
    """All frames of a clip without their images, and their people with identities, those who are asked for, without gaps.

    Args:
        results: of the frames.
        images: gets their images where they are drawn or cannot be read again, and None else.
        options: what is asked for.
    """
    frames, outputs = [], []
    followed = PeopleFollower(options)
    for frame, output in results:
        images.append(frame.image if options.draws or frame.source is None else None)
        outputs.append(followed.track(frame, output, looks_back=True))
        frames.append(replace(frame, image=None))
    for output in outputs:
        followed.consider(output)
    outputs = [followed.select(output) for output in outputs]
    return frames, fill_gaps(outputs, frame_times(frames), options.fill_gaps) if options.fill_gaps else outputs


class PeopleFollower:
    """Identities of the people of a clip, and which of them are asked for.

    Args:
        options: of the call.
        is_image: whether there is but one image, whose people need no identities.
    """

    def __init__(self, options: CallOptions, is_image: bool = False) -> None:
        self._tracker = options.make_tracker() if options.tracks and not is_image else None
        self._choice = None if options.people is None else PeopleChoice(options.people)
        self._last: deque[PoseOutput] = deque(maxlen=CONFIRMATION_FRAMES)

    def track(self, frame: Frame, output: PoseOutput, looks_back: bool = False) -> PoseOutput:
        """All people of the next frame with identities.

        Args:
            frame: with its image, where the camera is followed.
            output: what is found in it.
            looks_back: whether who is confirmed now gets the identity in the frames before too, by a change of the outputs
                that this method gave for them, the last `CONFIRMATION_FRAMES` at most.
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

    def consider(self, output: PoseOutput) -> None:
        """Take the people of a frame into account for who is asked for."""
        if self._choice is not None:
            self._choice.add(output)

    def select(self, output: PoseOutput) -> PoseOutput:
        """Those of the people of a frame that are asked for, by what is known so far."""
        return output if self._choice is None else self._choice.select(output)

    def update(self, frame: Frame, output: PoseOutput) -> PoseOutput:
        """The people of the next frame who are asked for, with identities."""
        output = self.track(frame, output)
        self.consider(output)
        return self.select(output)


class _PeopleByFrame:
    """The same for frames that do not wait for the end of the clip, with smooth keypoints.

    Those of files wait for the few frames within which who is new is confirmed.
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
    """The frames of a whole clip with smooth keypoints, as asked for."""
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
