"""Work in the background, a bounded number of steps ahead."""

from __future__ import annotations

import atexit
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

T = TypeVar("T")


@dataclass(frozen=True)
class _Entry(Generic[T]):
    """What the thread made, or the exception in its place, on its way to the one that iterates."""

    value: T | None = None
    error: BaseException | None = None


def in_background(
    items: Generator[T, None, None],
    size: int,
    name: str,
    patience: float = 2.0,
    *,
    weigh: Callable[[T], int] = lambda item: 0,
    max_weight: int = 0,
) -> Generator[T, None, None]:
    """The items of a generator that runs in a thread of its own, while the consumer does something else.

    At most `size` items wait, and no more than weigh `max_weight` together (by `weigh`, such as their bytes) or one.
    Exceptions come out in their place. The thread ends when this generator does, however it ends, and closes `items`;
    the end waits `patience` seconds for it.
    """
    waiting: queue.Queue[_Entry[T] | None] = queue.Queue(size)
    stop = threading.Event()
    weights: deque[int] = deque()  # of the items that wait

    def hand_over(entry: _Entry[T] | None) -> bool:
        weight = 0 if entry is None or entry.error is not None else weigh(cast(T, entry.value))
        while not stop.is_set():
            if weights and sum(tuple(weights)) + weight > max_weight and weight:
                stop.wait(0.002)
                continue
            weights.append(weight)
            with suppress(queue.Full):
                waiting.put(entry, timeout=0.1)
                return True
            weights.pop()
        return False

    def produce() -> None:
        try:
            with closing(items):
                for item in items:
                    if not hand_over(_Entry(item)):
                        return
            hand_over(None)
        except BaseException as error:  # whatever it is, it belongs to the one that iterates
            hand_over(_Entry(error=error))

    # A daemon, because a generator of the caller may never come back from waiting for its next image.
    thread = threading.Thread(target=produce, name=name, daemon=True)

    def end() -> None:
        stop.set()
        if thread is not threading.current_thread():  # which may be the one that collects an unused generator
            thread.join(patience)

    # For a loop that is still open when the program ends: decoders and networks do not survive Python's own end.
    atexit.register(end)
    thread.start()
    try:
        while (entry := waiting.get()) is not None:
            if entry.error is not None:
                raise entry.error
            weights.popleft()
            yield cast(T, entry.value)
    finally:
        atexit.unregister(end)
        end()
