"""Reading in the background, a bounded number of frames ahead."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from hfpose.media.background import in_background
from hfpose.media.frames import Frame

Job = Frame | Callable[[], Frame]
"""A frame, or a function that decodes one and may run in any thread."""


def read_in_turn(jobs: Generator[Job, None, None]) -> Generator[Frame, None, None]:
    with closing(jobs):
        for job in jobs:
            yield job if isinstance(job, Frame) else job()


def read_ahead(jobs: Generator[Job, None, None], num_workers: int, size: int) -> Generator[Frame, None, None]:
    """Run `jobs` in a thread of their own, and images among them in `num_workers` more; frames come out in order.

    At most `size` frames wait. The threads end when this generator does, however it ends.
    """
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="hfpose-decode")

    def begun() -> Generator[Frame | Future[Frame], None, None]:
        with closing(jobs):
            for job in jobs:
                yield job if isinstance(job, Frame) else pool.submit(job)

    try:
        with closing(in_background(begun(), size, "hfpose-read")) as waiting:
            for entry in waiting:
                yield entry if isinstance(entry, Frame) else entry.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
