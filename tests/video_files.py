"""Small videos of many kinds, made with PyAV itself."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = 48_000
NTSC = Fraction(30_000, 1001)
UNEVEN = (0.0, 0.12, 0.2, 0.32, 0.4, 0.92, 1.4)
KINDS: dict[str, dict[str, Any]] = {
    "a.mp4": {},
    "a.m4v": {},
    "a.mov": {},
    "a.mkv": {},
    "a.ts": {},
    "a.3gp": {},
    "a.flv": {"codec": "flv"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "vp8.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "wmv2.wmv": {"codec": "wmv2"},
    "hevc.mp4": {"codec": "libx265"},
    "hevc_10_bit.mp4": {"codec": "libx265", "pix_fmt": "yuv420p10le"},
    "h264_10_bit.mkv": {"pix_fmt": "yuv420p10le"},
    "h264_444.mp4": {"pix_fmt": "yuv444p"},
    "prores.mov": {"codec": "prores_ks", "pix_fmt": "yuv422p10le"},
    "rgb.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "odd_size.mkv": {"codec": "ffv1", "size": (65, 49)},
    "anamorphic.mp4": {"pixel_aspect": Fraction(4, 3)},
    "raw.h264": {},
    "a.ivf": {"codec": "libvpx-vp9"},
    "a.mxf": {"codec": "mpeg2video"},
    "animation.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "fragments.mp4": {"options": {"movflags": "frag_keyframe+empty_moov"}},
    "cover.mp4": {"cover": True},
    "late.mkv": {"times": [10 + i / 25 for i in range(8)]},
    "late.ts": {"times": [10 + i / 25 for i in range(8)]},
    "ntsc.mp4": {"fps": NTSC, "times": [i / float(NTSC) for i in range(8)]},
    "uneven.mp4": {"times": UNEVEN, "time_base": Fraction(1, 12_800)},
    "uneven.mkv": {"times": UNEVEN, "time_base": Fraction(1, 1000)},
    "turned_90.mp4": {"rotation": 90},
    "turned_180.mov": {"rotation": 180},
    "turned_270.mp4": {"rotation": -90},
    "mirrored.mp4": {"mirrored": True},
    "aac.mp4": {"sound": "aac"},
    "aac.ts": {"sound": "aac"},
    "opus.webm": {"codec": "libvpx", "sound": "libopus"},
    "mp3.mkv": {"sound": "libmp3lame"},
    "pcm.mov": {"sound": "pcm_s16le"},
}
"""Names of files and what they are made with: the kinds of video that people have."""


def colored_image(index: int, width: int = 64, height: int = 48) -> np.ndarray:
    """RGB image whose top left quarter is red and whose rest gets brighter with each frame, up to 32 of them."""
    image = np.full((height, width, 3), 8 * index % 256, np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    return image


def make_video(
    path: Path,
    codec: str = "libx264",
    *,
    times: Sequence[float] = tuple(i / 25 for i in range(8)),
    fps: Fraction | int = 25,
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    pixel_aspect: Fraction | None = None,
    sound: str | None = None,
    rotation: int | None = None,
    mirrored: bool = False,
    cover: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video with a frame at each of the times, which are seconds, and where asked a second of sound."""
    with av.open(str(path), "w", options=options or {}) as container:
        video: Any = container.add_stream(codec, rate=fps)
        video.width, video.height, video.pix_fmt = *size, pix_fmt
        video.codec_context.time_base = time_base or 1 / Fraction(fps)
        if pixel_aspect is not None:
            video.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation is not None or mirrored:
            video.set_display_rotation(rotation or 0, hflip=mirrored)
        audio = None if sound is None else container.add_stream(sound, rate=RATE, layout="mono")
        picture: Any = container.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            packets = [*picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))), *picture.encode()]
            container.mux(packets)
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(colored_image(index, *size))
            frame.time_base = video.codec_context.time_base
            frame.pts = round(time / frame.time_base)
            container.mux(video.encode(frame))
        if audio is not None:
            _add_tone(container, audio)
        container.mux(video.encode())
    return path


def _add_tone(container: Any, audio: Any) -> None:
    tone = (np.sin(np.arange(RATE) / 20) * 8000).astype(np.int16)
    count = audio.codec_context.frame_size or 1024
    for start in range(0, RATE, count):
        frame = av.AudioFrame.from_ndarray(tone[None, start : start + count], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        container.mux(audio.encode(frame))
    container.mux(audio.encode())


def sound_seconds(path: Path) -> float:
    """The length of the sound of a file; 0 where it has none."""
    with av.open(str(path)) as container:
        stream = container.streams.best("audio")
        return 0.0 if stream is None else sum(frame.samples / frame.rate for frame in container.decode(stream))
