"""What one worker does of a run: images, whole videos, segments of videos, and joining them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fsspec
import torch

from hfpose.distributed.job import PredictJob, Results
from hfpose.distributed.segments import LongVideo, Segment, SegmentResult, StoredPoses, find_in_segment, join_segments
from hfpose.errors import InputError
from hfpose.media.files import partials_apart
from hfpose.media.frames import MediaItem
from hfpose.media.manifest import WORK_FOLDER, Journal
from hfpose.media.sources import open_items

Entries = list[dict[str, Any]]
"""Lines of the manifest."""

SEGMENTS = "segments"
"""Folder of the segments' results, below the one of what a run needs only until it is over."""


@dataclass(frozen=True)
class Chunk:
    """Inputs that a worker does in one go.

    Args:
        part: names what is written of them together, different for each chunk of a run.
    """

    items: tuple[MediaItem, ...]
    part: str


class Worker:
    """Does parts of a job with a pipeline of its own.

    Args:
        out: folder or URL that results go to; a folder must be seen by all workers.
        num_threads: of torch.
        device: where the models go; None for what the job says.
    """

    def __init__(self, job: PredictJob, out: str, num_threads: int = 1, device: str | None = None) -> None:
        self._job = job
        self._out = out
        self._num_threads = num_threads
        self._device = device
        self._pipe: Any = None

    def start(self) -> bool:
        """Load the models. Whether videos may be split."""
        torch.set_num_threads(self._num_threads)
        self._pipe = self._job.load_pipeline(**({} if self._device is None else {"device": self._device}))
        return self._job.can_be_split(self._pipe)

    def predict(self, chunk: Chunk) -> Entries:
        """Do a chunk, and write its results."""
        with open_items(chunk.items) as source:
            return self._write(lambda draws: self._job.results(self._pipe, source, draws), chunk.part)

    def find(self, segment: Segment) -> int:
        """Make and keep the result of a segment, unless it is there; how many frames it has."""
        return len(self._segment(segment).outputs)

    def join(self, video: LongVideo) -> Entries:
        """Write the result of a video whose segments are there."""
        joined = join_segments(video, self._segment, partial(self._find, may_seek=False))

        def results(draws: bool) -> Results:
            poses = StoredPoses(joined, self._segment, draws or self._job.follows_camera(self._pipe))
            stand_in = copy.copy(self._pipe)
            stand_in.find_poses = poses.find_poses
            return self._job.results(stand_in, poses.source, draws)

        entries = self._write(results, f"video-{video.item.index:09d}", joined.seconds)
        files, root = _work_folder(self._out)
        with suppress(OSError):
            files.rm(f"{root}/{video.item.name}", recursive=True)
        return entries

    def _write(self, make_results: Any, part: str, seconds: float = 0.0) -> Entries:
        entries: Entries = []
        with output_folder(self._out) as folder:
            writers = self._job.open_writers(out_dir=folder, part=part)
            journal = Journal(folder, writers.outputs, entries.append, seconds)
            with writers:
                for frame, output in make_results(writers.wants_visualization):
                    writers.write(frame, output)
                    journal.note(frame, output)
            journal.finish()
        return entries

    def _segment(self, segment: Segment) -> SegmentResult:
        """The result that is kept, or else a new one."""
        files, root = _work_folder(self._out)
        # What is not there or was damaged, perhaps with a machine that died, is made again.
        with suppress(InputError, OSError):
            content = files.cat_file(f"{root}/{segment.file_name}")
            return SegmentResult.from_bytes(content, segment.item, self._pipe.estimator.schema)
        return self._find(segment)

    def _find(self, segment: Segment, may_seek: bool = True) -> SegmentResult:
        """A new result, which is kept; without seeking frames are counted from the beginning of the video."""
        result = find_in_segment(segment, self._pipe, self._job.finding, may_seek=may_seek)
        files, root = _work_folder(self._out)
        path = f"{root}/{segment.file_name}"
        files.makedirs(path.rpartition("/")[0], exist_ok=True)
        files.pipe_file(path, result.to_bytes())
        return result


def is_remote(out: str) -> bool:
    """Whether results go to something that fsspec writes, such as `s3://bucket/out`, and not to a folder."""
    return "://" in out


@contextmanager
def output_folder(out: str) -> Iterator[Path]:
    """A local folder; where `out` is remote, its files are copied there when the block ends well."""
    if not is_remote(out):
        folder = Path(out)
        with partials_apart(folder, folder / WORK_FOLDER):
            yield folder
        return
    files, root = fsspec.url_to_fs(out)
    with TemporaryDirectory(prefix="hfpose-") as name:
        folder = Path(name)
        yield folder
        copy_files(files, folder, root)


def copy_files(files: Any, folder: Path, root: str) -> None:
    """Copy the files of a local folder to a folder of a file system of fsspec."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = f"{root}/{path.relative_to(folder).as_posix()}"
            files.makedirs(target.rpartition("/")[0], exist_ok=True)
            files.put_file(str(path), target)


def _work_folder(out: str) -> tuple[Any, str]:
    """File system and folder of the segments' results."""
    files, root = fsspec.url_to_fs(out)
    return files, f"{root}/{WORK_FOLDER}/{SEGMENTS}"
