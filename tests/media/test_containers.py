from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hfpose.media.containers import is_cut_off


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v")]
)
def test_whole_and_cut_files(write_video: Callable[..., Path], name: str, codec: str) -> None:
    path = write_video(name, num_frames=30, codec=codec)
    assert is_cut_off(path) is False
    data = path.read_bytes()
    for part in (0.2, 0.5, 0.9):
        path.write_bytes(data[: int(len(data) * part)])
        assert is_cut_off(path) is True, part
    path.write_bytes(data + b"\0")
    assert is_cut_off(path) is not True


def test_reference_clips(shared: Path) -> None:
    assert [is_cut_off(path) for path in sorted((shared / "videos").glob("*.mp4"))] == [False, False]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no video",
        b"G@\x00\x10" + bytes(200),  # MPEG-TS
        b"RIFF\0\0\0\0AVI " + bytes(50),  # the size is filled in at the end of a recording
        b"\0\0\0\x08ftyp\0\0\0\0mdat" + bytes(50),  # a box that goes on to the end
        b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + bytes(50),  # streamed WebM
        b"\x1a\x45\xdf\xa3",
        b"\x1a\x45\xdf\xa3\x80\0",
        b"\x1a\x45\xdf\xa3\0",
    ],
)
def test_files_that_state_no_size(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "video"
    path.write_bytes(data)
    assert is_cut_off(path) is None


def test_large_boxes(tmp_path: Path) -> None:
    path = tmp_path / "video"
    box = b"\0\0\0\x01mdat" + (100).to_bytes(8, "big")
    path.write_bytes(box + bytes(84))
    assert is_cut_off(path) is False
    path.write_bytes(box + bytes(83))
    assert is_cut_off(path) is True
