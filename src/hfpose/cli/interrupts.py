"""Ctrl-C in commands."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def exit_at_interrupt() -> Iterator[None]:
    """Answer Ctrl-C at once, and end the block with the exit code 130 if it fails after that, for whatever reason.

    Libraries turn the interrupt into errors of their own while they are imported or load weights, which would be told
    as faults of a file.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield  # the signal is ignored, as behind `nohup` or `&`, or answered by who calls
        return
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        came.append(number)
        with suppress(OSError):
            os.write(2, b"hfpose: Stopping.\n")  # `print` may be what is interrupted
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except BaseException as error:
        is_done = isinstance(error, SystemExit) and error.code in (0, None)
        if came and not is_done:
            sys.exit(130)
        raise
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
