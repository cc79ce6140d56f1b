"""Values of a config file: what they may cost, and what is handed on of them."""

from __future__ import annotations

import time
from typing import Any

# Nodes evaluated plus elements and characters made, all files of a config together. Large real ones need 20,000.
MAX_WORK = 500_000
_MAX_SECONDS = 4.0  # of the thread's own time
_MAX_DEPTH = 100


class BaseDict(dict):
    """A dict that comes from a base config: its `update` merges dicts inside of dicts, as mmengine's ConfigDict does."""

    def update(self, other: dict, /, **values: Any) -> None:  # type: ignore[override]
        for key, value in {**other, **values}.items():
            if isinstance(value, dict) and isinstance(mine := self.get(key), BaseDict):
                mine.update(value)
            else:
                self[key] = value


class Budget:
    """Work and time that are left for all files of one config."""

    def __init__(self, work: int = MAX_WORK) -> None:
        self.work = work
        self.end = time.thread_time() + _MAX_SECONDS

    def charge(self, work: int) -> None:
        """Take from what is left; an OverflowError where that is nothing."""
        self.work -= work
        if self.work < 0 or time.thread_time() > self.end:
            raise OverflowError("this makes the config larger than any real one")

    def measure(self, value: Any) -> None:
        """Charge every element of `value`, each as often as it appears: repeated parts share memory but not work."""
        pending = [value]
        while pending:
            self.charge(1)
            part = pending.pop()
            if isinstance(part, dict):
                pending.extend(part.values())
            elif isinstance(part, (list, tuple)):
                pending.extend(part)
            elif isinstance(part, range):
                self.charge(len(part))


def to_plain(value: Any, depth: int = 0) -> Any:
    """A copy made of dict, list, tuple and scalars alone, of a value that `Budget.measure` accepted."""
    if depth > _MAX_DEPTH:
        raise RecursionError("it nests too deep")
    if isinstance(value, dict):
        return {key: to_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item, depth + 1) for item in value)
    return list(value) if isinstance(value, range) else value
