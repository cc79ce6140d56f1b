"""Reading videos and cameras, writing videos."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hfpose.errors import InputError
from hfpose.media.containers import is_cut_off
from hfpose.media.files import open_to_read, partial_path
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.images import is_url, local_path

VIDEO_SAVE_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
"""File name endings that videos are written with."""

DEFAULT_FPS = 30.0
"""Rate of a written video whose source does not state one."""

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ts", ".mts", ".3gp", ".ogv")
)
"""File name endings that are read as videos."""


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used, so that another camera can be put in its place."""

    def isOpened(self) -> bool: ...
    def grab(self) -> bool: ...
    def read(self) -> tuple[bool, Any]: ...
    def get(self, propId: int, /) -> float: ...
    def set(self, propId: int, value: float, /) -> bool: ...
    def release(self) -> None: ...


def read_video(
    item: MediaItem,
    payload: str | Path,
    timeout: float,
    *,
    start: int = 0,
    stop: int | None = None,
    may_seek: bool = True,
) -> Iterator[Frame]:
    """Frames of a video file or URL; a last one with an error if it is cut off.

    Args:
        item: the video.
        payload: its path or URL.
        timeout: seconds that waiting for a URL may take.
        start: number of the first frame that is wanted.
        stop: number of the frame behind the last one that is wanted; None reads to the end.
        may_seek: whether to jump to `start`, which is fast and in some files ends at a neighboring frame, or to decode the
            frames before it.
    """
    try:
        with open_video(payload, timeout) as capture:
            _go_to(capture, start, may_seek)
            cut_off = None if is_url(payload) else is_cut_off(local_path(payload))
            yield from _frames(item, capture, cut_off, start, stop)
    except InputError as error:
        yield Frame(item, error=str(error))


def _go_to(capture: Capture, start: int, may_seek: bool) -> None:
    import cv2

    if may_seek and start:
        capture.set(cv2.CAP_PROP_POS_FRAMES, start)
        return
    for _ in range(start):
        if not capture.grab():
            break


def _frames(
    item: MediaItem, capture: Capture, cut_off: bool | None, start: int = 0, stop: int | None = None
) -> Iterator[Frame]:
    """The frames of an opened video from the one where it stands, which is number `start`, turned upright as the file says.

    Raises:
        InputError: if there are none, or the file is cut off (None: find out by what it states) and frames are missing.
    """
    import cv2

    info: VideoInfo | None = None
    count, last_time = start, 0.0
    while stop is None or count < stop:
        ok, bgr = capture.read()
        if not ok:
            break
        if info is None:
            info = _video_info(capture, bgr)
        last_time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        yield Frame(item, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), frame_index=count, video=info, seconds=last_time)
        count += 1
    if count == stop or (info is None and start > 0):  # all that was wanted, or a part behind the end
        return
    if info is None:
        raise InputError(
            f"The video {item.source!r} has no frame that can be read: it is damaged or holds only sound."
        )
    if info.num_frames is not None and count >= info.num_frames:
        return
    if _is_far_too_short(info, count, last_time) if cut_off is None else cut_off:
        of = f" of {info.num_frames}" if info.num_frames else ""
        raise InputError(
            f"The video {item.source!r} breaks off: {count}{of} frames could be read, the rest is missing or damaged. "
            "The results up to there are kept; copy or export the file again."
        )


def _is_far_too_short(info: VideoInfo, count: int, last_time: float) -> bool:
    """Whether a video ended long before its time, given the number of frames read and the time of the last in seconds.

    The stated number of frames is often no more than the duration, which may be that of the sound, times a rate that need
    not be constant. So both number and time must fall short, and by more than such differences make.
    """
    if info.num_frames is None or info.fps is None:
        return False
    duration = info.num_frames / info.fps
    return count < 0.9 * info.num_frames and last_time + 1 < 0.9 * duration


@contextmanager
def open_video(source: str | Path, timeout: float) -> Iterator[Capture]:
    """An opened video file or URL, released at the end.

    Raises:
        InputError: if it cannot be opened.
    """
    import cv2

    options: list[int] = []
    if is_url(source):
        target = str(source)
        milliseconds = max(1, int(timeout * 1000))
        options = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds, cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
    else:
        path = local_path(source)
        with open_to_read(path, "video") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError(f"{str(path)!r} is empty (0 bytes): it was probably not copied to the end.")
        target = str(path)
    with quiet_opencv():
        # ffmpeg alone: OpenCV's next choice takes file names for patterns of numbered images.
        capture = cv2.VideoCapture(target, cv2.CAP_FFMPEG, options)
    try:
        if not capture.isOpened():
            raise InputError(
                f"{str(source)!r} cannot be opened as a video: it is cut off, no video, or of a codec that OpenCV does not "
                "know. If a player shows it, convert it with: ffmpeg -i FILE -c:v libx264 converted.mp4"
            )
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # the default, which builds and versions may change
        yield capture
    finally:
        capture.release()


def _video_info(capture: Capture, frame: np.ndarray) -> VideoInfo:
    import cv2

    fps = capture.get(cv2.CAP_PROP_FPS)
    # 1000 and more is how files without a rate show the millisecond resolution of their time stamps.
    known = math.isfinite(fps) and 0 < fps < 1000
    return VideoInfo(fps if known else None, frame.shape[1], frame.shape[0], stated_frames(capture))


def stated_frames(capture: Capture) -> int | None:
    import cv2

    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return int(count) if math.isfinite(count) and count > 0 else None


def read_webcam(item: MediaItem, number: int, factory: Callable[[int], Capture] | None) -> Iterator[Frame]:
    """Frames of a camera until it is lost, which is reported by a last frame with an error."""
    import cv2

    with quiet_opencv():
        capture: Capture = (factory or cv2.VideoCapture)(number)
    try:
        if not capture.isOpened():
            yield Frame(
                item,
                error=f"Camera {number} cannot be opened: it is not connected, in use by another program, or locked.",
            )
            return
        info: VideoInfo | None = None
        count = 0
        while True:
            try:
                ok, bgr = capture.read()
            except (cv2.error, OSError, RuntimeError):
                ok, bgr = False, None
            if not ok or bgr is None:
                break
            info = info or replace(_video_info(capture, bgr), num_frames=None)
            yield Frame(item, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), frame_index=count, video=info)
            count += 1
        yield Frame(item, error=f"Camera {number} stopped after {count} frames: was it unplugged?", video=info)
    finally:
        capture.release()


_log_level_lock = threading.Lock()


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from printing, on failure to open, what is reported as an error here."""
    from cv2.utils import logging

    with _log_level_lock:
        level = logging.getLogLevel()
        logging.setLogLevel(logging.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            logging.setLogLevel(level)


class VideoFile:
    """An MP4 file (or `.mov`, `.mkv`) that is written frame by frame and takes its name when it is finished.

    OpenCV's encoder halves the color resolution, so of an odd width or height the last column or row is lost.

    Args:
        path: where the finished file goes. Missing folders are made.
        fps: frames per second.
        size: (width, height) in pixels.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        import cv2

        self._path = path
        # The container is chosen by the ending of the name that is opened.
        partial = partial_path(path)
        self._partial = partial.with_name(partial.name + path.suffix)
        self._size = size
        self._count = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with quiet_opencv():
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._partial), cv2.CAP_FFMPEG, codec, fps, size)
        if not self._writer.isOpened():
            raise InputError(
                f"Cannot write the video {str(path)!r} ({size[0]}x{size[1]} at {fps:g} frames per second): check that the "
                "folder may be written to and the disk is not full."
            )

    def write(self, image: np.ndarray) -> None:
        """Add an RGB frame (H, W, 3); one of another size than the first is scaled to it."""
        import cv2

        if image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._count += 1

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            OSError: if not all frames are in the file. OpenCV's encoder does not tell when the disk is full.
        """
        self._writer.release()
        try:
            with open_video(self._partial, timeout=0) as capture:
                written = stated_frames(capture) or 0
        except InputError:
            written = 0
        if written + 1 < self._count:  # where only the duration is stated, rounding may cost one
            raise OSError(
                f"The video {str(self._path)!r} could not be written: the file holds {written} of {self._count} frames. Is "
                "the disk full?"
            )
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Stop writing; what is there stays under its temporary name."""
        self._writer.release()
