"""Names for output files, from names of inputs."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from hfpose.media.video import is_address

_MAX_BYTES = 180  # in UTF-8; file systems allow 255 bytes, and endings are still to come
_UNSAFE = re.compile(r'[\x00-\x1f/\\:*?"<>|]+')


def base_name(source: str | Path) -> str:
    """Name of a file, or of the last part of a URL, without folders and ending, and safe as a name on every system."""
    text = unquote(urlsplit(str(source)).path) if is_address(source) else str(source)
    parts = [
        part for part in re.split(r"[/\\]" if is_address(source) else r"[/]", text) if part not in ("", ".", "..")
    ]
    stem = Path(parts[-1]).stem if parts else ""
    # A name that is not UTF-8 holds surrogates, which no text file can.
    encoded = _UNSAFE.sub("_", stem).encode("utf-8", "surrogateescape")
    name = _truncated(encoded.decode("utf-8", "replace")).strip()
    return name if name.strip(".") else "unnamed"


def _truncated(name: str) -> str:
    """The name, or as much of it as fits into `_MAX_BYTES`, with a hash instead of the rest."""
    encoded = name.encode()
    if len(encoded) <= _MAX_BYTES:
        return name
    digest = hashlib.sha1(encoded, usedforsecurity=False).hexdigest()[:8]
    return f"{encoded[: _MAX_BYTES - 9].decode('utf-8', 'ignore')}-{digest}"


class Namer:
    """Gives each item of a run a name of its own, the same in each run over the same inputs.

    A name that is taken gets the ending of its file (`a_png` beside `a`), if that does not help `_2`, `_3` and so on.
    Upper and lower case count as equal, since some file systems do not tell them apart.

    Args:
        index_digits: digits of the name of an item that has none, with zeros in front.
    """

    def __init__(self, index_digits: int = 10) -> None:
        self._index_digits = index_digits
        self._taken: dict[str, int] = {}
        self._last_index = -1

    def unique(self, name: str, suffix: str = "") -> str:
        """The name, changed if it is taken; `suffix` is the ending of its file, such as `.png`."""
        if suffix and self._is_taken(name):
            name = f"{name}_{suffix.removeprefix('.').lower()}"
        candidate = name
        number = self._taken.get(name.casefold(), 1)
        while self._is_taken(candidate):
            number += 1
            candidate = f"{name}_{number}"
        self._taken[name.casefold()] = number
        self._taken.setdefault(candidate.casefold(), 1)
        return candidate

    def index_name(self, index: int) -> str:
        """Name of an item that has none, such as an array. It is not stored, so that endless streams cost no
        memory."""
        name = self._numbered(index)
        if name in self._taken:
            return self.unique(name)
        self._last_index = index
        return name

    def _is_taken(self, name: str) -> bool:
        if name.isdecimal() and name == self._numbered(int(name)) and int(name) <= self._last_index:
            return True
        return name.casefold() in self._taken

    def _numbered(self, index: int) -> str:
        return f"{index:0{self._index_digits}d}"
