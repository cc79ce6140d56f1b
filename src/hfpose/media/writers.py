"""Writing results: predictions as JSON, drawn images and videos, and several of these at once.

Every file appears under its name when it is complete. Until then it has the hidden name of `files.partial_path`, which
a later run over the same inputs writes over, so a killed run leaves nothing half-written for a reader to trip over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.animations import is_read_here
from hfpose.media.files import OutputLock, make_folder
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.images import SAVE_SUFFIXES, save_image
from hfpose.media.json_results import JsonWriter, MMPoseWriter
from hfpose.media.motions import MOTION_FORMATS, MotionOptions
from hfpose.media.parquet import ParquetWriter
from hfpose.media.per_video import InputWriter
from hfpose.media.prediction_formats import CocoWriter, CsvWriter, OpenPoseWriter
from hfpose.media.sources import Source
from hfpose.media.tracks import TrackWriter
from hfpose.media.video_writing import VIDEO_SAVE_SUFFIXES, VideoFile
from hfpose.results import PoseOutput


class Writer(Protocol):
    """Takes the results of a run in the order of its frames."""

    def is_complete(self, item: MediaItem) -> bool:
        """Whether an earlier run has written everything for this item."""

    def outputs(self, item: MediaItem) -> list[Path]:
        """Files with the results of this item, which is done."""

    def write(self, frame: Frame, output: PoseOutput) -> None:
        """Add the result of one frame. Of an output with an error nothing is written."""

    def close(self) -> None:
        """Finish what is open: the run is over."""

    def abandon(self) -> None:
        """Stop without finishing: the run broke off. Recordings of live sources, which end no other way, are
        finished."""


class VisualizationWriter(InputWriter[VideoFile]):
    """The drawn images: `name.jpg` for each image, `name.mp4` with the times and the sound of its source for each
    video.

    Outputs without a `visualization` are passed over.

    Args:
        target: a folder, or for a single image or video the file itself, recognized by its ending.
        keep_endings: whether files have the endings of their inputs (`name.png` for `name.png`) where they can be
            written so.
    """

    def __init__(self, target: str | Path, keep_endings: bool = False) -> None:
        super().__init__(target)
        self._target = Path(target)
        self._keep_endings = keep_endings
        self._is_file = is_file_target(self._target)
        self._only: MediaItem | None = None

    @property
    def folder(self) -> Path:
        """Where the files appear."""
        return self._target.parent if self._is_file else self._target

    def write(self, frame: Frame, output: PoseOutput) -> None:
        self._videos.enter(frame.item)
        image = output.visualization
        if image is None:
            return
        self._check_target(frame.item)
        if frame.frame_index is None:
            save_image(self._path(frame.item), image)
            return
        self._videos.file(frame.item, lambda: self._video_file(image, frame)).write(image, frame.timestamp)

    def _video_file(self, image: np.ndarray, frame: Frame) -> VideoFile:
        return VideoFile(
            self._path(frame.item),
            (image.shape[1], image.shape[0]),
            fps=frame.fps,
            time_base=frame.video.time_base if frame.video else None,
            sound_of=frame.source if frame.item.kind == "video" and not is_read_here(frame.source or "") else None,
        )

    def check_inputs(self, source: Source) -> None:
        """Raise InputError if a drawn image would be written over one of the files of `source`."""
        subfolders, inputs = source.file_places()
        for subfolder in [Path()] if self._is_file else subfolders:
            place = (self._target if self._is_file else self._target / subfolder).resolve()
            if place in inputs:
                raise InputError(
                    f"Drawn images would be written over inputs: {str(place)!r} is an input or holds inputs. Give "
                    "another folder."
                )

    def _path(self, item: MediaItem) -> Path:
        suffix, endings = (".jpg", SAVE_SUFFIXES) if item.kind == "image" else (".mp4", VIDEO_SAVE_SUFFIXES)
        own = Path(item.source or "").suffix
        if self._keep_endings and own.lower() in endings:
            suffix = own
        return self._target if self._is_file else self._target / f"{item.name}{suffix}"

    def _check_target(self, item: MediaItem) -> None:
        if not self._is_file:
            return
        if self._only is not None and self._only.index != item.index:
            raise InputError(
                f"Several images or videos cannot all be drawn into the one file {str(self._target)!r}: give a folder."
            )
        self._only = item
        kind, endings = ("image", SAVE_SUFFIXES) if item.kind == "image" else ("video", VIDEO_SAVE_SUFFIXES)
        if self._target.suffix.lower() not in endings:
            raise InputError(
                f"Cannot draw a {kind} into {str(self._target)!r}: its ending must be {', '.join(endings)}."
            )


_FORMATS = ("json", "mmpose", "coco", "openpose", "csv", "parquet", *MOTION_FORMATS)


def open_writers(
    *,
    out_dir: str | Path | None = None,
    pred_out_dir: str | Path | None = None,
    vis_out_dir: str | Path | None = None,
    formats: Sequence[str] = ("json",),
    resume: bool = False,
    source: Source | None = None,
    canvas_size: tuple[int, int] | None = None,
    part: str | None = None,
    motion: MotionOptions | None = None,
    keep_endings: bool = False,
) -> WriterGroup:
    """The writers of one run.

    Args:
        out_dir: folder for everything; means `pred_out_dir=out_dir/predictions` and
            `vis_out_dir=out_dir/visualizations`, where these are not given.
        pred_out_dir: folder for predictions.
        vis_out_dir: folder for drawn images and videos; for a single input it may be a file (`out.jpg`, `out.mp4`).
        formats: of the predictions. `"json"`: `name.json`, which says what it holds; `"mmpose"`: the same as MMPose
            writes it; `"coco"`: `results.coco.json`; `"openpose"`:
            a folder `openpose`; `"csv"`: `results.csv`; `"parquet"`: a folder `results.parquet`, which needs pyarrow;
            `"angles"`, and for 3D results `"trc"`, `"c3d"`, `"mot"`, `"bvh"` and `"glb"`: a folder of that name with a
            file for each person of a video, see `TrackWriter`.
        resume: whether files of an earlier run count. Give `skip=writers.is_complete` to `open_source` then.
        source: the inputs, over which nothing may be written.
        canvas_size: of OpenPose's JSON, see `openpose_json`.
        part: name of the part of a run that is written, see `ParquetWriter`. Without one other runs are kept away from
            the folders.
        keep_endings: of drawn images and videos, see `VisualizationWriter`.

    Raises:
        InputError: if a format is unknown, two have files of the same names, a folder cannot be made, drawn images
            would be written over inputs, or another run writes into the folder.
    """
    _check_formats(formats, canvas_size)
    if out_dir is not None:
        pred_out_dir = pred_out_dir or Path(out_dir) / "predictions"
        vis_out_dir = vis_out_dir or Path(out_dir) / "visualizations"
    drawings = [VisualizationWriter(vis_out_dir, keep_endings)] if vis_out_dir else []
    if source is not None:
        for writer in drawings:
            writer.check_inputs(source)
    places = [Path(folder) for folder in (out_dir, pred_out_dir) if folder]
    folders = {make_folder(folder) for folder in (*places, *(writer.folder for writer in drawings))}
    outer = sorted(folder for folder in folders if not folders & set(folder.parents))
    writers: list[Writer] = []
    with ExitStack() as locks:  # which are released if a writer cannot be opened
        for folder in outer if part is None else ():
            locks.callback(OutputLock(folder).release)
        if pred_out_dir:
            folder = Path(pred_out_dir)
            opened: dict[str, Callable[[], Writer]] = {
                "json": lambda: JsonWriter(folder),
                "mmpose": lambda: MMPoseWriter(folder),
                "openpose": lambda: OpenPoseWriter(folder / "openpose", canvas_size),
                "coco": lambda: CocoWriter(folder / "results.coco.json", resume),
                "csv": lambda: CsvWriter(folder / "results.csv", resume),
                "parquet": lambda: ParquetWriter(folder / "results.parquet", resume=resume, part=part),
            }
            writers = [opened[kind]() for kind in opened if kind in formats]
            writers += [TrackWriter(folder / kind, kind, motion) for kind in MOTION_FORMATS if kind in formats]
        return WriterGroup([*writers, *drawings], locks.pop_all())


def _check_formats(formats: Sequence[str], canvas_size: tuple[int, int] | None) -> None:
    if unknown := sorted(set(formats) - set(_FORMATS)):
        raise InputError(f"Unknown format of predictions: {', '.join(unknown)}. Choose from {', '.join(_FORMATS)}.")
    if {"json", "mmpose"} <= set(formats):
        raise InputError("The formats json and mmpose both write NAME.json: choose one of them.")
    if canvas_size is not None and min(canvas_size) < 1:
        raise InputError(f"The canvas has {canvas_size[0]} x {canvas_size[1]} pixels; expected 1 or more each way.")


def is_file_target(target: Path) -> bool:
    """Whether a place for drawn images names one file, by its ending, and not a folder."""
    return not target.is_dir() and target.suffix.lower() in (*SAVE_SUFFIXES, *VIDEO_SAVE_SUFFIXES)


class WriterGroup(Writer):
    """Several writers as one, and a context manager: a block that ends well closes them, one that does not abandons
    them."""

    def __init__(self, writers: Sequence[Writer], locks: ExitStack | None = None) -> None:
        self.writers = tuple(writers)
        self._locks = locks or ExitStack()

    @property
    def wants_visualization(self) -> bool:
        """Whether drawn images are to be written, so that outputs need a `visualization`."""
        return any(isinstance(writer, VisualizationWriter) for writer in self.writers)

    def check(self, schema: KeypointSchema, is_3d: bool) -> None:
        """Raise InputError, before a run, if a format does not hold results of such keypoints."""
        for writer in self.writers:
            if isinstance(writer, TrackWriter):
                writer.check(schema, is_3d)

    def is_complete(self, item: MediaItem) -> bool:
        return bool(self.writers) and all(writer.is_complete(item) for writer in self.writers)

    def outputs(self, item: MediaItem) -> list[Path]:
        return [path for writer in self.writers for path in writer.outputs(item)]

    def write(self, frame: Frame, output: PoseOutput) -> None:
        for writer in self.writers:
            writer.write(frame, output)

    def close(self) -> None:
        self._end(writer.close for writer in self.writers)

    def abandon(self) -> None:
        self._end(writer.abandon for writer in self.writers)

    def _end(self, steps: Iterable[Callable[[], None]]) -> None:
        """Take all steps, though one fails, and let other runs write into the folders."""
        with self._locks as stack:
            for step in reversed([*steps]):
                stack.callback(step)

    def __enter__(self) -> WriterGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
