"""A list of what a run has done: one line of JSON for each input.

A run keeps a journal, which grows by a line when an input is done and survives the process. At its end, or at the
start of the next run, the journal is merged into `manifest.jsonl`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from hfpose.media.files import atomic_path
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.images import local_path
from hfpose.media.per_video import OneFilePerVideo
from hfpose.media.video import is_address
from hfpose.results import PoseOutput

MANIFEST = "manifest.jsonl"
WORK_FOLDER = ".hfpose"
"""Folder, beside the manifest, of what a run needs only until it is over."""

_JOURNAL = "journal.jsonl"
_KEPT = "kept"  # status in journals only: an earlier run had done it


@dataclass
class _Open:
    """The input whose results arrive."""

    item: MediaItem
    add: Callable[[dict[str, Any], MediaItem], None]
    frames: int = 0
    instances: int = 0
    error: str | None = None
    seconds: float = 0.0

    def finish(self) -> None:
        """Complete its line, after its files are complete."""
        about = {"kind": self.item.kind, "status": "ok" if self.error is None else "error", "error": self.error}
        counts = {"frames": self.frames, "instances": self.instances, "seconds": round(self.seconds, 4)}
        self.add({**_identity(self.item), **about, **counts}, self.item)

    def abandon(self) -> None:
        """Write no line."""


class Journal:
    """Lines about the inputs that are done.

    A line has `index` (number of the input), `name`, `input` (path or URL), `size` and `modified` of its file,
    `status` (`"ok"` or `"error"`), `outputs` (paths below the folder), `error`, `frames`, `instances` and `seconds`:
    the time that passed in this process from the result before the input's first to its last. Of images in one batch
    the first one has it; sums are right.
    """

    def __init__(
        self,
        folder: Path,
        outputs_of: Callable[[MediaItem], Sequence[Path]],
        write: Callable[[dict[str, Any]], object],
        seconds: float = 0.0,
    ) -> None:
        self._folder = folder
        self._outputs_of = outputs_of
        self._write = write
        self._open: OneFilePerVideo[_Open] = OneFilePerVideo()
        self._last = time.perf_counter() - seconds  # that were spent on the first input before

    def note(self, frame: Frame, output: PoseOutput) -> None:
        """Take down the result of a frame, after it has been given to the writers.

        The line of a video is written when the next input begins, which is when its files are complete.
        """
        now = time.perf_counter()
        line = self._open.file(frame.item, lambda: _Open(frame.item, self._add))
        line.frames += frame.image is not None or frame.frame_index is not None
        line.instances += output.num_instances
        line.error = line.error or output.error
        line.seconds += now - self._last
        self._last = now
        if frame.item.kind == "image":
            self.finish()

    def keep(self, item: MediaItem) -> None:
        """Take down that an earlier run has done an input."""
        self._add({**_identity(item), "status": _KEPT}, item)

    def finish(self) -> None:
        """Complete the lines of the last inputs, after their files are complete."""
        self._open.finish()

    def _add(self, entry: dict[str, Any], item: MediaItem) -> None:
        paths = [] if entry.get("frames") == 0 else self._outputs_of(item)
        outputs = [path.relative_to(self._folder) if self._folder in path.parents else path for path in paths]
        self._write({**entry, "outputs": [path.as_posix() for path in outputs]})


class JournalFile:
    """The journal of a run in its folder, which survives the process."""

    def __init__(self, folder: Path) -> None:
        path = folder / WORK_FOLDER / _JOURNAL
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()  # inputs that are kept are noted by the thread that reads inputs

    def add(self, entry: Mapping[str, Any]) -> None:
        """Add a line."""
        with self._lock:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()


def merge_journal(folder: Path, keep_earlier: bool = True) -> None:
    """Merge the journal into the manifest, in the order of the inputs, and delete it.

    A later line on an input replaces an earlier one, except that one that only says that nothing was to be done adds
    to it. The manifest that is there counts where `keep_earlier`.
    """
    manifest, journal = folder / MANIFEST, folder / WORK_FOLDER / _JOURNAL
    lines: dict[str, tuple[int, str]] = {}  # text, since there may be millions
    for path in ([manifest] if keep_earlier else []) + [journal]:
        for entry in _read(path):
            if entry["status"] == _KEPT:
                earlier = {"status": "ok", **_UNKNOWN}
                if entry["name"] in lines:
                    earlier = json.loads(lines[entry["name"]][1])
                entry = {**earlier, **entry, "status": earlier["status"]}
            lines[entry["name"]] = entry["index"], json.dumps({key: entry.get(key) for key in _ORDER})
    if lines:
        with atomic_path(manifest) as partial, partial.open("w", encoding="utf-8") as file:
            file.writelines(f"{text}\n" for _, text in sorted(lines.values(), key=itemgetter(0)))
    else:
        manifest.unlink(missing_ok=True)
    journal.unlink(missing_ok=True)
    with suppress(OSError):  # where other things lie in it
        (folder / WORK_FOLDER).rmdir()


def is_unchanged(entry: Mapping[str, Any] | None, item: MediaItem) -> bool:
    """Whether a line of a manifest is of this very input: the same path or URL, and the same file as then, which could
    be read."""
    return (
        entry is not None
        and entry.get("frames") != 0
        and all(entry.get(key) == value for key, value in _identity(item).items() if key != "index")
    )


def _identity(item: MediaItem) -> dict[str, Any]:
    """What tells an input from others; size (bytes) and time of change (nanoseconds) are null for what is no local
    file."""
    about = _file_stat(item)
    return {
        "index": item.index,
        "name": item.name,
        "input": item.source,
        "size": about and about.st_size,
        "modified": about and about.st_mtime_ns,
    }


def last_change(item: MediaItem) -> int | None:
    """When the local file of an input was changed last, in nanoseconds; None for what is no local file."""
    about = _file_stat(item)
    return about and about.st_mtime_ns


def _file_stat(item: MediaItem) -> os.stat_result | None:
    with suppress(OSError, ValueError):
        if item.source is not None and not is_address(item.source):
            return local_path(item.source).stat()
    return None


_ORDER = (
    "index", "name", "input", "size", "modified", "status", "outputs", "error", "frames", "instances", "seconds",
)  # fmt: skip
_UNKNOWN = {"error": None, "frames": None, "instances": None, "seconds": None}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """Entries of a manifest or journal, up to where it breaks off if it does."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as file, suppress(ValueError):
        for line in file:
            yield json.loads(line)


def read_manifest(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a manifest, in the order of the inputs."""
    return list(_read(Path(path)))
