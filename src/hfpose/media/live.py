"""Webcams and network streams: the latest frame of each, several at once, opened again when they are lost."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import cycle
from typing import Literal

from hfpose.media.frames import Frame, MediaItem

Live = Literal["latest", "all"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 8.0  # seconds
_READ_AHEAD = 2  # frames; more would only make them late
_PATIENCE = 2.0  # seconds that the end waits for a camera


@dataclass(frozen=True)
class LiveSource:
    """A webcam or network stream.

    Args:
        connect: opens it and gives its frames until it ends, fails (a last frame with an error), or cannot be opened
            (one frame with an error).
        patience: seconds for which it is tried to open a source again that was lost. One that was never there is an
            error at once.
        clock: tells seconds.
    """

    item: MediaItem
    connect: Callable[[], Iterable[Frame]]
    patience: float = 0.0
    clock: Callable[[], float] = time.monotonic

    def frames(self, pause: Callable[[float], object]) -> Iterator[Frame]:
        """The frames of all connections, numbered and timed as those of one video; their gaps are as long as they
        were.

        Args:
            pause: waits for so many seconds before it is tried again, twice as long each time; true ends the stream.
        """
        last, delay = Frame(self.item), _FIRST_PAUSE
        while True:
            failure: Frame | None = None
            for frame in self._connection(last):
                if frame.image is None:
                    failure = frame
                    break
                last, delay = frame, _FIRST_PAUSE
                yield frame
            if last.received is None:  # it was never there
                if failure is not None:
                    yield failure
                return
            # A recording that is played as a stream states how long it is.
            if failure is None and last.video is not None and last.video.num_frames is not None:
                return
            left = self.patience - (self.clock() - last.received)
            if left <= 0:
                if failure is not None or self.patience:
                    yield self._lost(last, failure)
                return
            if pause(min(delay, left)):
                return
            delay = min(2 * delay, _LONGEST_PAUSE)

    def _connection(self, last: Frame) -> Iterator[Frame]:
        """Frames of one connection, numbered and timed as those that follow the frame `last` of the one before."""
        offset: float | None = None
        for frame in self.connect():
            if frame.image is None:
                yield frame
                return
            now, number = self.clock(), 0 if last.frame_index is None else last.frame_index + 1
            begun = frame.timestamp or 0.0
            if offset is None:
                offset = (last.timestamp or 0.0) + now - (last.received or now) - begun if number else 0.0
            last = replace(frame, frame_index=number, timestamp=begun + offset, received=now)
            yield last

    def _lost(self, last: Frame, failure: Frame | None) -> Frame:
        """What says that the source did not come back after its frame `last`."""
        ended = f"{self.item.source!r} ended after {(last.frame_index or 0) + 1} frames."
        tried = f" It did not come back within {self.patience:g} s." if self.patience else ""
        return Frame(self.item, error=f"{(failure and failure.error) or ended}{tried}", video=last.video)


def read_in_step(sources: Sequence[LiveSource]) -> Generator[Frame, None, None]:
    """One frame of each source in turn, read by the thread that iterates."""
    streams = [source.frames(time.sleep) for source in sources]
    while streams:
        ended = []
        for stream in streams:
            frame = next(stream, None)
            if frame is None:
                ended.append(stream)
            else:
                yield frame
        streams = [stream for stream in streams if stream not in ended]


def read_live(sources: Sequence[LiveSource], live: Live) -> Generator[Frame, None, None]:
    """Frames of several sources as they come, in turns where several have one. Each is read in a thread of its own.

    Args:
        live: `"latest"` for the latest frame of each source; those that came before it and were not taken yet are
            dropped, which shows in `frame_index`. `"all"` for all of them: reading waits.
    """
    mailbox = _Mailbox(len(sources), live)

    def read(number: int) -> None:
        error: BaseException | None = None
        try:
            with closing(sources[number].frames(mailbox.closed.wait)) as frames:  # type: ignore[type-var]
                for frame in frames:
                    if not mailbox.put(number, frame):
                        break
        except BaseException as caught:  # belongs to the one that iterates
            error = caught
        mailbox.end(number, error)

    threads = [
        threading.Thread(target=read, args=(number,), name="hfpose-live", daemon=True)
        for number in range(len(sources))
    ]

    def close() -> None:
        mailbox.close()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(_PATIENCE)

    atexit.register(close)  # for a loop that is still open when the program ends
    for thread in threads:
        thread.start()
    try:
        while (frame := mailbox.take()) is not None:
            yield frame
    finally:
        atexit.unregister(close)
        close()


class _Mailbox:
    """Frames that wait, of each source in a queue of its own."""

    def __init__(self, count: int, live: Live) -> None:
        self._waiting: list[deque[Frame]] = [deque() for _ in range(count)]
        self._open = set(range(count))
        self._turn = cycle(range(count))
        self._live = live
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self.closed = threading.Event()

    def put(self, number: int, frame: Frame) -> bool:
        """Add a frame of a source; false if nothing is taken any more."""
        with self._changed:
            waiting = self._waiting[number]
            if self._live == "latest":
                waiting.clear()
            else:
                self._changed.wait_for(lambda: len(waiting) < _READ_AHEAD or self.closed.is_set())
            waiting.append(frame)
            self._changed.notify_all()
        return not self.closed.is_set()

    def end(self, number: int, error: BaseException | None) -> None:
        with self._changed:
            self._open.discard(number)
            self._error = self._error or error
            self._changed.notify_all()

    def take(self) -> Frame | None:
        """The next frame, None at the end of all sources."""
        with self._changed:
            self._changed.wait_for(lambda: any(self._waiting) or self._error or not self._open)
            if self._error is not None:
                raise self._error
            for _ in self._waiting:
                if waiting := self._waiting[next(self._turn)]:
                    self._changed.notify_all()
                    return waiting.popleft()
        return None

    def close(self) -> None:
        with self._changed:
            self.closed.set()
            self._changed.notify_all()


class LiveMeter:
    """How late the results of live sources are, and how many of their frames were dropped.

    Args:
        clock: tells seconds, the same as of the sources.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[MediaItem, int] = {}
        self.latency = 0.0
        """Seconds from when the frame of the last result came to when its result was there."""
        self.dropped = 0

    def add(self, frame: Frame) -> None:
        """Take the result of a frame into account, now that it is there."""
        if frame.received is None or frame.frame_index is None:
            return
        self.latency = self._clock() - frame.received
        self.dropped += frame.frame_index - self._last.get(frame.item, -1) - 1
        self._last[frame.item] = frame.frame_index

    def __str__(self) -> str:
        return f"latency {1000 * self.latency:.0f} ms, {self.dropped} dropped"
