"""A run on the workers of a Ray cluster.

Ray places the workers, moves what is asked of them and tells of those that die. What is done here: the inputs are cut
into parts, each worker has one part at a time, and what a dead worker had is done by another.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hfpose.distributed.job import PredictJob
from hfpose.distributed.segments import LongVideo, Segment
from hfpose.distributed.worker import Chunk, Entries, Worker
from hfpose.errors import HFPoseError, InputError
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.images import is_url
from hfpose.media.manifest import Journal
from hfpose.media.sources import Source
from hfpose.media.video import count_frames
from hfpose.results import PoseOutput

_CHUNK = 64  # images
_PARQUET_CHUNK = 512  # each chunk is a file
_VIDEOS_PER_WORKER = 4  # with so many videos for each worker and more, whole ones keep all of them busy
_ATTEMPTS = 2  # of what kills its worker; then each of its inputs by itself has as many
_STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Cluster:
    """What of a Ray cluster a run takes.

    Args:
        address: of a cluster (`auto`, `HOST:PORT`, `ray://HOST:PORT`), or `local` to start one on this machine.
        num_workers: how many; None for as many as there are GPUs, or without these CPUs.
        cpus_per_worker: CPUs of each worker, and threads of its torch.
        gpus_per_worker: may be a part of one; None for 1 where there are GPUs.
    """

    address: str = "local"
    num_workers: int | None = None
    cpus_per_worker: int = 1
    gpus_per_worker: float | None = None

    def connect(self) -> Cluster:
        """Start or join the cluster; the same with numbers instead of None.

        Raises:
            InputError: if Ray is not installed or there is no such cluster.
        """
        try:
            import ray
        except ImportError as error:
            raise InputError("Runs on many workers need Ray: pip install 'hfpose[ray]'") from error
        if not ray.is_initialized():
            try:
                ray.init(address=self.address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError) as error:
                raise InputError(f"There is no Ray cluster at {self.address!r}: {error}") from error
        resources = ray.cluster_resources()
        gpus = self.gpus_per_worker
        if gpus is None:
            gpus = 1.0 if resources.get("GPU") else 0.0
        fitting = resources["GPU"] / gpus if gpus else resources["CPU"] / self.cpus_per_worker
        return replace(self, gpus_per_worker=gpus, num_workers=self.num_workers or max(1, int(fitting)))


@dataclass(eq=False)
class Task:
    """A part of the run: a method of `Worker` and its argument."""

    method: str
    argument: Chunk | Segment | LongVideo
    attempts: int = 0

    @property
    def items(self) -> tuple[MediaItem, ...]:
        """The inputs of the task."""
        return self.argument.items if isinstance(self.argument, Chunk) else (self.argument.item,)


@dataclass
class _Pool:
    """Workers that are replaced when they die."""

    make_worker: Callable[[], Any]
    num_workers: int
    idle: deque[Any] = field(default_factory=deque)
    busy: dict[Any, tuple[Any, Task | None]] = field(default_factory=dict)  # by reference to the result
    can_split: bool | None = None
    failed_starts: int = 0

    def grow(self) -> None:
        """Ask for as many workers as are wanted; each is idle when it has loaded its models."""
        while len(self.idle) + len(self.busy) < self.num_workers:
            worker = self.make_worker()
            self.busy[worker.start.remote()] = (worker, None)

    def stop(self) -> None:
        """End all workers, and wait for the busy ones, which could otherwise write during the next run."""
        import ray

        for worker in (*self.idle, *(worker for worker, _ in self.busy.values())):
            ray.kill(worker)
        if self.busy:
            ray.wait(list(self.busy), num_returns=len(self.busy), timeout=_STOP_SECONDS)

    def submit(self, task: Task) -> None:
        worker = self.idle.popleft()
        self.busy[getattr(worker, task.method).remote(task.argument)] = (worker, task)

    def wait(self) -> tuple[Task | None, Any]:
        """What is done next, and its result: an error of Ray if its worker has died.

        Raises:
            Exception: what the worker raised.
        """
        import ray

        (done,), _ = ray.wait(list(self.busy), num_returns=1)
        worker, task = self.busy.pop(done)
        try:
            result = ray.get(done)
        except ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, HFPoseError) else error from None
        except ray.exceptions.RayError as error:
            self.failed_starts += task is None
            if self.failed_starts > _ATTEMPTS * self.num_workers:
                raise HFPoseError(f"Workers die while they load their models: {error}") from error
            self.grow()
            return task, error
        self.idle.append(worker)
        if task is None:
            self.can_split = result
        return task, result


def predict_on_ray(
    job: PredictJob,
    source: Source,
    out: str,
    cluster: Cluster,
    *,
    segment_frames: int = 600,
    images_together: bool = False,
) -> Generator[dict[str, Any], None, None]:
    """Do a job on the workers of a cluster.

    Args:
        source: the inputs; those that it skips are left out.
        out: folder, seen by all workers, or URL that results go to.
        cluster: as `Cluster.connect` returned it.
        segment_frames: how many frames of a long video a worker does at a time.
        images_together: whether images in a row are the work of one worker, since each result depends on the last.

    Yields:
        For each input that is done its line of the manifest.

    Raises:
        InputError: if a format cannot be written in parts.
    """
    import ray

    if alone := {"csv", "coco"} & set(job.formats):
        raise InputError(
            f"{' and '.join(sorted(alone))} put all results into one file, which several workers cannot write at "
            "once. Choose the formats json, openpose or parquet, and make one file of these afterwards."
        )
    assert cluster.num_workers is not None
    actor = ray.remote(Worker).options(num_cpus=cluster.cpus_per_worker, num_gpus=cluster.gpus_per_worker)
    device = "cuda" if cluster.gpus_per_worker and job.models.get("device") is None else None
    pool = _Pool(lambda: actor.remote(job, out, cluster.cpus_per_worker, device), cluster.num_workers)
    try:
        yield from _do_all(job, source, pool, segment_frames, images_together)
    finally:
        pool.stop()


def _do_all(
    job: PredictJob, source: Source, pool: _Pool, segment_frames: int, images_together: bool
) -> Iterator[dict[str, Any]]:
    pool.grow()
    while pool.can_split is None:
        pool.wait()
    videos = source.count_items("video") or 0
    splits = pool.can_split and videos < _VIDEOS_PER_WORKER * pool.num_workers
    batch_size = job.finding.get("batch_size", 1)
    chunk_size = _round_up(_PARQUET_CHUNK if "parquet" in job.formats else _CHUNK, batch_size)
    plan = Plan(
        source, None if images_together else chunk_size, _round_up(segment_frames, batch_size) if splits else None
    )
    while True:
        while pool.idle and (task := plan.next()):
            pool.submit(task)
        is_over = all(task is None for _, task in pool.busy.values()) and not plan.has_more
        yield from plan.take_failures()
        if is_over:
            return
        done, result = pool.wait()
        if done is None:
            continue
        if isinstance(result, Exception):
            plan.retry(done)
        elif isinstance(done.argument, Segment):
            plan.note_segment(done.argument)
        else:
            yield from result


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


class Plan:
    """The tasks of a run, in the order of the inputs as far as nothing has to be done again.

    Args:
        chunk_size: images of a chunk; None for all that follow each other.
        segment_frames: frames of a segment; None does not split videos.
    """

    def __init__(self, source: Source, chunk_size: int | None, segment_frames: int | None) -> None:
        self._chunk_size = chunk_size
        self._segment_frames = segment_frames
        self._waiting: deque[Task] = deque()  # before new ones
        self._left: dict[int, tuple[LongVideo, set[int]]] = {}  # starts of segments that are not there, by video
        self._failures: list[tuple[MediaItem, str]] = []
        self._new = self._tasks(source)

    def next(self) -> Task | None:
        """The next task, or None."""
        return self._waiting.popleft() if self.has_more else None

    @property
    def has_more(self) -> bool:
        """Whether there are tasks that wait for a worker."""
        if not self._waiting and (task := next(self._new, None)):
            self._waiting.append(task)
        return bool(self._waiting)

    def retry(self, task: Task) -> None:
        """Do again what has killed its worker, in the end each input by itself, until it has done so too often."""
        task.attempts += 1
        if task.attempts < _ATTEMPTS:
            self._waiting.appendleft(task)
        elif isinstance(task.argument, Chunk) and len(task.items) > 1:
            alone = (Chunk((item,), f"{task.argument.part}-{item.index}") for item in task.items)
            self._waiting.extendleft(Task("predict", chunk) for chunk in alone)
        else:
            (item,) = task.items
            self._failures.append((item, f"{_ATTEMPTS} workers have died of it. Is there memory enough?"))
            self._left.pop(item.index, None)

    def note_segment(self, segment: Segment) -> None:
        """When the last segment of a video is there, it is joined."""
        if segment.item.index not in self._left:
            return  # another segment has failed
        video, left = self._left[segment.item.index]
        left.discard(segment.start)
        if not left:
            del self._left[segment.item.index]
            self._waiting.append(Task("join", video))

    def take_failures(self) -> Iterator[dict[str, Any]]:
        """Lines of inputs that cannot be done."""
        for item, reason in self._failures:
            entries: Entries = []
            journal = Journal(Path(), lambda item: (), entries.append)
            journal.note(Frame(item, error=reason), PoseOutput.failed(reason))
            journal.finish()
            yield from entries
        self._failures.clear()

    def _tasks(self, source: Source) -> Iterator[Task]:
        images: list[MediaItem] = []
        for item, error in source.items():
            # Borders do not depend on what is skipped: what a run that broke off has written of a chunk is written
            # over.
            size = self._chunk_size
            is_next = bool(images and size and images[0].index // size != item.index // size)
            if images and (item.kind != "image" or is_next):
                yield _chunk(images)
                images = []
            if item.is_live:
                error = "A webcam or stream is no input for many workers; predict without --ray."
            if error is not None:
                self._failures.append((item, error))
            elif item.kind == "image":
                images.append(item)
            else:
                yield from self._video_tasks(item)
        if images:
            yield _chunk(images)

    def _video_tasks(self, item: MediaItem) -> Iterator[Task]:
        video = self._long_video(item)
        if video is None:
            yield _chunk([item])
            return
        segments = video.segments
        self._left[item.index] = video, {segment.start for segment in segments}
        for segment in segments:
            if item.index in self._left:  # else one has failed
                yield Task("find", segment)

    def _long_video(self, item: MediaItem) -> LongVideo | None:
        """A video that has several segments; None for others, and for those whose length is not known."""
        if self._segment_frames is None or item.source is None or is_url(item.source):
            return None
        try:
            num_frames = count_frames(item.source, timeout=0) or 0
        except InputError:
            return None  # the worker that reads it reports that
        video = LongVideo(item, num_frames, self._segment_frames)
        return video if len(video.segments) > 1 else None


def _chunk(items: list[MediaItem]) -> Task:
    names = hashlib.sha256("\0".join(item.name for item in items).encode(errors="surrogateescape")).hexdigest()
    return Task("predict", Chunk(tuple(items), f"{items[0].index:09d}-{names[:8]}"))
