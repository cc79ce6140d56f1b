"""Reading in the background, a bounded number of frames ahead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from hfpose.media.background import in_background
from hfpose.media.frames import Frame

Job = Frame | Callable[[], Frame]
"""A frame, or a function that decodes one and may run in any thread."""

MAX_WAITING_BYTES = 256 << 20


def _num_bytes(entry: Frame | Future[Frame]) -> int:
    """What a decoded frame takes in memory; of images, which are decoded on the way, nothing is known yet."""
    return entry.image.nbytes if isinstance(entry, Frame) and entry.image is not None else 0


def read_in_turn(jobs: Generator[Job, None, None]) -> Generator[Frame, None, None]:
    """Run `jobs` one by one, each when its frame is asked for."""
    with closing(jobs):
        for job in jobs:
            yield job if isinstance(job, Frame) else job()


def read_ahead(jobs: Generator[Job, None, None], num_workers: int, size: int) -> Generator[Frame, None, None]:
    """Run `jobs` in a thread of their own, and images among them in `num_workers` more; frames come out in order.

    At most `size` frames wait, of videos no more than `MAX_WAITING_BYTES` or one. The threads end when this generator
    does, however it ends.
    """
    is_finalizing = sys.is_finalizing
    pool = ThreadPoolExecutor(num_workers, thread_name_prefix="hfpose-decode")

    def begun() -> Generator[Frame | Future[Frame], None, None]:
        with closing(jobs):
            for job in jobs:
                yield job if isinstance(job, Frame) else pool.submit(job)

    try:
        ahead = in_background(begun(), size, "hfpose-read", weigh=_num_bytes, max_weight=MAX_WAITING_BYTES)
        with closing(ahead) as waiting:
            for entry in waiting:
                yield entry if isinstance(entry, Frame) else entry.result()
    finally:
        if not is_finalizing():  # when the program ends, the pool's own module may be gone
            pool.shutdown(wait=False, cancel_futures=True)
