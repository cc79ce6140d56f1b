"""Opening files with errors that say what to do, and writing files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from hfpose.errors import InputError

OUTPUT_MARKER = ".hfpose-output"
"""Hidden file in each folder that a run writes to: a lock while it runs, and a sign not to read the folder as
inputs."""

_SPECIAL_KINDS = {stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}

_ADDRESS = re.compile("[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # one slash, for `Path` leaves out the other

PARTIALS = "partial-"
"""How the names of folders of unfinished files begin."""


def is_folder(path: Path) -> bool:
    """Whether there is a folder of this name that can be looked at; strange names are no error."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # too long, null bytes, below a folder that may not be entered
        return False


def open_to_read(path: Path, kind: str) -> BinaryIO:
    """Open a file of a user for reading; `kind` says in messages what was expected, "image" or "video".

    Raises:
        InputError: if there is no such file, it cannot be opened, or it is no regular file, such as a named pipe, for
            which a reader could wait for ever.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            what = _SPECIAL_KINDS.get(stat.S_IFMT(mode), "special file")
            raise InputError(f"{str(path)!r} is a {what}, expected a regular file with one {kind}.")
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
    except InputError:
        raise
    except (OSError, ValueError) as error:  # a name that is too long or has a null byte, a failing disk
        reason = getattr(error, "strerror", None) or error  # without the name, which may be endless
        raise InputError(f"Cannot open {str(path)[:200]!r}: {reason}.") from error


def output_path(path: str | Path) -> Path:
    """Where results go; `~` is the home folder, as it is in the names of inputs.

    Raises:
        InputError: for an address, from which a folder such as `s3:` would be made here.
    """
    if _ADDRESS.match(str(path)):
        raise InputError(f"Cannot write to the address {str(path)!r}. Give a file or folder of this machine.")
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the home of an unknown user
        return Path(path)


def make_folder(folder: Path) -> Path:
    """Make a folder for results now, so that a run does not fail after its first one.

    Raises:
        InputError: if that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        in_the_way = next((place for place in (folder, *folder.parents) if place.is_file()), None)
        reason = error.strerror if in_the_way is None else f"{str(in_the_way)!r} is a file"
        raise InputError(f"Cannot make the folder {str(folder)!r} for results: {reason}.") from error
    return folder


_partial_folders: dict[Path, Path] = {}  # by folder that results go to


@contextmanager
def partials_apart(out: Path, below: Path) -> Iterator[None]:
    """Within the block unfinished files of `out` have a new folder in `below`, which goes away with them.

    So two processes that write the same results at once, such as a worker taken for dead and the one in its place, use
    different files.
    """
    below.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=below, prefix=PARTIALS, ignore_cleanup_errors=True) as name:
        _partial_folders[out] = Path(name)
        try:
            yield
        finally:
            del _partial_folders[out]


def partial_path(path: Path) -> Path:
    """Name under which `path` is written until it is complete.

    It is hidden, lies in the same folder (so that the final rename cannot cross file systems) and depends on the name
    alone: a run that was killed leaves at most this one file, and the next run writes over it. See `partials_apart`
    for runs of many processes.
    """
    for out, folder in _partial_folders.items():
        if out in path.parents:
            return folder / f"{hashlib.sha256(os.fsencode(path)).hexdigest()[:16]}.part"
    return path.with_name(f".{path.name}.part")


def read_lines(path: Path, kind: str) -> list[str]:
    """Lines of a text file of a user, without the space around them; quotes around a whole line go too, unless a file
    has that name. A byte order mark tells UTF-16, as Windows writes it; other texts are decoded as names of files are.
    Lines end as those of Unix, Windows or the first Macs.

    Raises:
        InputError: as for `open_to_read`.
    """
    with open_to_read(path, kind) as file:
        data = file.read()
    if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    else:
        text = os.fsdecode(data.removeprefix(BOM_UTF8))
    return [_unquoted(line.strip(), path.parent) for line in text.split("\n" if "\n" in text else "\r")]


def _unquoted(line: str, folder: Path) -> str:
    is_quoted = len(line) > 2 and line[0] == line[-1] and line[0] in "\"'"
    return line[1:-1] if is_quoted and not (folder / line).exists() else line


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to; it becomes `path` when the block ends well, and goes away when it does
    not."""
    path = output_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write a text file that appears whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any, indent: int | None = 2) -> None:
    """Write plain values as a JSON file that appears whole or not at all."""
    write_text(path, json.dumps(value, indent=indent) + "\n")


class OutputLock:
    """Keeps an output folder for one run, and marks it as one (`OUTPUT_MARKER`).

    The operating system releases it when the process ends, however that happens.

    Raises:
        InputError: if another run writes into the folder, or nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = FileLock(folder / OUTPUT_MARKER, timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise InputError(
                f"Another run writes its results into {str(folder)!r}. Wait for its end, or give another folder."
            ) from None
        except OSError as error:
            raise InputError(f"Cannot write into the folder {str(folder)!r}: {error.strerror}.") from error

    def release(self) -> None:
        """Let other runs write into the folder."""
        self._lock.release()


class PartialFile:
    """A file that is written bit by bit under its temporary name (`partial_path`) and takes its own when it is
    finished.

    Args:
        path: its own name. Missing folders are made.
        options: of `Path.open`.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: Any = partial_path(path).open(**options)

    def finish(self) -> None:
        """Give the file its name."""
        self._file.close()
        partial_path(self._path).replace(self._path)

    def abandon(self) -> None:
        """Stop writing; what is there stays under its temporary name."""
        self._file.close()


class FolderOfFiles:
    """A folder of files that takes its name when it is finished.

    Args:
        folder: where it is to be.
        patterns: of the names of its files. Those of an earlier run are deleted in the end, other files stay.

    Raises:
        InputError: if the folder cannot be made.
    """

    def __init__(self, folder: Path, *patterns: str) -> None:
        self._folder = folder
        self._patterns = patterns
        self._partial = partial_path(folder)
        shutil.rmtree(self._partial, ignore_errors=True)  # of a run that broke off
        make_folder(folder if folder.is_file() else folder.parent)  # which says that a file is in the way
        make_folder(self._partial)

    def path(self, name: str) -> Path:
        """Where to write the file of that name now."""
        return self._partial / name

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        self.path(name).write_text(text, encoding="utf-8")

    def finish(self) -> None:
        """Give the folder its name; into one that is there the files move."""
        if not self._folder.is_dir():
            self._partial.replace(self._folder)
            return
        for pattern in self._patterns:
            for old in self._folder.glob(pattern):
                old.unlink()
        for new in self._partial.iterdir():
            new.replace(self._folder / new.name)
        self._partial.rmdir()

    def abandon(self) -> None:
        """What is there stays under its temporary name."""
