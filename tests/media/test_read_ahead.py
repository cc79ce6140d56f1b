from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial

import pytest

import hfpose
from hfpose.media.background import in_background
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.read_ahead import Job, read_ahead, read_in_turn
from library_threads import own_threads, wait_until


def frame(index: int) -> Frame:
    return Frame(MediaItem(index, "image", str(index)))


class Jobs:
    """Counts how many frames were made and whether the end was reached or closed."""

    def __init__(self, count: int, make: Callable[[int], Job] = frame) -> None:
        self.made = 0
        self.closed = threading.Event()
        self._count = count
        self._make = make

    def run(self) -> Generator[Job, None, None]:
        try:
            for index in range(self._count):
                self.made += 1
                yield self._make(index)
        finally:
            self.closed.set()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Generator[None, None, None]:
    yield
    wait_until(lambda: not own_threads())


def test_order_is_kept_by_many_workers() -> None:
    def slow_first(index: int) -> Job:
        def decode() -> Frame:
            time.sleep(0.003 * (index % 3 == 0))
            return frame(index)

        return frame(index) if index % 4 == 1 else decode

    frames = list(read_ahead(Jobs(40, slow_first).run(), num_workers=4, size=6))
    assert [f.item.index for f in frames] == list(range(40))


def test_workers_run_at_once() -> None:
    barrier = threading.Barrier(3, timeout=5)

    def meet(index: int) -> Job:
        def decode() -> Frame:
            barrier.wait()  # passes only if three decode at the same time
            return frame(index)

        return decode

    assert len(list(read_ahead(Jobs(3, meet).run(), num_workers=3, size=3))) == 3


def test_only_so_many_frames_wait() -> None:
    jobs = Jobs(1000)
    reader = read_ahead(jobs.run(), num_workers=1, size=5)
    next(reader)
    wait_until(lambda: jobs.made >= 6)
    time.sleep(0.05)
    assert jobs.made <= 7  # one taken, five waiting, one in hand
    reader.close()


def test_early_exit_ends_thread_and_closes_jobs() -> None:
    jobs = Jobs(1000)
    for f in read_ahead(jobs.run(), num_workers=2, size=5):
        if f.item.index == 3:
            break
    assert jobs.closed.wait(5)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_exception_in_the_loop_ends_thread(kind: type[BaseException]) -> None:
    jobs = Jobs(1000)
    with pytest.raises(kind):
        for _ in read_ahead(jobs.run(), num_workers=2, size=5):
            raise kind
    assert jobs.closed.wait(5)


def test_exception_of_the_jobs_comes_out_in_its_place() -> None:
    def failing() -> Generator[Job, None, None]:
        yield frame(0)
        yield frame(1)
        raise KeyError("from the caller's generator")

    for reader in (read_ahead(failing(), 1, 5), read_in_turn(failing())):
        assert [next(reader).item.index, next(reader).item.index] == [0, 1]
        with pytest.raises(KeyError, match="generator"):
            next(reader)


def test_jobs_that_never_come_back_do_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfpose.media.read_ahead.in_background", partial(in_background, patience=0.1))
    release = threading.Event()

    def stuck() -> Generator[Job, None, None]:
        yield frame(0)
        release.wait(30)

    reader = read_ahead(stuck(), num_workers=1, size=2)
    next(reader)
    started = time.monotonic()
    reader.close()
    assert time.monotonic() - started < 4
    release.set()


def test_program_that_leaves_a_loop_open_ends() -> None:
    program = f"""
import sys, types
package = types.ModuleType("hfpose")  # importing the real one takes seconds
package.__path__ = {list(hfpose.__path__)!r}
sys.modules["hfpose"] = package
from hfpose.media.read_ahead import read_ahead
from hfpose.media.background import in_background
from hfpose.media.frames import Frame, MediaItem
def endless():
    while True:
        yield Frame(MediaItem(0, "image", "a"))
reader = read_ahead(endless(), 1, 3)
next(reader)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_what_waits_is_bounded_in_weight() -> None:
    made: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(10):
            made.append(number)
            yield number

    with closing(in_background(items(), 8, "test", weigh=lambda item: 100, max_weight=250)) as waiting:
        assert next(waiting) == 0
        wait_until(lambda: len(made) == 4)  # one is out, two wait, and one is in hand
        time.sleep(0.05)
        assert len(made) == 4
        assert list(waiting) == list(range(1, 10))
