"""The kinds of video that people have: as many frames out as in, at their times, upright, with their sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hfpose.media.frames import Frame, MediaItem
from hfpose.media.sources import open_source
from hfpose.media.video import read_frame, read_video
from hfpose.media.video_writing import VideoFile
from video_files import KINDS, RATE, UNEVEN, make_video, sound_seconds


def read(path: Path) -> list[Frame]:
    return list(read_video(MediaItem(0, "video", "clip", str(path)), path, timeout=10))


@pytest.mark.parametrize("name", KINDS)
def test_frames_times_and_sound_of_a_kind(tmp_path: Path, name: str) -> None:
    options = KINDS[name]
    path = make_video(tmp_path / name, **options)
    frames = read(path)
    times = np.array(options.get("times", [i / 25 for i in range(8)]))
    times = times - times[0] if name.startswith("late") else times
    if name == "aac.ts":
        times = times + 1024 / RATE  # the container begins with the sound that the encoder adds in front
    assert [frame.error for frame in frames] == [None] * len(times)
    assert [frame.timestamp for frame in frames] == pytest.approx(times, abs=1e-3)

    image, info = frames[0].image, frames[0].video
    assert image is not None and info is not None
    assert "pixel_aspect" not in options or image.shape == (48, 85, 3)  # 64 pixels that are 4/3 as wide
    red = place_of_red(image)
    expected = {90: (1, 0), 180: (1, 1), -90: (0, 1)}.get(options.get("rotation", 0), (0, 0))
    assert red == ((0, 1) if options.get("mirrored") else expected)

    out = tmp_path / "out.mp4"
    file = VideoFile(out, (info.width, info.height), fps=info.fps or 25, time_base=info.time_base, sound_of=str(path))
    for frame in frames:
        assert frame.image is not None
        file.write(frame.image, frame.timestamp)
    file.finish()
    written = read(out)
    assert [frame.timestamp for frame in written] == pytest.approx(times, abs=1e-3)
    assert written[0].image is not None and place_of_red(written[0].image) == red
    assert sound_seconds(out) == pytest.approx(sound_seconds(path), abs=0.06)
    assert (sound_seconds(path) > 0.9) == ("sound" in options)


def place_of_red(image: np.ndarray) -> tuple[int, int]:
    """Which quarter of an image is red: 0 or 1 down and to the right."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    quarters = image[: 2 * height, : 2 * width].reshape(2, height, 2, width, 3).mean(axis=(1, 3))
    redness = quarters[..., 0] - quarters[..., 1]
    assert np.sort(redness.ravel())[-1] > 150 > 50 > np.sort(redness.ravel())[-2]
    down, right = np.unravel_index(redness.argmax(), (2, 2))
    return int(down), int(right)


def test_a_path_with_the_name_of_a_kind_is_a_video(tmp_path: Path) -> None:
    for name in ("raw.h264", "a.mxf", "animation.gif"):
        assert open_source(make_video(tmp_path / name, **KINDS[name])).is_video
    still = make_video(tmp_path / "still.gif", **KINDS["animation.gif"], times=[0.0])
    assert open_source(still).is_single


def test_a_frame_of_a_variable_rate_is_read_again_by_its_time(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", times=UNEVEN, time_base=Fraction(1, 12_800))
    frame = read(path)[5]
    again = read_frame(path, 5, frame.timestamp, 10)
    np.testing.assert_array_equal(again, frame.image)


def test_sizes_may_change_within_a_video(tmp_path: Path) -> None:
    parts = [
        make_video(tmp_path / "a.ts"),
        make_video(tmp_path / "b.ts", size=(96, 80), times=[1 + i / 25 for i in range(8)]),
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    frames = [frame for frame in read(path) if frame.image is not None]
    assert [frame.image.shape for frame in frames if frame.image is not None] == [(48, 64, 3)] * 8 + [(80, 96, 3)] * 8
    assert (np.diff([frame.timestamp or 0.0 for frame in frames]) > 0).all()


def test_only_sound_and_a_cover_is_no_video(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", times=(), sound="aac")
    (frame,) = read(path)
    assert frame.image is None and "no frame that can be read" in (frame.error or "")


def test_without_an_encoder_for_h264_the_next_best_is_taken_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from hfpose.media import video_writing

    monkeypatch.setattr(video_writing, "_ENCODERS", {"no_such": {}, "mpeg4": {"qscale": "4"}})
    video_writing._encoder.cache_clear()
    try:
        file = VideoFile(tmp_path / "a.mp4", (64, 48), time_base=Fraction(1, 90_000))
        file.write(np.zeros((48, 64, 3), np.uint8), 0.0)
        file.write(np.zeros((48, 64, 3), np.uint8), 0.5)
        file.finish()
    finally:
        video_writing._encoder.cache_clear()
    assert "H.264" in caplog.text
    assert [frame.timestamp for frame in read(tmp_path / "a.mp4")] == pytest.approx([0, 0.5], abs=0.02)


def test_a_file_that_names_others_is_not_followed(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.ts")
    lists = {
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n",
        "concat": "ffconcat version 1.0\nfile secret.ts\n",
    }
    for name, text in lists.items():
        path = tmp_path / f"{name}.mp4"
        path.write_text(text)
        (frame,) = read(path)
        assert frame.image is None and frame.error
