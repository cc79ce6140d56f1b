"""Keeping the one output file open that belongs to the video whose frames are arriving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from hfpose.media.frames import MediaItem


class GrowingFile(Protocol):
    """A file that is written bit by bit and takes its name when it is finished."""

    def finish(self) -> None: ...
    def abandon(self) -> None: ...


FileT = TypeVar("FileT", bound=GrowingFile)


class OneFilePerVideo(Generic[FileT]):
    """Opens a file with a video's first frame and finishes it when another item begins or the run ends."""

    def __init__(self) -> None:
        self._item: MediaItem | None = None
        self._file: FileT | None = None

    def enter(self, item: MediaItem) -> None:
        """A frame of `item` arrives: the file of any other item is finished."""
        if self._item is not None and item.index != self._item.index:
            self.finish()

    def file(self, item: MediaItem, make: Callable[[], FileT]) -> FileT:
        """The file of `item`, made by `make` if this is its first frame."""
        self.enter(item)
        if self._file is None:
            self._file = make()
            self._item = item
        return self._file

    def finish(self) -> None:
        file, self._file, self._item = self._file, None, None
        if file is not None:
            file.finish()

    def abandon(self) -> None:
        """Leave the file unfinished, unless it records a live source, which ends no other way than by breaking off."""
        if self._item is not None and self._item.is_live:
            self.finish()
        elif self._file is not None:
            self._file.abandon()
            self._file = self._item = None
