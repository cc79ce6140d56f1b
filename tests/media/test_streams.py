"""Playlists and streams, over the loopback interface."""

from __future__ import annotations

from pathlib import Path

import pytest

from file_server import Fault, FileServer
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.http_files import has_same_host
from hfpose.media.sources import open_source
from hfpose.media.video import is_stream, read_video
from video_files import make_video

PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"


def read(url: str) -> list[Frame]:
    return list(read_video(MediaItem(0, "stream", "clip", url), url, timeout=5))


def test_addresses_of_streams() -> None:
    for address in ("rtsp://a/b", "RTMP://a/b", "udp://127.0.0.1:9", "srt://a:9", "https://a/live.m3u8?token=1"):
        assert is_stream(address)
    for address in ("https://a/clip.mp4", "clip.m3u8", "rtsp.mp4", "webcam:1"):
        assert not is_stream(address)


@pytest.mark.parametrize("text", [0, "0", "2", "webcam", "webcam:2", "/dev/video2"])
def test_names_of_webcams(text: str | int) -> None:
    asked = []

    class Camera:
        def __init__(self, number: int) -> None:
            asked.append(number)

        def isOpened(self) -> bool:
            return False

        def release(self) -> None:
            pass

    (frame,) = open_source(text, capture_factory=Camera)
    assert frame.item.kind == "webcam" and asked == [2 if "2" in str(text) else 0]


def test_a_playlist_is_read(tmp_path: Path) -> None:
    files = {"/live.m3u8": PLAYLIST.format("a.ts").encode(), "/a.ts": make_video(tmp_path / "a.ts").read_bytes()}
    with FileServer(files) as server:
        frames = read(f"{server.url}/live.m3u8")
    assert [frame.timestamp for frame in frames] == pytest.approx([i / 25 for i in range(8)], abs=1e-3)


def test_a_playlist_leads_to_no_local_file_and_no_other_host(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.ts")
    with FileServer({"/a.ts": path.read_bytes()}) as other:
        for target in (f"file://{path}", str(path), f"{other.url}/a.ts"):
            with FileServer({"/live.m3u8": PLAYLIST.format(target).encode()}) as server:
                assert all(frame.image is None for frame in read(f"{server.url}/live.m3u8"))
        assert not other.requests


def test_redirects_stay_on_their_host(tmp_path: Path) -> None:
    data = make_video(tmp_path / "a.mp4").read_bytes()
    with FileServer({"/b.mp4": data}) as other, FileServer({"/b.mp4": data}) as server:
        server.add_fault("/a.mp4", Fault(status=302, headers={"Location": "/b.mp4"}))
        assert len(read(f"{server.url}/a.mp4")) == 8
        server.add_fault("/a.mp4", Fault(status=302, headers={"Location": f"{other.url}/b.mp4"}))
        (frame,) = read(f"{server.url}/a.mp4")
        assert "another host" in (frame.error or "") and not other.requests


def test_what_counts_as_one_host() -> None:
    assert has_same_host("https://a/x", "http://a/y") and has_same_host("http://a:80/x", "http://a/y")
    assert not has_same_host("http://a:81/x", "http://a/y") and not has_same_host("http://b/x", "http://a/y")
    assert not has_same_host("http://a/x", "https://a/y")


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:9/cam", "rtmp://127.0.0.1:9/live/x"])
def test_a_stream_that_does_not_answer_is_an_error(address: str) -> None:
    (frame,) = open_source(address, timeout=2)
    assert frame.item.kind == "stream" and "cannot be opened" in (frame.error or "")
