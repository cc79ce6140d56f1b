"""Playlists and streams, over the loopback interface."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from clips import Camera
from file_server import Fault, FileServer
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.http_files import has_same_host
from hfpose.media.sources import open_source
from hfpose.media.video import is_stream, read_video
from stream_server import DatagramSender, RtmpServer, RtspServer, StreamServer, serve_streams
from video_files import make_video

PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"

MULTIPART = {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
_JPEG = cv2.imencode(".jpg", np.full((48, 64, 3), 99, np.uint8))[1].tobytes()
IMAGES = (b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(_JPEG), _JPEG)) * 3


def read(url: str) -> list[Frame]:
    return list(read_video(MediaItem(0, "stream", "clip", url), url, timeout=5))


def test_addresses_of_streams() -> None:
    for address in ("rtsp://a/b", "RTMP://a/b", "udp://127.0.0.1:9", "srt://a:9", "https://a/live.m3u8?token=1"):
        assert is_stream(address)
    for address in ("http://a/video.mjpg", "webcam:http://a/video", "Webcam:https://a/?action=stream"):
        assert is_stream(address)
    for address in ("https://a/clip.mp4", "clip.m3u8", "rtsp.mp4", "webcam:1", "clip.mjpg"):
        assert not is_stream(address)


@pytest.mark.parametrize("text", [0, "0", "2", "webcam", "webcam:2", "/dev/video2"])
def test_names_of_webcams(text: str | int) -> None:
    asked: list[int] = []
    (frame,) = open_source(text, capture_factory=lambda number: asked.append(number) or Camera())
    assert frame.item.kind == "webcam" and asked == [2 if "2" in str(text) else 0]


def test_a_playlist_is_read(tmp_path: Path) -> None:
    files = {"/live.m3u8": PLAYLIST.format("a.ts").encode(), "/a.ts": make_video(tmp_path / "a.ts").read_bytes()}
    with FileServer(files) as server:
        frames = read(f"{server.url}/live.m3u8")
    assert [frame.timestamp for frame in frames] == pytest.approx([i / 25 for i in range(8)], abs=1e-3)


@pytest.mark.parametrize("address", ["{}/video.mjpg", "webcam:{}/video"])
def test_a_camera_sends_images_by_http(address: str) -> None:
    with FileServer({"/video.mjpg": IMAGES, "/video": IMAGES}) as server:
        for path in server.files:
            server.add_fault(path, Fault(headers=MULTIPART, no_length=True))
        frames = list(open_source(address.format(server.url), live="all"))
    assert [frame.frame_index for frame in frames] == [0, 1, 2]
    assert {(frame.item.kind, frame.item.name) for frame in frames} == {("stream", "video")}


def test_a_camera_that_is_given_as_an_image_says_how_to_give_it() -> None:
    with FileServer({"/video": IMAGES}) as server:
        server.add_fault("/video", Fault(headers=MULTIPART, no_length=True))
        (frame,) = open_source(f"{server.url}/video")
    assert f"Give it as a camera: 'webcam:{server.url}/video'" in (frame.error or "")


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


class Files:
    """A playlist that may change, and its one part."""

    def __init__(self, lists: list[str], part: bytes) -> None:
        self._lists = iter(lists)
        self._part = part

    def get(self, path: str) -> bytes:
        return next(self._lists).encode() if path.endswith("m3u8") else self._part


@pytest.mark.parametrize("kind", ["tcp", "udp", "rtsp", "rtmp", "playlist", "growing playlist", "recording by HTTP"])
def test_every_frame_of_a_stream_is_read_at_its_time(kind: str, tmp_path: Path) -> None:
    times = [i / 25 for i in range(12)]
    data = make_video(tmp_path / "sent.ts", "mpeg2video", times=times).read_bytes()
    with ExitStack() as servers:
        if kind in ("tcp", "rtsp", "rtmp"):
            server_of = {"tcp": StreamServer, "rtsp": RtspServer, "rtmp": RtmpServer}
            url = servers.enter_context(serve_streams(tmp_path, [12], server_of[kind])).url
        elif kind == "udp":
            url = servers.enter_context(DatagramSender(data)).url
        else:
            lists = [PLAYLIST.format("a.ts")] * 9
            if kind == "growing playlist":  # which says only later that it ends
                lists[0] = lists[0].replace("#EXT-X-ENDLIST", "")
            server = servers.enter_context(FileServer())
            server.files = Files(lists, data)
            url = f"{server.url}/{'a.ts' if kind.startswith('rec') else 'live.m3u8'}"
        frames = [frame for frame in open_source(url, timeout=1) if frame.image is not None]
    # Nothing says where a stream of packets ends, so its last frames wait for more.
    assert len(frames) == 12 if kind not in ("udp", "rtsp") else 10 <= len(frames) <= 12
    times = [frame.timestamp or 0.0 for frame in frames]
    assert [each - times[0] for each in times] == pytest.approx([i / 25 for i in range(len(times))], abs=1e-3)


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:9/cam", "rtmp://127.0.0.1:9/live/x"])
def test_a_stream_that_does_not_answer_is_an_error(address: str) -> None:
    (frame,) = open_source(address, timeout=2)
    assert frame.item.kind == "stream" and "cannot be opened" in (frame.error or "")


def test_a_protocol_that_pyav_was_built_without_is_said() -> None:
    try:
        av.open("srt://127.0.0.1:9", timeout=0.2)
    except av.error.ProtocolNotFoundError:
        (frame,) = open_source("srt://127.0.0.1:9", timeout=1)
        assert "knows no 'srt'" in (frame.error or "")
    except (av.error.FFmpegError, OSError):
        pytest.skip("this PyAV knows srt")
