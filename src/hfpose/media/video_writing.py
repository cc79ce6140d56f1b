"""Writing videos with the sound of their source, by ffmpeg's libraries."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from hfpose.errors import InputError
from hfpose.media.files import partial_path
from hfpose.media.frames import DEFAULT_FPS
from hfpose.media.video import container_start, leave_out, open_video

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

logger = logging.getLogger(__name__)

VIDEO_SAVE_SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv")
"""File name endings that videos are written with."""

_ENCODERS = {
    "libx264": {"preset": "veryfast", "crf": "20"},
    "libopenh264": {"rc_mode": "quality"},
    "mpeg4": {"qscale": "4"},
}
"""In the order of choice: the first two make H.264, which everything plays."""

_FORMATS = {".mkv": "matroska", ".mov": "mov"}
_TIME_BASE = Fraction(1, 90_000)
# Sound that players expect in an MP4 file; other is re-encoded.
_COPIED_SOUND = ("aac", "mp3", "ac3", "eac3", "alac", "opus", "flac")
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
_TIMEOUT = 30.0  # seconds, for the sound of a video behind a URL


class VideoFile:
    """An MP4 file (or `.mov`, `.mkv`) that is written frame by frame and takes its name when it is finished.

    It is H.264 in `yuv420p`, as all players have it; where the encoder is missing it is MPEG-4, which is logged.
    Color is halved in resolution, for which an odd width or height is made even by repeating the last column or row.

    Args:
        path: where the finished file goes. Missing folders are made.
        size: (width, height) in pixels.
        fps: frames per second, for frames without a time and for programs that ask for a rate.
        time_base: seconds that times are multiples of; None for 1/90000.
        sound_of: path or URL of a video whose sound is taken over; None for none.

    Raises:
        InputError: if the file cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        *,
        fps: float = DEFAULT_FPS,
        time_base: Fraction | None = None,
        sound_of: str | None = None,
    ) -> None:
        import av

        self._path = path
        self._partial = partial_path(path)
        self._size = size
        self._fps = fps
        self._last = -1  # time of the last frame in units of the time base
        self._count = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            format = _FORMATS.get(path.suffix.lower(), "mp4")
            flags = {} if format == "matroska" else {"movflags": "+faststart"}
            self._container = av.open(str(self._partial), "w", format=format, options=flags)
            self._stream = self._add_images(time_base or _TIME_BASE)
            self._sound = None if sound_of is None else _Sound(sound_of, self._container)
            self._container.start_encoding()  # which opens the file
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(
                f"Cannot write the video {str(path)!r} ({size[0]}x{size[1]} at {fps:g} frames per second): "
                f"{getattr(error, 'strerror', None) or error}. Check that the folder may be written to and the disk "
                "is not full."
            ) from error

    def write(self, image: np.ndarray, timestamp: float | None = None) -> None:
        """Add an RGB frame (H, W, 3) at a time in seconds; None is a frame's time after the last.

        A frame of another size than the first is scaled to it.

        Raises:
            OSError: if the disk is full.
        """
        import cv2
        from av import VideoFrame

        if image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA)
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        time_base = self._stream.codec_context.time_base
        seconds = self._count / self._fps if timestamp is None else timestamp
        frame.pts = self._last = max(round(seconds / time_base), self._last + 1)
        frame.time_base = time_base
        self._count += 1
        self._mux(self._stream.encode(frame))
        if self._sound is not None:
            self._mux(self._sound.until(seconds))

    def finish(self) -> None:
        """Complete the file and give it its name.

        Raises:
            OSError: if the disk is full.
        """
        self._mux(self._stream.encode())
        if self._sound is not None:
            self._mux(self._sound.until(None))
        with self._telling_of_full_disks():
            self._container.close()
        self._release()
        self._partial.replace(self._path)

    def abandon(self) -> None:
        """Stop writing; what is there stays under its temporary name."""
        with suppress(OSError):
            self._container.close()
        self._release()

    def _add_images(self, time_base: Fraction) -> Any:
        width, height = self._size
        name = _encoder()
        rate = Fraction(self._fps).limit_denominator(1001)
        stream: Any = self._container.add_stream(name, rate=rate, options=_ENCODERS[name])
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        # MPEG-4 knows units down to 1/65535 s.
        stream.codec_context.time_base = time_base if name != "mpeg4" or time_base.denominator < 1 << 16 else 1 / rate
        return stream

    def _mux(self, packets: Any) -> None:
        with self._telling_of_full_disks():
            for packet in packets:
                self._container.mux(packet)

    def _release(self) -> None:
        if self._sound is not None:
            self._sound.close()

    @contextmanager
    def _telling_of_full_disks(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.error.FFmpegError, OSError) as error:
            raise OSError(
                f"The video {str(self._path)!r} could not be written after {self._count} frames: "
                f"{getattr(error, 'strerror', None) or error}. Is the disk full?"
            ) from error


@functools.cache
def _encoder() -> str:
    """The best encoder that is there; if none makes H.264 this is logged, once."""
    import av

    for name in _ENCODERS:
        with suppress(av.error.FFmpegError, ValueError):
            av.Codec(name, "w")
            break
    if name == "mpeg4":
        logger.warning(
            "This build of PyAV has no encoder for H.264, so videos are written as MPEG-4, which browsers do not "
            "play. The wheels of `pip install av` have one."
        )
    return name


class _Sound:
    """The sound of a video for a file beside its new images: copied, or encoded as AAC where players do not know it.

    What is wrong with the sound is logged and never ends the video.
    """

    def __init__(self, source: str, output: OutputContainer) -> None:
        self._source = source
        self._files = ExitStack()
        self._packets: Iterator[Packet] = iter(())
        self._next: Packet | None = None
        with self._telling():
            container = self._files.enter_context(open_video(source, _TIMEOUT))
            stream = cast("AudioStream | None", container.streams.best("audio"))
            if stream is None:
                return
            leave_out(other for other in container.streams if other is not stream)
            # The beginning of the container in units of the stream; videos are written from 0.
            shift = round(container_start(container) / (stream.time_base or 1))
            if output.format.name == "matroska" or stream.codec.canonical_name in _COPIED_SOUND:
                target = output.add_stream_from_template(stream)
                self._packets = _copied(container.demux(stream), target, shift)
            else:
                rate = stream.rate if stream.rate in _AAC_RATES else 48_000
                target = output.add_stream("aac", rate=rate, layout="mono" if stream.channels == 1 else "stereo")
                self._packets = _encoded(container.decode(stream), target, shift)
            self._next = next(self._packets, None)

    def until(self, seconds: float | None) -> Iterator[Packet]:
        """The packets that are due at a time in the video, None for all."""
        with self._telling():
            while self._next is not None and (seconds is None or _time(self._next) <= seconds):
                due, self._next = self._next, None
                self._next = next(self._packets, None)
                yield due

    def close(self) -> None:
        self._files.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        import av

        try:
            yield
        except (av.error.FFmpegError, InputError, ValueError) as error:
            self._next = None
            logger.warning("%s: its sound cannot be taken over (any further): %s", self._source, error)


def _copied(packets: Iterator[Packet], target: AudioStream, shift: int) -> Iterator[Packet]:
    for packet in packets:
        if packet.dts is not None:  # the last one only says that it is the last
            packet.pts = (packet.dts if packet.pts is None else packet.pts) - shift
            packet.dts -= shift
            packet.stream = target
            yield packet


def _encoded(frames: Iterator[AudioFrame], target: AudioStream, shift: int) -> Iterator[Packet]:
    for frame in frames:
        frame.pts = None if frame.pts is None else frame.pts - shift
        yield from target.encode(frame)
    yield from target.encode()


def _time(packet: Packet) -> float:
    return float((packet.pts or 0) * (packet.time_base or 0))
