"""Opening files with errors that say what to do, and writing files that appear whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hfpose.errors import InputError


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name that can be looked at; strange names are no error."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, null bytes, below a folder that may not be entered
        return False


def open_to_read(path: Path, kind: str) -> BinaryIO:
    """Open a file of a user for reading.

    Args:
        path: which file.
        kind: what was expected, for messages: "picture" or "video".

    Raises:
        InputError: if there is no such file or it cannot be opened.
    """
    if is_folder(path):
        raise InputError(
            f"{str(path)!r} is a folder, expected one {kind}. To read its pictures, give it to a pipeline."
        )
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(
            f"There is no file {str(path)!r}. Check the path; the current folder is {str(Path.cwd())!r}."
        ) from None
    except PermissionError:
        raise InputError(
            f"No permission to read {str(path)!r}: change its access rights or run as its owner."
        ) from None
    except (OSError, ValueError) as error:  # a name that is too long or has a null byte, a failing disk
        raise InputError(f"Cannot open {str(path)!r}: {error}.") from error


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
