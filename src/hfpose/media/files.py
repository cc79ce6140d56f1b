"""Opening files with errors that say what to do, and writing files that appear whole or not at all."""

from __future__ import annotations

import shutil
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
        kind: what was expected, for messages: "image" or "video".

    Raises:
        InputError: if there is no such file or it cannot be opened.
    """
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(
            f"There is no file {str(path)!r}. Check the path; the current folder is {str(Path.cwd())!r}."
        ) from None
    except (IsADirectoryError, PermissionError):  # which of them a folder raises depends on the system
        if is_folder(path):
            raise InputError(
                f"{str(path)!r} is a folder, expected one {kind}. To read its images, give it to a pipeline."
            ) from None
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


class FolderOfFiles:
    """A folder of text files that takes its name when it is finished.

    Args:
        folder: where it is to be.
        pattern: of the names of its files. Those of an earlier run are deleted in the end, other files stay.
    """

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder = folder
        self._pattern = pattern
        self._partial = partial_path(folder)
        shutil.rmtree(self._partial, ignore_errors=True)  # of a run that broke off
        self._partial.mkdir(parents=True)

    def write(self, name: str, text: str) -> None:
        (self._partial / name).write_text(text, encoding="utf-8")

    def finish(self) -> None:
        if not self._folder.is_dir():
            self._partial.replace(self._folder)
            return
        for old in self._folder.glob(self._pattern):
            old.unlink()
        for new in self._partial.iterdir():
            new.replace(self._folder / new.name)
        self._partial.rmdir()

    def abandon(self) -> None:
        """What is there stays under its temporary name."""
