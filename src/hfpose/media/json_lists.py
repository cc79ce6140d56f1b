"""Files that hold one JSON list, alone or as the last value of an object, with one entry in each line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hfpose.media.files import PartialFile, atomic_path

_CLOSING = b"\n]\n"


def write_json_list(path: Path, entries: Iterable[Any]) -> None:
    """Write a whole list; the file appears whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_bytes(_dump(entries).join((b"[\n", _CLOSING)))


class JsonListFile(PartialFile):
    """A list that grows and takes its name when it is finished.

    Until then the temporary file (`partial_path`) is complete JSON after every `append`: an entry and the closing
    bracket are written over the old closing bracket in one call to the operating system. What a killed process had
    appended can be read from there.

    Args:
        path: where the finished file goes.
        about: what goes before the list in an object, of which the list is the last value; None for the list alone.
        key: name of the list in that object.
    """

    def __init__(self, path: Path, about: Mapping[str, Any] | None = None, key: str = "") -> None:
        super().__init__(path, mode="wb", buffering=0)
        opening, self._closing = b"[", _CLOSING
        if about is not None:
            opening, self._closing = _dump([{**about, key: []}]).removesuffix(b"]}"), b"\n]}\n"
        self._start = self._position = len(opening)  # behind the last entry
        self._write(opening + self._closing)

    def append(self, entries: Iterable[Any]) -> None:
        """Add entries to the end of the list."""
        text = _dump(entries)
        if not text:
            return
        before = b"\n" if self._position == self._start else b",\n"
        self._file.seek(self._position)
        self._write(before + text + self._closing)
        self._position += len(before) + len(text)

    @staticmethod
    def read(path: Path) -> list[Any]:
        """Entries of a list, up to where the file breaks off if it does."""
        entries: list[Any] = []
        with suppress(ValueError):  # at the closing bracket, or at a line that a killed process did not finish
            entries.extend(json.loads(line.rstrip(b",")) for line in path.read_bytes().splitlines()[1:])
        return entries

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]


def _dump(entries: Iterable[Any]) -> bytes:
    return ",\n".join(json.dumps(entry, allow_nan=False) for entry in entries).encode()
