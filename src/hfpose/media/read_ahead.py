"""Reading in the background, a bounded number of frames ahead."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass

from hfpose.media.frames import Frame

Job = Frame | Callable[[], Frame]
"""A frame, or a function that decodes one and may run in any thread."""


@dataclass(frozen=True)
class _Failure:
    """An exception on its way from the reading thread to the one that iterates."""

    error: BaseException


def read_in_turn(jobs: Generator[Job, None, None]) -> Generator[Frame, None, None]:
    with closing(jobs):
        for job in jobs:
            yield job if isinstance(job, Frame) else job()


def read_ahead(jobs: Generator[Job, None, None], num_workers: int, size: int) -> Generator[Frame, None, None]:
    """Run `jobs` in a thread of their own, and pictures among them in `num_workers` more; frames come out in order.

    At most `size` frames wait. The threads end when this generator does, however it ends.
    """
    waiting: queue.Queue[Frame | Future[Frame] | _Failure | None] = queue.Queue(size)
    stop = threading.Event()
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="hfpose-decode")

    def hand_over(entry: Frame | Future[Frame] | _Failure | None) -> bool:
        while not stop.is_set():
            with suppress(queue.Full):
                waiting.put(entry, timeout=0.1)
                return True
        return False

    def produce() -> None:
        try:
            with closing(jobs):
                for job in jobs:
                    if not hand_over(job if isinstance(job, Frame) else pool.submit(job)):
                        return
            hand_over(None)
        except BaseException as error:  # whatever a generator of the caller raises belongs to the caller
            hand_over(_Failure(error))

    # A daemon, because a generator of the caller may never come back from waiting for its next picture.
    reader = threading.Thread(target=produce, name="hfpose-read", daemon=True)

    def end() -> None:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
        if reader is not threading.current_thread():  # which may be the one that collects a generator nobody uses
            reader.join(timeout=2)

    # For a loop that is still open when the program ends: decoders do not survive Python's own end.
    atexit.register(end)
    reader.start()
    try:
        while (entry := waiting.get()) is not None:
            if isinstance(entry, _Failure):
                raise entry.error
            yield entry if isinstance(entry, Frame) else entry.result()
    finally:
        atexit.unregister(end)
        end()
