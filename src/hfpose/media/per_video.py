"""Keeping the output files open that belong to the videos whose frames are arriving."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from hfpose.media.frames import MediaItem


class GrowingFile(Protocol):
    """A file that is written bit by bit and takes its name when it is finished."""

    def finish(self) -> None:
        """Complete the file and give it its name."""

    def abandon(self) -> None:
        """Stop without giving the file its name."""


FileT = TypeVar("FileT", bound=GrowingFile)


class OneFilePerVideo(Generic[FileT]):
    """Opens a file with a video's first frame and finishes it when another item begins or the run ends; of live
    sources, whose frames take turns, when the run ends."""

    def __init__(self) -> None:
        self._files: dict[MediaItem, FileT] = {}

    def enter(self, item: MediaItem) -> None:
        """A frame of `item` arrives: the files of other items are finished."""
        for other in [each for each in self._files if each.index != item.index and not each.is_live]:
            self._files.pop(other).finish()

    def file(self, item: MediaItem, make: Callable[[], FileT]) -> FileT:
        """The file of `item`, made by `make` if this is its first frame."""
        self.enter(item)
        if item not in self._files:
            self._files[item] = make()
        return self._files[item]

    def finish(self) -> None:
        """Finish all files, though one fails: the run is over."""
        with ExitStack() as stack:
            while self._files:
                stack.callback(self._files.popitem()[1].finish)

    def abandon(self) -> None:
        """Leave files unfinished, unless they record a live source."""
        with ExitStack() as stack:
            while self._files:
                stack.callback(end_early, *self._files.popitem())


def end_early(item: MediaItem | None, file: GrowingFile) -> None:
    """Abandon a file, or finish it if its last frame was of a live source, which ends no other way than by breaking
    off."""
    if item is not None and item.is_live:
        file.finish()
    else:
        file.abandon()


class InputWriter(Generic[FileT]):
    """Base of writers with a file or folder of its own, in `folder`, for each input; see
    `hfpose.media.writers.Writer`."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(folder)
        self._videos: OneFilePerVideo[FileT] = OneFilePerVideo()

    def is_complete(self, item: MediaItem) -> bool:
        return self._path(item).exists()

    def outputs(self, item: MediaItem) -> list[Path]:
        return [self._path(item)] if self.is_complete(item) else []

    def close(self) -> None:
        self._videos.finish()

    def abandon(self) -> None:
        self._videos.abandon()

    def _path(self, item: MediaItem) -> Path:
        raise NotImplementedError
