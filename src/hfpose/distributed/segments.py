"""Long videos in segments, so that several workers can do one.

A segment is what the networks say of each of its frames by itself. What looks at frames in their order (identities,
smoothing, lifting) works on the joined results of the whole video, as if one process had made them; so segments need
not overlap.

Jumping to a frame is not exact in every file. So each segment notes what its first frame looks like and when it is,
and the same of the frame behind its last; where these do not fit together, the later segment is done again from frames
that are counted from the beginning.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.sources import Source, open_frames
from hfpose.media.video import read_video
from hfpose.pipelines import PosePipeline
from hfpose.pipelines.options import CallOptions, make_options
from hfpose.results import PoseOutput

_ARRAYS = ("keypoints", "keypoint_scores", "boxes", "box_scores")
_OF_A_FRAME = ("frame_index", "timestamp", "error", "image_size")
_NO_TIMEOUT = 30.0  # seconds, for URLs, which are not split

Fingerprint = tuple[float, int]
"""Time of a frame in seconds, and a checksum of its pixels."""


@dataclass(frozen=True)
class LongVideo:
    """A video that is done in segments."""

    item: MediaItem
    num_frames: int  # as the file says, which need not be true
    segment_frames: int

    @property
    def segments(self) -> list[Segment]:
        """The parts of the video in order; the last has no end, since the number of frames may be wrong."""
        starts = range(0, self.num_frames, self.segment_frames)
        return [
            Segment(self.item, start, None if start == starts[-1] else start + self.segment_frames) for start in starts
        ]


@dataclass(frozen=True)
class Segment:
    """The frames of a video from `start` to the one before `stop`; None is the end."""

    item: MediaItem
    start: int
    stop: int | None

    @property
    def file_name(self) -> str:
        """Relative path of the file with its results."""
        return f"{self.item.name}/{self.start:09d}-{self.stop or 'end'}.npz"


@dataclass(frozen=True)
class SegmentResult:
    """2D results of a segment's frames, and of a last one with an error if the video breaks off.

    `first` and `after` are the fingerprints of its first frame and of the one behind its last, None where there is
    none.
    """

    outputs: list[PoseOutput]
    video: VideoInfo | None
    first: Fingerprint | None
    after: Fingerprint | None
    seconds: float

    def to_bytes(self) -> bytes:
        """The content of a file, see `from_bytes`."""
        good = [output for output in self.outputs if output.error is None]
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(output, name) for output in good])
            for name in _ARRAYS
            if good and getattr(good[0], name) is not None
        }
        about = {
            "frames": [
                {"instances": len(output), **{name: getattr(output, name) for name in _OF_A_FRAME}}
                for output in self.outputs
            ],
            "video": self.video and {**asdict(self.video), "time_base": str(self.video.time_base or 0)},
            "first": self.first,
            "after": self.after,
            "seconds": self.seconds,
        }
        file = io.BytesIO()
        np.savez(file, about=np.array(json.dumps(about)), **arrays)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, item: MediaItem, schema: KeypointSchema) -> SegmentResult:
        """The result that `to_bytes` made a file of.

        Raises:
            InputError: if the file is damaged.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                about = json.loads(str(stored["about"]))
                arrays = {name: stored[name] for name in _ARRAYS if name in stored}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise InputError(f"These are not the results of a segment: {error}.") from error
        outputs, row = [], 0
        for frame in about["frames"]:
            where: dict[str, Any] = {"source": item.source, "schema": schema}
            where |= {name: frame[name] for name in ("frame_index", "timestamp")}
            if frame["error"] is not None:
                outputs.append(PoseOutput.failed(frame["error"], **where))
                continue
            rows, row = slice(row, row + frame["instances"]), row + frame["instances"]
            size = frame["image_size"]
            people = {name: array[rows] for name, array in arrays.items()}
            outputs.append(PoseOutput(**people, image_size=size and tuple(size), **where))
        return cls(
            outputs,
            about["video"]
            and VideoInfo(**{**about["video"], "time_base": Fraction(about["video"]["time_base"]) or None}),
            about["first"] and tuple(about["first"]),
            about["after"] and tuple(about["after"]),
            about["seconds"],
        )


def find_in_segment(
    segment: Segment, pipe: PosePipeline, options: Mapping[str, Any], *, may_seek: bool = True
) -> SegmentResult:
    """Run the networks on the frames of a segment.

    Args:
        options: of its call, of which those count that do not look at frames in their order.
        may_seek: whether to jump to its first frame, or to decode those before it.
    """
    started = time.perf_counter()
    fingerprints: dict[int | None, Fingerprint] = {}
    video: VideoInfo | None = None

    def frames() -> Iterator[Frame]:
        # One frame more than the segment has, to see what follows.
        stop = None if segment.stop is None else segment.stop + 1
        path = segment.item.source or ""
        for frame in read_video(segment.item, path, _NO_TIMEOUT, start=segment.start, stop=stop, may_seek=may_seek):
            if frame.image is not None and frame.frame_index in (segment.start, segment.stop):
                fingerprints[frame.frame_index] = fingerprint(frame)
            if segment.stop is None or frame.frame_index != segment.stop:
                yield frame

    outputs = []
    for frame, output in pipe.find_poses(open_frames(frames), make_options(CallOptions, options)):
        video = video or frame.video
        outputs.append(output)
    return SegmentResult(
        outputs,
        video,
        fingerprints.get(segment.start),
        None if segment.stop is None else fingerprints.get(segment.stop),
        time.perf_counter() - started,
    )


def fingerprint(frame: Frame) -> Fingerprint:
    """What tells a frame with an image from its neighbors, even where nothing moves."""
    assert frame.image is not None
    return round(frame.timestamp or 0.0, 6), zlib.crc32(np.ascontiguousarray(frame.image).data)


@dataclass(frozen=True)
class JoinedVideo:
    """The segments of a video in which each frame is where it belongs."""

    item: MediaItem
    segments: list[Segment]
    video: VideoInfo | None
    seconds: float


def join_segments(
    video: LongVideo, get: Callable[[Segment], SegmentResult], redo: Callable[[Segment], SegmentResult]
) -> JoinedVideo:
    """See to it that the segments of a video fit together: `get` makes or reads the result of one, `redo` makes it
    without jumping to its first frame.
    """
    segments: list[Segment] = []
    info, after, seconds = None, None, 0.0
    for segment in video.segments:
        if segments and after is None:
            break  # the video is shorter than it says
        result = get(segment)
        if segments and result.first != after:
            result = redo(segment)
        segments.append(segment)
        info, after, seconds = info or result.video, result.after, seconds + result.seconds
    return JoinedVideo(video.item, segments, info, seconds)


class StoredPoses:
    """The 2D results of a video that are there already, instead of a pipeline's `find_poses`; `with_images` reads the
    video again for the images of the frames.
    """

    def __init__(
        self, joined: JoinedVideo, get: Callable[[Segment], SegmentResult], with_images: bool = False
    ) -> None:
        self._joined = joined
        self._get = get
        self._with_images = with_images

    @property
    def source(self) -> Source:
        """The source to give to `find_poses`."""
        item = self._joined.item
        return open_frames(lambda: read_video(item, item.source or "", _NO_TIMEOUT) if self._with_images else ())

    def find_poses(self, source: Source, options: CallOptions | None = None) -> Iterator[tuple[Frame, PoseOutput]]:
        """The frames with their results; options were for the networks and have no effect any more."""
        outputs = (output for segment in self._joined.segments for output in self._get(segment).outputs)
        if self._with_images:
            with source:
                yield from zip(source, outputs, strict=True)
            return
        blank = Frame(self._joined.item, video=self._joined.video)
        for output in outputs:
            about = {name: getattr(output, name) for name in ("frame_index", "timestamp", "error")}
            yield replace(blank, **about), output
