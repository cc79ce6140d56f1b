"""Files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def partial_path(path: Path) -> Path:
    """Name under which `path` is written until it is complete.

    It is hidden, lies in the same folder (so that the final rename cannot cross file systems) and depends on the name
    alone: a run that was killed leaves at most this one file, and the next run writes over it.
    """
    return path.with_name(f".{path.name}.part")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well, and goes away when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
