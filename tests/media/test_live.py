"""Webcams and streams: the latest frame, all of them, several at once, and those that die and come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hfpose.errors import InputError
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.live import LiveMeter, LiveSource, read_in_step, read_live
from hfpose.media.sources import open_source
from stream_server import RtmpServer, RtspServer, StreamServer, serve_streams

IMAGE = np.zeros((4, 4, 3), np.uint8)


class Clock:
    """Time that passes when something waits for it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.pauses.append(seconds)
        self.now += seconds
        return False


def item(number: int = 0) -> MediaItem:
    return MediaItem(number, "stream", f"stream{number}", f"rtsp://{number}")


def connections(*parts: int | str, clock: Clock, num_frames: int | None = None) -> Callable[[], Iterator[Frame]]:
    """Opens a stream that has so many frames each time, 0.1 s apart and from time 7 on; a text is an error at once."""
    left = list(parts)

    def connect() -> Iterator[Frame]:
        part = left.pop(0) if left else "refused."
        if isinstance(part, str):
            yield Frame(item(), error=part)
            return
        for i in range(part):
            clock.now += 0.1
            yield Frame(item(), IMAGE, None, i, VideoInfo(10.0, 4, 4, num_frames), 7 + i / 10)

    return connect


def test_a_stream_that_comes_back_goes_on_at_its_time() -> None:
    clock = Clock()
    source = LiveSource(item(), connections(3, "refused.", "refused.", 2, clock=clock), 10.0, clock)
    frames = list(source.frames(clock.pause))
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3, 4, None]
    assert clock.pauses[:3] == [0.25, 0.5, 1.0]  # longer each time, and short again when it is there
    assert clock.pauses[3] == 0.25
    # 0.1 s for the frame itself and the pauses
    times = [frame.timestamp for frame in frames[:5]]
    assert times == pytest.approx([7.0, 7.1, 7.2, 7.3 + 1.75, 7.4 + 1.75])
    assert "refused. It did not come back within 10 s" in (frames[-1].error or "")
    assert sum(clock.pauses[3:]) == pytest.approx(10.0)


def test_what_was_never_there_is_an_error_at_once() -> None:
    clock = Clock()
    (frame,) = LiveSource(item(), connections("refused", 3, clock=clock), 10.0, clock).frames(clock.pause)
    assert frame.error == "refused" and not clock.pauses


def test_a_recording_that_is_played_as_a_stream_ends() -> None:
    clock = Clock()
    source = LiveSource(item(), connections(3, 3, clock=clock, num_frames=3), 10.0, clock)
    assert len(list(source.frames(clock.pause))) == 3


def test_waiting_for_a_stream_can_be_ended() -> None:
    clock = Clock()
    source = LiveSource(item(), connections(2, 3, clock=clock), 10.0, clock)
    assert len(list(source.frames(lambda seconds: True))) == 2


class Camera:
    """Gives a frame whenever it is told to."""

    def __init__(self, number: int, count: int) -> None:
        self.given = threading.Semaphore(0)
        self.taken = threading.Semaphore(0)
        self._number, self._count = number, count

    def __call__(self) -> Iterator[Frame]:
        for i in range(self._count):
            assert self.given.acquire(timeout=10)
            yield Frame(item(self._number), IMAGE, frame_index=i, video=VideoInfo(10.0, 4, 4, 9), timestamp=i / 10)
            self.taken.release()  # the frame before is in the mailbox

    def give(self, count: int) -> None:
        for _ in range(count):
            self.given.release()

    def wait_for(self, count: int) -> None:
        for _ in range(count):
            assert self.taken.acquire(timeout=10)


def test_the_latest_frame_is_taken_and_what_was_dropped_is_counted() -> None:
    clock = Clock()
    camera = Camera(0, 9)
    frames = read_live([LiveSource(item(), camera, 0.0, clock)], "latest")
    meter = LiveMeter(clock)
    camera.give(1)
    meter.add(first := next(frames))
    assert first.frame_index == 0
    camera.wait_for(1)
    camera.give(5)
    camera.wait_for(5)  # frames 1 to 5 came, while the first was worked on
    second = next(frames)
    assert second.frame_index == 5
    clock.now += 0.04
    meter.add(second)
    assert str(meter) == "latency 40 ms, 4 dropped"
    camera.give(3)
    assert [frame.frame_index for frame in frames][-1] == 8


def test_all_frames_are_kept_where_that_is_wanted() -> None:
    camera = Camera(0, 9)
    camera.give(9)
    assert [frame.frame_index for frame in read_live([LiveSource(item(), camera)], "all")] == list(range(9))


@pytest.mark.parametrize("in_threads", [True, False])
def test_several_streams_take_turns(in_threads: bool) -> None:
    cameras = [Camera(number, 5) for number in range(3)]
    for camera in cameras:
        camera.give(5)
    sources = [LiveSource(item(number), camera) for number, camera in enumerate(cameras)]
    frames = list(read_live(sources, "all") if in_threads else read_in_step(sources))
    found = [(frame.item.index, frame.frame_index) for frame in frames]
    assert sorted(found) == [(number, i) for number in range(3) for i in range(5)]
    assert in_threads or found[:4] == [(0, 0), (1, 0), (2, 0), (0, 1)]


def test_an_exception_comes_out_and_the_threads_end() -> None:
    def broken() -> Iterator[Frame]:
        raise RuntimeError("out of order")
        yield

    camera = Camera(1, 5)
    camera.give(5)
    with pytest.raises(RuntimeError, match="out of order"):
        list(read_live([LiveSource(item(0), broken), LiveSource(item(1), camera)], "latest"))


def test_live_is_one_of_two() -> None:
    with pytest.raises(InputError, match="'latest' or 'all'"):
        open_source("webcam", live="newest")


@pytest.mark.parametrize("kind", [StreamServer, RtspServer, RtmpServer])
def test_a_server_that_dies_and_comes_back(kind: type[StreamServer], tmp_path: Path) -> None:
    with serve_streams(tmp_path, [8, 7], kind) as server:
        frames = list(open_source(server.url, live="all", reconnect=0.3, timeout=5))
    images = [frame for frame in frames if frame.image is not None]
    assert [frame.frame_index for frame in images] == list(range(len(images)))
    assert len(images) >= 11 if kind is RtspServer else len(images) == 15
    assert (np.diff([frame.timestamp or 0.0 for frame in images]) > 0).all()
    assert "did not come back within 0.3 s" in (frames[-1].error or "")


def test_two_servers_at_once(tmp_path: Path) -> None:
    with serve_streams(tmp_path, [6]) as one, serve_streams(tmp_path, [6]) as other:
        frames = list(open_source([one.url, other.url], live="all", timeout=5))
    assert [sum(frame.image is not None and frame.item.index == i for frame in frames) for i in range(2)] == [6, 6]
