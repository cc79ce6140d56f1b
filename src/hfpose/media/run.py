"""A run over many inputs: what of them is skipped, and what is noted of each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hfpose.media.files import make_folder
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.manifest import (
    MANIFEST,
    WORK_FOLDER,
    Journal,
    JournalFile,
    is_unchanged,
    last_change,
    merge_journal,
    read_manifest,
)
from hfpose.results import PoseOutput


class Run:
    """A run, as a context manager that is left after the writers have been closed.

    Args:
        folder: where results go and the manifest is kept; None keeps none.
        resume: whether what an earlier run has done is skipped.
    """

    def __init__(self, folder: Path | None, resume: bool) -> None:
        self.folder = folder
        self.resume = resume
        self.failures = 0
        self.skipped = 0  # inputs that are complete
        self._outputs_of: Callable[[MediaItem], Sequence[Path]] | None = None
        self._is_complete: Callable[[MediaItem], bool] | None = None
        self._file: JournalFile | None = None
        self._journal: Journal | None = None
        self.earlier: dict[str, dict[str, Any]] = {}
        """What the manifest says, by name of the input."""
        if folder is not None:
            make_folder(folder)
            if not resume:
                shutil.rmtree(folder / WORK_FOLDER, ignore_errors=True)
            merge_journal(folder, keep_earlier=resume)

    def begin(
        self, outputs_of: Callable[[MediaItem], Sequence[Path]], is_complete: Callable[[MediaItem], bool]
    ) -> None:
        """Take down from now on what is done.

        Args:
            outputs_of: paths of an input's finished files.
            is_complete: whether an earlier run has written everything for an input.
        """
        self._outputs_of, self._is_complete = outputs_of, is_complete
        if self.folder is not None:
            self.earlier = {entry["name"]: entry for entry in read_manifest(self.folder / MANIFEST)}
            self._file = JournalFile(self.folder)
            self._journal = Journal(self.folder, outputs_of, self._file.add)

    def skip(self, item: MediaItem) -> bool:
        """Whether an input is left out; a source asks for each of its items, in their order."""
        if not self.resume or self._is_complete is None or not self._is_complete(item):
            return False
        if not self._is_of_this_file(item):
            return False
        if self._journal is not None:
            self._journal.keep(item)
        self.skipped += 1
        return True

    def note(self, frame: Frame, output: PoseOutput) -> None:
        """Take down the result of a frame, after it has been given to the writers."""
        self.failures += output.error is not None
        if self._journal is not None:
            self._journal.note(frame, output)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take down an input that was done elsewhere, with its line of the manifest."""
        self.failures += entry["error"] is not None
        if self._file is not None:
            self._file.add(entry)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._journal is not None and kind is None:
            self._journal.finish()
        if self._file is not None:
            self._file.close()
        if self.folder is not None:
            merge_journal(self.folder)

    def _is_of_this_file(self, item: MediaItem) -> bool:
        """Whether the files of an earlier run are of this input as it is now; without a manifest judged by their
        times."""
        if self.folder is not None:
            return is_unchanged(self.earlier.get(item.name), item)
        assert self._outputs_of is not None
        changed = last_change(item)
        # A table of a run that broke off has no name yet.
        written = filter(Path.exists, self._outputs_of(item))
        return changed is None or all(path.stat().st_mtime_ns >= changed for path in written)
