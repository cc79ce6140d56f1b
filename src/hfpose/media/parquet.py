"""Predictions as Parquet, for runs whose results are read by databases and data frames."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.errors import InputError
from hfpose.media.files import atomic_path, partial_path
from hfpose.media.frames import Frame, MediaItem
from hfpose.results import PoseOutput

_OF_AN_INSTANCE = (
    "track_id", "interpolated", "bbox", "bbox_score", "keypoints", "keypoint_scores", "keypoints_2d",
)  # fmt: skip
_GROUP_ROWS = 10_000  # rows that are compressed together, and that wait in memory
_PART_ROWS = 100_000  # rows after which a file ends, about 50 MB for people with 17 keypoints ...
_PART_SECONDS = 600.0  # ... or so much time, which is what a process that dies takes with it


class ParquetWriter:
    """A folder of Parquet files with a row for each instance; all files of it are one table.

    Columns: `name` (base name of the input), `source`, `frame_id` (null for images), `timestamp` (seconds in the
    video), `width`, `height`, `instance` (number in the frame), `track_id`, `interpolated` (not seen in this frame but
    in frames around it), `bbox`, `bbox_score`, `keypoints` (x, y or x, y, z of all keypoints, one after the other),
    `keypoint_scores`, `keypoints_2d`. An image or frame without people has one row, with null from `instance` on. The
    files' metadata hold the keypoint schema as JSON under `hfpose.schema`.

    What is written of an input, such as one whose file has changed, takes the place of its rows of earlier runs.

    A file takes its name when it ends, which it does every few minutes between two inputs; what a run that broke off
    had in its last file is done again by a run with `resume`.

    Args:
        folder: where the files go.
        resume: whether files of earlier runs count; else they are deleted.
        part: name of the one file that is written, over that of an earlier try; other files are not looked at.

    Raises:
        InputError: if pyarrow is not installed.
    """

    def __init__(self, folder: str | Path, *, resume: bool = False, part: str | None = None) -> None:
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise InputError("The format parquet needs pyarrow: pip install 'hfpose[parquet]'") from error

        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._only = part
        self._parts = sorted(self._folder.glob("part-*.parquet")) if part is None else []
        self._complete: set[str] = set()
        self._replaced: set[str] = set()
        self._number = 0
        for path in self._parts:
            if resume:
                self._complete.update(pyarrow.parquet.read_table(path, columns=["name"])["name"].unique().to_pylist())
                with suppress(ValueError, IndexError):
                    self._number = max(self._number, int(path.stem.split("-")[1]) + 1)
            else:
                path.unlink()
        self._token = secrets.token_hex(3)  # apart from those of other runs
        self._rows: list[dict[str, Any]] = []
        self._last: MediaItem | None = None
        self._path: Path | None = None
        self._writer: Any = None
        self._num_rows = 0
        self._began = 0.0

    def is_complete(self, item: MediaItem) -> bool:
        return item.name in self._complete

    def outputs(self, item: MediaItem) -> list[Path]:
        return [self._folder]

    def write(self, frame: Frame, output: PoseOutput) -> None:
        if self._last is not None and self._last.index != frame.item.index:
            rows = self._num_rows + len(self._rows)
            is_due = rows >= _PART_ROWS or (rows and time.monotonic() - self._began > _PART_SECONDS)
            if self._only is None and is_due:
                self._finish_part()
        self._last = frame.item
        if frame.name in self._complete:
            self._replaced.add(frame.name)
        if output.error is not None and frame.frame_index is None:
            return
        if self._writer is None:
            self._open(output)
        self._rows += _rows(frame, output)
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        self._finish_part()

    def abandon(self) -> None:
        if self._last is not None and self._last.is_live:  # it ends no other way than by breaking off
            self._finish_part()
        elif self._writer is not None:
            self._writer.close()
            assert self._path is not None
            partial_path(self._path).unlink(missing_ok=True)

    def _open(self, output: PoseOutput) -> None:
        import pyarrow.parquet

        about = {} if output.schema is None else {"hfpose.schema": json.dumps(output.schema.to_dict())}
        self._path = self._folder / f"part-{self._only or f'{self._number:06d}-{self._token}'}.parquet"
        self._number += 1
        self._writer = pyarrow.parquet.ParquetWriter(
            partial_path(self._path), _columns().with_metadata(about), compression="zstd"
        )
        self._num_rows, self._began = 0, time.monotonic()

    def _flush(self) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._num_rows += len(self._rows)
        self._rows = []

    def _finish_part(self) -> None:
        if self._writer is not None:
            self._flush()
            self._writer.close()
            assert self._path is not None
            partial_path(self._path).replace(self._path)
            self._writer = None
        if self._replaced:
            self._drop_replaced()

    def _drop_replaced(self) -> None:
        import pyarrow.compute
        import pyarrow.parquet

        is_kept = ~pyarrow.compute.field("name").isin([*self._replaced])
        for path in filter(Path.exists, self._parts):
            table = pyarrow.parquet.read_table(path)
            kept = table.filter(is_kept)
            if len(kept) == 0:
                path.unlink()
            elif len(kept) < len(table):
                with atomic_path(path) as partial:
                    pyarrow.parquet.write_table(kept, partial, compression="zstd")
        self._complete -= self._replaced
        self._replaced.clear()


def _columns() -> Any:
    import pyarrow

    numbers = pyarrow.list_(pyarrow.float32())
    return pyarrow.schema(
        {
            "name": pyarrow.string(),
            "source": pyarrow.string(),
            "frame_id": pyarrow.int64(),
            "timestamp": pyarrow.float64(),
            "width": pyarrow.int32(),
            "height": pyarrow.int32(),
            "instance": pyarrow.int32(),
            "track_id": pyarrow.int64(),
            "interpolated": pyarrow.bool_(),
            "bbox": numbers,
            "bbox_score": pyarrow.float32(),
            "keypoints": numbers,
            "keypoint_scores": numbers,
            "keypoints_2d": numbers,
        }
    )


def _rows(frame: Frame, output: PoseOutput) -> list[dict[str, Any]]:
    """The rows of a frame; columns that are not there are null."""
    width, height = output.image_size or (None, None)
    about: dict[str, Any] = {
        "name": frame.name,
        "source": frame.source,
        "frame_id": frame.frame_index,
        "timestamp": frame.timestamp,
        "width": width,
        "height": height,
    }
    rows = []
    for number, instance in enumerate(output):
        given = {name: instance[name] for name in _OF_AN_INSTANCE if name in instance}
        flat = {name: np.ravel(value) if np.ndim(value) else value for name, value in given.items()}
        rows.append({**about, "instance": number, **flat})
    return rows or [about]
