"""Reading videos: files, addresses and network streams, by ffmpeg's libraries."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast
from urllib.parse import urlsplit

import numpy as np

from hfpose.errors import InputError, reason_of
from hfpose.media.animations import count_images, is_read_here, read_animation
from hfpose.media.containers import is_cut_off
from hfpose.media.files import open_to_read
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.http_files import HttpFile, has_same_host
from hfpose.media.images import is_url, local_path

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

_ENDINGS = (
    "mp4 m4v mov qt 3gp 3g2 mkv webm avi divx flv f4v wmv asf ogv ogm mpg mpeg mpe m1v m2v vob ts mts m2ts mxf dv nut "
    "y4m ivf h264 264 h265 265 hevc mjpeg mjpg"
)
VIDEO_SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""File name endings that are read as videos."""

PLAYLIST_SUFFIXES = (".m3u8", ".m3u")
"""Endings of addresses that are read as playlists (HLS)."""

_CAMERA_SUFFIXES = (".mjpg", ".mjpeg")  # of addresses: what cameras in the network send
_CAMERA_PREFIX = "webcam:"

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp")
"""What addresses of network streams begin with."""

_STREAM_PROTOCOLS = "rtsp,rtsps,rtmp,rtmps,rtmpt,rtmpts,rtp,srtp,udp,srt,tcp,tls"
_READ_BYTES = 1 << 17
_MOST_ASPECT = 4  # width of a pixel, in its heights; more is an error of the file
_CLOSE = 0.0005  # seconds; times that differ by less are one


def is_stream(source: object) -> bool:
    """Whether `source` is the address of a network stream, a playlist, or a camera that sends images by HTTP:
    `http://.../video.mjpg`, or any address behind `webcam:`."""
    if not isinstance(source, str):
        return False
    if is_url(source):
        return urlsplit(source).path.lower().endswith((*PLAYLIST_SUFFIXES, *_CAMERA_SUFFIXES))
    if is_url(_opened_address(source)):
        return True
    return source.partition("://")[0].lower() in STREAM_SCHEMES and "://" in source


def _opened_address(source: str) -> str:
    """The address in `webcam:http://...`; other texts as they are."""
    return source[len(_CAMERA_PREFIX) :] if source.lower().startswith(_CAMERA_PREFIX) else source


def is_address(source: object) -> bool:
    """Whether `source` is the address of something that is not a local file."""
    return is_url(source) or is_stream(source)


def read_video(
    item: MediaItem,
    payload: str | Path,
    timeout: float,
    *,
    start: int = 0,
    stop: int | None = None,
    may_seek: bool = True,
) -> Iterator[Frame]:
    """Frames of a video file, URL or stream, upright; a last one with an error if it is cut off.

    Args:
        payload: its path or URL.
        timeout: seconds that waiting for a URL may take.
        start: number of the first frame that is wanted.
        stop: number of the frame behind the last one that is wanted; None reads to the end.
        may_seek: whether to jump to `start`, which is fast and with a variable frame rate ends at a neighboring frame,
            or to decode the frames before it.
    """
    try:
        if is_read_here(payload):
            yield from read_animation(item, payload, start, stop)
            return
        with open_video(payload, timeout) as container:
            cut_off = None if is_address(payload) else is_cut_off(local_path(payload))
            yield from _frames(item, container, cut_off, start, stop, may_seek)
    except InputError as error:
        yield Frame(item, error=str(error))


def read_frame(source: str | Path, index: int, timestamp: float | None, timeout: float) -> np.ndarray | None:
    """The image (H, W, 3), uint8, RGB, of a video at a time in seconds, or where that is None with a number; None if
    it is not there.

    Raises:
        InputError: if the video cannot be opened.
    """
    if is_read_here(source):
        frames = read_animation(MediaItem(0, "video", "", str(source)), source, index, index + 1)
        return next((frame.image for frame in frames), None)
    with open_video(source, timeout) as container:
        stream = video_stream(container)
        clock = _Clock(container, stream)
        if timestamp is not None:
            _seek(container, stream, timestamp + clock.origin)
        with suppress(OSError, InputError):
            for number, frame in enumerate(_decoded(container, stream)):
                if number == index if timestamp is None else clock.read(frame) > timestamp - _CLOSE:
                    return _upright(frame, stream)
    return None


def count_frames(source: str | Path, timeout: float) -> int | None:
    """The number of frames that a file states, or the one that follows from its duration.

    Raises:
        InputError: if it cannot be opened.
    """
    if (count := count_images(source)) is not None:
        return count
    with open_video(source, timeout) as container:
        return _stated_frames(video_stream(container))


def stated_seconds(source: str | Path, timeout: float) -> float:
    """How long a file says that its video lasts; 0 where it does not say.

    Raises:
        InputError: if it cannot be opened.
    """
    if is_read_here(source):
        return 0.0
    with open_video(source, timeout) as container:
        return (container.duration or 0) / 1e6  # in microseconds


def _frames(
    item: MediaItem,
    container: InputContainer,
    cut_off: bool | None,
    start: int,
    stop: int | None,
    may_seek: bool,
) -> Iterator[Frame]:
    """The frames of an opened video from number `start`.

    Raises:
        InputError: if there are none, or the file is cut off (None: find out by what it states) and frames are
            missing.
    """
    stream = video_stream(container)
    clock = _Clock(container, stream)
    count = _go_to(container, stream, start) if may_seek and start else 0
    info: VideoInfo | None = None
    decoded = _decoded(container, stream)
    while stop is None or count < stop:
        try:
            frame = next(decoded, None)
        except (OSError, InputError):
            cut_off, frame = True, None
        if frame is None:
            break
        timestamp = clock.read(frame)
        if count < 0:  # behind a jump: the first frame tells its number by its time
            count = round((timestamp - clock.first) * float(stream.average_rate or 0))
        if count >= start:
            image = _upright(frame, stream)
            height, width = image.shape[:2]
            info = info or VideoInfo(_rate(stream), width, height, _stated_frames(stream), stream.time_base)
            yield Frame(item, image, frame_index=count, video=info, timestamp=timestamp)
        count += 1
    if count == stop or (info is None and start > 0):  # all that was wanted, or a part behind the end
        return
    _check_whole(item, info, count, clock.last, cut_off)


def _check_whole(item: MediaItem, info: VideoInfo | None, count: int, last: float, cut_off: bool | None) -> None:
    """
    Raises:
        InputError: if after `count` frames, the last one at that time, others are missing, or there are none.
    """
    if info is None:
        raise InputError(
            f"The video {item.source!r} has no frame that can be read: it is damaged or holds only sound."
        )
    if info.num_frames is not None and count >= info.num_frames:
        return
    if _is_far_too_short(info, count, last) if cut_off is None else cut_off:
        of = f" of {info.num_frames}" if info.num_frames else ""
        raise InputError(
            f"The video {item.source!r} breaks off: {count}{of} frames could be read, the rest is missing or damaged. "
            "The results up to there are kept; copy or export the file again."
        )


def container_start(container: InputContainer) -> float:
    """The time in seconds that counts as the beginning of a video.

    Containers of broadcasting and streams begin at any time; those that begin below 0 do so for sound that is not
    played.
    """
    import av

    return max(container.start_time or 0, 0) / av.time_base


class _Clock:
    """The times of frames in seconds since the beginning of their container."""

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        self.origin = container_start(container)
        self.time_base = stream.time_base or Fraction(1, 90_000)
        self.first = 0.0 if stream.start_time is None else self._seconds(stream.start_time)
        self._step = 1 / (_rate(stream) or 30.0)
        self.last = -math.inf

    def read(self, frame: VideoFrame) -> float:
        """The time of the next frame. Where the container tells none, or goes back, time goes on by one frame."""
        pts = frame.dts if frame.pts is None else frame.pts
        seconds = None if pts is None else self._seconds(pts)
        if seconds is None or seconds <= self.last:
            seconds = max(self.last, -self._step) + self._step
        self.last = seconds
        return self.last

    def _seconds(self, pts: int) -> float:
        return float(pts * self.time_base) - self.origin


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    """The frames in the order of their display. Packets that are damaged are passed over, as players do.

    Raises:
        OSError, InputError: if reading breaks off.
    """
    import av

    stream.thread_type = "AUTO"
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            yield from frames
    except av.error.FFmpegError as error:
        raise OSError(str(error)) from error


def _go_to(container: InputContainer, stream: VideoStream, start: int) -> int:
    """Jump to a frame or before it; the number of the next frame, -1 where its time tells it."""
    rate = _rate(stream)
    if rate is None:
        return 0
    first = float((stream.start_time or 0) * (stream.time_base or 0))
    return -1 if _seek(container, stream, first + start / rate) else 0


def _seek(container: InputContainer, stream: VideoStream, seconds: float) -> bool:
    """Jump to the last key frame before a time of the container; whether that was possible."""
    import av

    try:
        container.seek(int(seconds / (stream.time_base or 1)), stream=stream)
    except av.error.FFmpegError:
        return False
    return True


def _upright(frame: VideoFrame, stream: VideoStream) -> np.ndarray:
    """RGB image (H, W, 3), uint8, as it is shown: with square pixels, turned and mirrored as the container says (ISO
    14496-12, the matrix of `tkhd`)."""
    from av.sidedata.sidedata import Type

    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    width = round(frame.width * aspect) if 1 / _MOST_ASPECT < aspect < _MOST_ASPECT else frame.width
    image = frame.to_ndarray(format="rgb24", width=width, height=frame.height)
    try:
        matrix = np.frombuffer(bytes(cast(Any, frame.side_data)[Type.DISPLAYMATRIX]), np.int32)
    except KeyError:
        return image
    (right, down), (across, along) = matrix[[0, 1]], matrix[[3, 4]]  # where the axes x and y of the stored image go
    if abs(down) > abs(right):
        image, right, along = image.swapaxes(0, 1), across, down
    return np.ascontiguousarray(image[:: -1 if along < 0 else 1, :: -1 if right < 0 else 1])


@contextmanager
def open_video(source: str | Path, timeout: float) -> Iterator[InputContainer]:
    """An opened video file, URL or stream, closed at the end. What it names, other than itself, is not opened; of a
    playlist (`.m3u8`) only what lies on the same host.

    Raises:
        InputError: if it cannot be opened.
    """
    if is_url(url := _opened_address(str(source))):
        with HttpFile(url, timeout) as file:
            nested = functools.partial(_open_part, url, timeout) if is_stream(url) else _refuse
            with _open_container(url, file, nested, timeout) as container:
                yield container
    elif is_stream(source):
        with _open_container(str(source), None, None, timeout) as container:
            yield container
    else:
        with open_to_read(local_path(source), "video") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError(f"{str(source)!r} is empty (0 bytes): it was probably not copied to the end.")
            with _open_container(str(source), file, _refuse, None) as container:
                yield container


@contextmanager
def _open_container(
    name: str, file: Any, open_nested: Callable[..., Any] | None, timeout: float | None
) -> Iterator[InputContainer]:
    """A container out of a file, or behind an address of a stream where `file` is None."""
    import av

    options = {"protocol_whitelist": _STREAM_PROTOCOLS, "rtsp_flags": "prefer_tcp"}
    if file is not None:
        options = {"protocol_whitelist": "none", "http_persistent": "0", "http_multiple": "0"}
    try:
        container = av.open(
            name if file is None else file,
            options=options,
            io_open=open_nested,
            timeout=timeout,
            buffer_size=_READ_BYTES,
            **_lenient_metadata(),
        )
    except InputError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, av.error.ProtocolNotFoundError):
            raise InputError(
                f"The stream {name!r} cannot be opened: the ffmpeg of the installed PyAV knows no "
                f"{urlsplit(name).scheme!r}. Build PyAV against an ffmpeg that does (pip install --no-binary av av), "
                "or have the stream sent as rtsp, rtmp or udp."
            ) from error
        if file is None:
            reason = getattr(error, "strerror", None) or reason_of(error)
            raise InputError(
                f"The stream {name!r} cannot be opened: {reason}. Check the address, that the sender runs, "
                "and the firewall."
            ) from error
        raise InputError(
            f"{name!r} cannot be opened as a video: it is cut off, no video, or of a codec that ffmpeg does not know."
        ) from error
    with container:
        yield container


def _lenient_metadata() -> dict[str, Any]:
    """What lets PyAV take metadata that is no UTF-8; from version 19 on it always does."""
    import av

    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise InputError(f"A video that names another file, {url!r}, is not read: give that file.")


def _open_part(playlist: str, timeout: float, url: str, flags: int, options: dict[str, str]) -> HttpFile:
    """Opens what a playlist names, if it is on the same host."""
    if not is_url(url) or not has_same_host(url, playlist):
        raise InputError(f"The playlist {playlist!r} names {url!r}, which is not on the same host, so it is not read.")
    return HttpFile(url, timeout, start=int(options.get("offset", 0)))


def video_stream(container: InputContainer) -> VideoStream:
    """The stream of images to read: not a cover, and of several the one that players choose.

    Raises:
        InputError: if there is none.
    """
    from av.stream import Disposition

    streams = [each for each in container.streams.video if not each.disposition & Disposition.attached_pic]
    if not streams:
        raise InputError(f"{container.name!r} has no frame that can be read: it holds only sound.")
    if not any(each.codec_context for each in streams):
        raise InputError(f"{container.name!r} cannot be read: its codec is none that ffmpeg knows.")
    best = container.streams.best("video")
    chosen = best if best in streams else streams[0]
    leave_out(each for each in container.streams if each is not chosen)
    return chosen


def leave_out(streams: Iterator[Stream]) -> None:
    """Keep the container from reading (of a playlist: from downloading) streams that are not wanted."""
    from av.stream import Discard

    for stream in streams:
        stream.discard = Discard.all


def _rate(stream: VideoStream) -> float | None:
    """Frames per second. 1000 and more is how files without a rate show the resolution of their times."""
    rates = (float(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return next((rate for rate in rates if 0 < rate < 1000), None)


def _stated_frames(stream: VideoStream) -> int | None:
    import av

    if stream.frames > 0:
        return stream.frames
    rate = _rate(stream)
    if stream.duration is not None and stream.time_base is not None:
        seconds = float(stream.duration * stream.time_base)
    else:
        seconds = (cast("InputContainer", stream.container).duration or 0) / av.time_base
    return round(seconds * rate) or None if rate is not None and seconds > 0 else None


def _is_far_too_short(info: VideoInfo, count: int, last_time: float) -> bool:
    """Whether a video ended long before its time, given the number of frames read and the time of the last in seconds.

    The stated number of frames is often no more than the duration, which may be that of the sound, times a rate that
    need not be constant. So both number and time must fall short, and by more than such differences make.
    """
    if info.num_frames is None or info.fps is None:
        return False
    duration = info.num_frames / info.fps
    return count < 0.9 * info.num_frames and last_time + 1 < 0.9 * duration
