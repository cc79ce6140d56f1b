from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from file_server import FileServer
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.video import read_video
from processes import finished


def read(path: Path | str) -> list[Frame]:
    return list(read_video(MediaItem(0, "video", "clip", str(path)), path, timeout=10))


def error_of(path: Path | str) -> str:
    (frame,) = read(path)
    assert frame.image is None and frame.frame_index is None
    return frame.error or ""


def test_frames_are_rgb_and_in_order(write_video: Callable[..., Path]) -> None:
    frames = read(write_video(num_frames=12, fps=12.5))
    images = np.stack([frame.image for frame in frames])
    assert images.shape == (12, 48, 64, 3) and images.dtype == np.uint8
    red = images[:, 4:20, 4:28].mean(axis=(1, 2))
    assert (np.abs(red - (255, 0, 0)) < 12).all()
    assert np.abs(images[:, 30:, 40:].mean(axis=(1, 2, 3)) - 2 * np.arange(12)).max() < 6
    assert all(frame.video == VideoInfo(12.5, 64, 48, 12) for frame in frames)


def test_arrays_are_not_shared_between_frames(write_video: Callable[..., Path]) -> None:
    first, second = (frame.image for frame in read(write_video(num_frames=2)))
    assert first is not None and second is not None and not np.shares_memory(first, second)


@pytest.mark.parametrize(("name", "fps", "size"), [("demo", 5.0, (960, 540)), ("people", 30.0, (1280, 720))])
def test_reference_clips(shared: Path, name: str, fps: float, size: tuple[int, int]) -> None:
    frames = read(shared / "videos" / f"{name}.mp4")
    assert len(frames) == 5 and all(frame.error is None for frame in frames)
    assert frames[0].video == VideoInfo(fps, *size, 5)
    assert all(frame.image is not None and frame.image.shape == (size[1], size[0], 3) for frame in frames)


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [
        ((0, 1, 0, -1, 0, 0, 48, 0), (slice(4, 28), slice(28, 44))),  # turned right: top left goes to top right
        ((-1, 0, 0, 0, -1, 0, 64, 48), (slice(28, 44), slice(36, 60))),  # upside down: to bottom right
        ((0, -1, 0, 1, 0, 0, 0, 64), (slice(36, 60), slice(4, 20))),  # turned left: to bottom left
    ],
    ids=["right", "upside down", "left"],
)
def test_phone_videos_come_upright(
    write_video: Callable[..., Path], matrix: tuple[int, ...], corner: tuple[slice, slice]
) -> None:
    path = write_video()
    path.write_bytes(with_display_matrix(path.read_bytes(), matrix))
    frames = read(path)
    turned = matrix[0] == 0
    assert len(frames) == 12
    image, info = frames[0].image, frames[0].video
    assert image is not None and info is not None
    assert image.shape == ((64, 48, 3) if turned else (48, 64, 3)) and (info.height, info.width) == image.shape[:2]
    assert np.abs(image[corner].mean(axis=(0, 1)) - (255, 0, 0)).max() < 20


def with_display_matrix(mp4: bytes, matrix: tuple[int, ...]) -> bytes:
    """The file with the matrix of its track header (ISO 14496-12, `tkhd` version 0) replaced, as phones write it."""
    data = bytearray(mp4)
    start = (
        data.index(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 8
    )  # type, version and flags, times and ids, reserved, layer and volume
    assert struct.unpack_from(">9i", data, start) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, start, *(value << 16 for value in matrix), 1 << 30)
    return bytes(data)


def test_cut_off_video_gives_its_frames_and_an_error(cut_video: Path) -> None:
    *frames, last = read(cut_video)
    assert 20 < len(frames) < 40 and all(frame.error is None for frame in frames)
    assert last.image is None and f"{len(frames)} of 60 frames" in (last.error or "")


def test_cut_off_mp4_has_no_index_and_no_frames(write_video: Callable[..., Path]) -> None:
    path = write_video()
    path.write_bytes(path.read_bytes()[:300])
    assert "cannot be opened as a video" in error_of(path)


def test_reference_clip_cut_off(shared: Path, tmp_path: Path) -> None:
    """The clip with its index moved to the front, as cameras and websites write it, and its last frames missing."""
    data = (shared / "videos" / "people.mp4").read_bytes()
    path = tmp_path / "people.mp4"
    path.write_bytes(index_first(data)[:100_000])
    *frames, last = read(path)
    assert 0 < len(frames) < 5 and "breaks off" in (last.error or "")


def index_first(mp4: bytes) -> bytes:
    """The file with its `moov` box before its data, and the chunk offsets in there moved accordingly."""
    start = mp4.index(b"moov") - 4
    size = int.from_bytes(mp4[start : start + 4], "big")
    moov = bytearray(mp4[start : start + size])
    table = moov.index(b"stco") + 8
    (count,) = struct.unpack_from(">I", moov, table)
    for entry in range(table + 4, table + 4 + 4 * count, 4):
        (offset,) = struct.unpack_from(">I", moov, entry)
        struct.pack_into(">I", moov, entry, offset + size)
    head = int.from_bytes(mp4[:4], "big")
    return mp4[:head] + bytes(moov) + mp4[head:start] + mp4[start + size :]


def test_whole_clip_with_index_first_is_not_taken_for_cut_off(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "people.mp4"
    path.write_bytes(index_first((shared / "videos" / "people.mp4").read_bytes()))
    assert [frame.error for frame in read(path)] == [None] * 5


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.mkv", "MJPG"), ("a.mkv", "mp4v"), ("a.mov", "mp4v")]
)
@pytest.mark.parametrize("num_frames", [1, 7, 60])
def test_whole_videos_are_not_taken_for_cut_off(
    write_video: Callable[..., Path], name: str, codec: str, num_frames: int
) -> None:
    frames = read(write_video(name, num_frames=num_frames, fps=29.97, codec=codec))
    assert len(frames) == num_frames and all(frame.error is None for frame in frames)


def test_cut_off_download(write_video: Callable[..., Path]) -> None:
    data = write_video("clip.mkv", num_frames=100, fps=10).read_bytes()
    with FileServer({"/clip.mkv": data[: len(data) // 2]}) as server:
        *frames, last = read(f"{server.url}/clip.mkv")
    assert 20 < len(frames) < 80 and "breaks off" in (last.error or "")


def test_missing_video(tmp_path: Path) -> None:
    assert "no file" in error_of(tmp_path / "a.mp4")


def test_empty_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    assert "0 bytes" in error_of(tmp_path / "a.mp4")


def test_text_file_named_mp4(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("hello")
    assert "cannot be opened as a video" in error_of(tmp_path / "a.mp4")


def test_name_is_no_pattern_of_numbered_images(tmp_path: Path, photo: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a_01.jpg"), photo)
    (tmp_path / "a_%02d.mp4").write_text("hello")
    assert "cannot be opened" in error_of(tmp_path / "a_%02d.mp4")


def test_video_without_frames(write_video: Callable[..., Path]) -> None:
    path = write_video("a.avi", num_frames=3, codec="MJPG")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"movi") + 4])
    assert "cannot be opened" in error_of(path) or "no frame" in error_of(path)


def test_video_url(write_video: Callable[..., Path]) -> None:
    with FileServer({"/clip.mp4": write_video(num_frames=12).read_bytes()}) as server:
        assert len(read(f"{server.url}/clip.mp4")) == 12
        assert "cannot be opened" in error_of(f"{server.url}/missing.mp4")


def test_broken_videos_are_no_noise(write_video: Callable[..., Path], cut_video: Path, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    clip = write_video("clip.mkv", num_frames=60)
    clip.write_bytes(clip.read_bytes()[:2000])
    program = """
import sys
from hfpose.media.sources import open_source
for frame in open_source(sys.argv[1:]):
    if frame.error:
        print(frame.name)
"""
    paths = [str(tmp_path / name) for name in ("text.mp4", "clip.mkv", "cut.avi")]
    done = finished(program, tmp_path, {}, tuple(paths))
    assert (done.stdout, done.stderr) == ("text\nclip\ncut\n", "")


@pytest.mark.parametrize("may_seek", [True, False])
@pytest.mark.parametrize(("name", "codec"), [("clip.mp4", "mp4v"), ("clip.avi", "MJPG")])
def test_a_part_of_a_video_has_the_frames_of_the_whole(
    write_video: Callable[..., Path], name: str, codec: str, may_seek: bool
) -> None:
    path = write_video(name, num_frames=40, codec=codec)
    item, whole = MediaItem(0, "video", "clip", str(path)), read(path)
    for start, stop in ((0, 7), (7, 21), (30, None), (33, 99)):
        part = list(read_video(item, path, 10, start=start, stop=stop, may_seek=may_seek))
        expected = whole[start:stop]
        assert [frame.frame_index for frame in part] == [frame.frame_index for frame in expected]
        assert [frame.timestamp for frame in part] == [frame.timestamp for frame in expected]
        for frame, same in zip(part, expected, strict=True):
            np.testing.assert_array_equal(frame.image, same.image)
            assert frame.video == same.video


def test_behind_the_end_of_a_video_there_is_nothing(write_video: Callable[..., Path]) -> None:
    path = write_video(num_frames=10)
    item = MediaItem(0, "video", "clip", str(path))
    assert list(read_video(item, path, 10, start=50, may_seek=False)) == []


def test_a_last_part_says_that_the_video_is_cut_off(cut_video: Path) -> None:
    item, whole = MediaItem(0, "video", "cut", str(cut_video)), read(cut_video)
    part = list(read_video(item, cut_video, 10, start=20))
    assert part[-1].error == whole[-1].error is not None
    assert list(read_video(item, cut_video, 10, start=10, stop=20))[-1].error is None
