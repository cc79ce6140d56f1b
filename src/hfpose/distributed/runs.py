"""A run over many inputs: what is skipped, what is noted, and with several processes who does what.

Each process lists all inputs in the same order. They are handed out in chunks, by a counter that every process asks for its
next one when it has read its last: who is slow asks less often. Of long videos the segments are handed out in the same
way afterwards (see `segments`), and last of all the joining of each video.
"""

from __future__ import annotations

import copy
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from hfpose.distributed.environment import is_distributed, was_restarted
from hfpose.distributed.progress import FrameProgress
from hfpose.distributed.segments import (
    LongVideo,
    Segment,
    SegmentResult,
    StoredPoses,
    find_in_segment,
    join_segments,
    segment_folder,
)
from hfpose.errors import HFPoseError, InputError
from hfpose.media.files import make_folder
from hfpose.media.formats import CocoWriter, CsvWriter
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.images import is_url
from hfpose.media.manifest import (
    MANIFEST,
    WORK_FOLDER,
    Journal,
    is_unchanged,
    last_change,
    merge_journals,
    read_manifest,
)
from hfpose.media.sources import Source
from hfpose.media.video import open_video, stated_frames, video_stream
from hfpose.media.writers import WriterGroup
from hfpose.results import PoseOutput

Results = Iterator[tuple[Frame, PoseOutput]]
MakeResults = Callable[[Any, Source], Results]
"""From a pipeline and a source to the frames with their results, drawn where that is wanted."""

_CHUNK = 16  # images
_VIDEOS_PER_PROCESS = 4  # with so many videos for each process and more, whole ones keep all of them busy


class Run:
    """A run in one process, as a context manager.

    Args:
        folder: where results go and the manifest is kept; None keeps none.
        resume: whether what an earlier run has done is skipped.
    """

    def __init__(self, folder: Path | None, resume: bool) -> None:
        self.folder = folder
        self.resume = resume
        self.failures = 0
        self.skipped = 0  # inputs that are complete
        self._journal: Journal | None = None
        self._writers: WriterGroup | None = None
        self._earlier: dict[str, dict[str, Any]] = {}  # what the manifest says, by name of the input
        self._prepare()

    @property
    def shows_progress(self) -> bool:
        """Whether the run shows a progress bar of its own."""
        return False

    @property
    def rank(self) -> int:
        """Number of this process."""
        return 0

    @property
    def label(self) -> str:
        """Begins lines that this process prints, so that they can be told from those of others."""
        return ""

    def device(self, wanted: str | None) -> str | None:
        """The device for the models of this process, None for the default."""
        return wanted

    def begin(self, writers: WriterGroup) -> None:
        """Take down from now on what is done.

        Raises:
            InputError: if the writers cannot be used in such a run.
        """
        self._writers = writers
        if self.folder is not None:
            self._earlier = {entry["name"]: entry for entry in read_manifest(self.folder / MANIFEST)}
            self._journal = Journal(self.folder, self.rank, writers.outputs)

    def skip(self, item: MediaItem) -> bool:
        """Whether an input is left out; a source asks for each of its items, in their order."""
        if not self.resume or self._writers is None or not self._writers.is_complete(item):
            return False
        if not self._is_of_this_file(item):
            return False
        if self._journal is not None:
            self._journal.keep(item)
        self.skipped += 1
        return True

    def _is_of_this_file(self, item: MediaItem) -> bool:
        """Whether the files of an earlier run are of this input as it is now; without a manifest judged by their times."""
        if self.folder is not None:
            return is_unchanged(self._earlier.get(item.name), item)
        assert self._writers is not None
        changed = last_change(item)
        return changed is None or all(path.stat().st_mtime_ns >= changed for path in self._writers.outputs(item))

    def stream(
        self,
        pipe: Any,
        source: Source,
        make: MakeResults,
        finding: Mapping[str, Any],
        *,
        draws: bool,
        may_split: bool = True,
    ) -> Results:
        """The frames with their results that this process is to write.

        Args:
            pipe: the pipeline.
            source: the inputs, opened with `skip=run.skip`.
            make: makes the results.
            finding: options of the 2D pipeline's `stream`, for results that are made in parts.
            draws: whether `make` draws, and needs the images.
            may_split: whether videos may be split. Heatmaps are not kept of their segments.
        """
        if self._journal is not None:
            self._journal.restart_clock()
        return make(pipe, source)

    def note(self, frame: Frame, output: PoseOutput) -> None:
        """Take down the result of a frame, after it has been given to the writers."""
        self.failures += output.error is not None
        if self._journal is not None:
            self._journal.note(frame, output)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run, after the writers have been closed."""
        if self._journal is not None:
            self._journal.close() if kind is None else self._journal.abandon()
        if self.folder is not None:
            if kind is None:
                shutil.rmtree(self.folder / WORK_FOLDER / "segments", ignore_errors=True)
            merge_journals(self.folder)

    def _prepare(self) -> None:
        """Take over or remove what an earlier run has left."""
        if self.folder is None:
            return
        make_folder(self.folder)
        if self.resume:
            merge_journals(self.folder)
        else:
            shutil.rmtree(self.folder / WORK_FOLDER, ignore_errors=True)
            merge_journals(self.folder, keep_earlier=False)


class SharedRun(Run):
    """One process of several in a run.

    Args:
        folder: where results go; all processes must see it.
        resume: as for `Run`.
        device: where models are to run, None for the default: the accelerator with this process's number, or the CPU.
        batch_size: images that go through the networks at once; chunks are made of whole batches.
        segment_frames: how many frames of a long video a process does at a time.
        images_together: whether images in a row are the work of one process, since each result depends on the last.
        show_progress: whether to show a progress bar even where stderr is no terminal.

    Raises:
        InputError: if there is no folder.
    """

    def __init__(
        self,
        folder: Path | None,
        resume: bool,
        *,
        device: str | None = None,
        batch_size: int = 1,
        segment_frames: int = 600,
        images_together: bool = False,
        show_progress: bool = False,
    ) -> None:
        from hfpose.distributed.ranks import Ranks

        if folder is None:
            raise InputError("Several processes need --out-dir: a folder where they can note what is done.")
        self._ranks = Ranks(use_cpu=device == "cpu")
        self._chunk_size = sys.maxsize if images_together else -(-_CHUNK // batch_size) * batch_size
        self._segment_frames = -(-segment_frames // batch_size) * batch_size
        self._show_progress = show_progress
        self._splits = False
        self._chunk, self._claimed = -1, -1
        self._in_chunk = 0
        self._bar: FrameProgress | None = None
        self._videos: list[LongVideo] = []  # those of this process's share that are to be split
        self._lost: set[int] = set()
        self._joining: LongVideo | None = None
        self._joined: list[LongVideo] = []
        super().__init__(folder, resume or was_restarted())

    @property
    def shows_progress(self) -> bool:
        return True

    def device(self, wanted: str | None) -> str | None:
        return str(self._ranks.device) if wanted in (None, self._ranks.device.type) else wanted

    def begin(self, writers: WriterGroup) -> None:
        if any(isinstance(writer, (CocoWriter, CsvWriter)) for writer in writers.writers):
            raise InputError(
                "csv and coco put all results into one file, which several processes cannot write at once. Choose the "
                "formats json, openpose or parquet, and make one file of these afterwards."
            )
        super().begin(writers)
        if self._ranks.rank == 0:
            self._ranks.tell("prepared")

    def skip(self, item: MediaItem) -> bool:
        if not self._is_mine(item):
            return True
        if super().skip(item):
            self._ranks.count("frames", int(item.kind == "image"))
            return True
        return self._splits and self._is_to_be_split(item)

    def stream(
        self,
        pipe: Any,
        source: Source,
        make: MakeResults,
        finding: Mapping[str, Any],
        *,
        draws: bool,
        may_split: bool = True,
    ) -> Results:
        from hfpose.pipelines import PoseEstimation3DPipeline, PoseEstimationPipeline

        # The pipeline for hands makes of 2D results more than segments hold.
        may_split = may_split and type(pipe) in (PoseEstimationPipeline, PoseEstimation3DPipeline)
        videos = source.count_items("video") or 0
        self._splits = may_split and 0 < videos < _VIDEOS_PER_PROCESS * self._ranks.size
        if self._ranks.rank == 0:
            few = videos <= _VIDEOS_PER_PROCESS * self._ranks.size
            self._bar = FrameProgress(self._ranks, source if few else None, self._show_progress)
        yield from super().stream(pipe, source, make, finding, draws=draws)
        if self._splits:
            yield from self._split_videos(pipe, make, finding, draws)

    def note(self, frame: Frame, output: PoseOutput) -> None:
        super().note(frame, output)
        if self._joining is None:  # else its frames have been counted
            self._ranks.count("frames", 1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                if self._journal is not None:
                    self._journal.abandon()
                self._ranks.leave(finished=False)
            else:
                self._finish()
        finally:
            if self._bar is not None:
                self._bar.close()
            self._ranks.disconnect()

    def _finish(self) -> None:
        assert self._journal is not None and self.folder is not None
        self._journal.close()
        for video in self._joined:
            shutil.rmtree(segment_folder(self._work_folder, video.item), ignore_errors=True)
        self.failures = self._ranks.count("failures", self.failures)
        if self._ranks.rank > 0:
            self.failures = 0  # the launcher would stop the others for an exit code; the first process reports all
            self._ranks.leave(finished=True)
            return
        self._wait_for_all("done")
        self.failures = self._ranks.count("failures")
        with suppress(OSError):
            (self._work_folder / "segments").rmdir()
        merge_journals(self.folder)
        if self._lost:
            names = ", ".join(map(str, sorted(self._lost)))
            raise HFPoseError(
                f"Of {self._ranks.size} processes these stopped early: {names}. What they had not finished is missing; run "
                "the same command again with --resume."
            )

    @property
    def rank(self) -> int:
        return self._ranks.rank

    @property
    def label(self) -> str:
        return f"process {self.rank}: "

    @property
    def _work_folder(self) -> Path:
        assert self.folder is not None
        return self.folder / WORK_FOLDER

    def _prepare(self) -> None:
        if self._ranks.rank == 0:
            super()._prepare()  # and so do its writers, before it says that it is prepared
        else:
            self._ranks.wait_for("prepared", rank=0)

    def _is_mine(self, item: MediaItem) -> bool:
        """Whether this process has the chunk that an input is in. Called for all inputs in their order."""
        if item.kind != "image" or not 0 < self._in_chunk < self._chunk_size:
            self._chunk += 1
            self._in_chunk = 0
        self._in_chunk = self._in_chunk + 1 if item.kind == "image" else 0
        while self._claimed < self._chunk:
            self._claimed = self._ranks.claim("chunks")
        return self._claimed == self._chunk

    def _is_to_be_split(self, item: MediaItem) -> bool:
        """Whether a video is long enough for several processes; if so they are told."""
        if item.kind != "video" or item.source is None or is_url(item.source):
            return False
        try:
            with open_video(item.source, timeout=0) as container:
                num_frames = stated_frames(video_stream(container)) or 0
        except InputError:
            return False  # whoever reads it reports that
        video = LongVideo(item, num_frames, self._segment_frames)
        if len(video.segments) < 2:
            return False
        self._videos.append(video)
        return True

    def _split_videos(self, pipe: Any, make: MakeResults, finding: Mapping[str, Any], draws: bool) -> Results:
        """Do this process's share of the segments of long videos, then join some of the videos."""
        videos = self._agree_on_videos()
        segments = [segment for video in videos for segment in video.segments]
        worker = _SegmentWorker(self._work_folder, pipe, finding, lambda: self._ranks.count("frames", 1))
        while (number := self._ranks.claim("segments")) < len(segments):
            worker.do(segments[number])
        self._wait_for_all("segments done")
        if hasattr(pipe, "lifter") and len(videos) < self._ranks.size:
            for video in videos:
                self._lift(video, worker, pipe, make)
            self._wait_for_all("lifted")
        while (number := self._ranks.claim("joins")) < len(videos):
            yield from self._join(videos[number], worker, pipe, make, with_images=draws)

    def _agree_on_videos(self) -> list[LongVideo]:
        """The long videos of all processes. The first process says which, so that all have the same."""
        own = json.dumps([video.to_dict() for video in self._videos])
        if self._ranks.rank == 0:
            self._wait_for_all("listed", own)
            told = [self._ranks.hear(f"listed/{rank}") for rank in range(self._ranks.size) if rank not in self._lost]
            everybody = [fields for text in told for fields in json.loads(text)]
            self._ranks.tell("videos", json.dumps(sorted(everybody, key=lambda fields: fields["item"]["index"])))
        else:
            self._ranks.tell(f"listed/{self._ranks.rank}", own)
            self._ranks.wait_for("videos", rank=0)
        return [LongVideo.from_dict(fields) for fields in json.loads(self._ranks.hear("videos"))]

    def _wait_for_all(self, point: str, value: str = "") -> None:
        self._lost.update(self._ranks.wait_for_all(point, value))

    def _lift(self, video: LongVideo, worker: _SegmentWorker, pipe: Any, make: MakeResults) -> None:
        """Do this process's share of lifting a video."""
        taken = -1

        def is_mine(number: int) -> bool:
            nonlocal taken
            while taken < number:
                taken = self._ranks.claim(f"windows/{video.item.index}")
            return taken == number

        poses = StoredPoses(join_segments(video, worker.get, worker.redo), worker.get)
        # Before the first result is there, the whole video has been through the lifter. Results are not complete yet.
        next(make(self._stand_in(video, pipe, poses, is_mine), poses.source), None)

    def _stand_in(
        self, video: LongVideo, pipe: Any, poses: StoredPoses, is_mine: Callable[[int], bool] | None = None
    ) -> Any:
        """The pipeline with 2D results that are there; if it lifts, together with others."""
        stand_in = copy.copy(pipe)
        stand_in.find_poses = poses.find_poses
        if hasattr(pipe, "lifter"):
            from hfpose.distributed.lifting import SharedBatches

            batches = SharedBatches(pipe.lifter, segment_folder(self._work_folder, video.item), is_mine)
            stand_in.lifter = replace(pipe.lifter, runner=batches)
        return stand_in

    def _join(
        self, video: LongVideo, worker: _SegmentWorker, pipe: Any, make: MakeResults, with_images: bool
    ) -> Results:
        assert self._journal is not None
        joined = join_segments(video, worker.get, worker.redo)
        self._journal.restart_clock(joined.seconds)
        poses = StoredPoses(joined, worker.get, with_images)
        self._joining = video
        yield from make(self._stand_in(video, pipe, poses), poses.source)
        self._joining = None
        self._joined.append(video)


class _SegmentWorker:
    """Makes the results of segments and keeps them in files, for the process that joins them and for later runs."""

    def __init__(self, folder: Path, pipe: Any, options: Mapping[str, Any], on_frame: Callable[[], object]) -> None:
        self.pipe = pipe
        self._folder = folder
        self._options = options
        self._on_frame = on_frame

    def do(self, segment: Segment) -> None:
        """Make and keep a result, unless it is there."""
        self.get(segment)

    def get(self, segment: Segment) -> SegmentResult:
        """The result that is kept, or else a new one."""
        path = segment.path(self._folder)
        # What is not there or was damaged, perhaps with the disk of a machine that died, is made anew.
        with suppress(InputError):
            return SegmentResult.load(path, segment.item, self.pipe.estimator.schema)
        result = find_in_segment(segment, self.pipe, self._options, on_frame=self._on_frame)
        result.save(path)
        return result

    def redo(self, segment: Segment) -> SegmentResult:
        """A new result from frames that are counted from the beginning of the video."""
        result = find_in_segment(segment, self.pipe, self._options, may_seek=False)
        result.save(segment.path(self._folder))
        return result


def open_run(
    folder: Path | None,
    resume: bool,
    *,
    device: str | None = None,
    batch_size: int = 1,
    segment_frames: int = 600,
    images_together: bool = False,
    show_progress: bool = False,
) -> Run:
    """The run that this process is part of, see `SharedRun`, or a run of its own.

    Raises:
        InputError: if there are several processes and no folder.
    """
    if not is_distributed():
        return Run(folder, resume)
    return SharedRun(
        folder,
        resume,
        device=device,
        batch_size=batch_size,
        segment_frames=segment_frames,
        images_together=images_together,
        show_progress=show_progress,
    )
