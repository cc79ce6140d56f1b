"""Predictions in the formats of other programs: COCO results, CSV, OpenPose. docs/formats.md has every field."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.media.files import FolderOfFiles, PartialFile, partial_path, write_text
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.json_lists import JsonListFile
from hfpose.media.openpose_json import openpose_json, points_2d
from hfpose.media.per_video import InputWriter, end_early
from hfpose.results import PoseOutput


class _TableWriter:
    """One file with the rows of all items of a run.

    With `resume`, rows of an earlier run are kept, whether it finished or not; of one that did not, the last item is
    taken for incomplete. Items without any row cannot be told from items that were never seen and are done again.
    What is written of an item, such as one whose file has changed, takes the place of its earlier rows.

    A subclass names the class of the file, and where a row has the name of its item.
    """

    _file: type[Any]
    _name: Any

    def __init__(self, path: str | Path, resume: bool = False) -> None:
        self._path = Path(path)
        rows = self._earlier_rows() if resume else []
        self._num_earlier = len(rows)
        self._complete = {row[self._name] for row in rows}
        self._replaced: set[str] = set()
        self._table = self._file(self._path)
        self._table.append(rows)
        self._last: MediaItem | None = None

    def is_complete(self, item: MediaItem) -> bool:
        return item.name in self._complete

    def outputs(self, item: MediaItem) -> list[Path]:
        return [self._path]

    def write(self, frame: Frame, output: PoseOutput) -> None:
        self._last = frame.item
        if frame.name in self._complete:
            self._replaced.add(frame.name)
        self._table.append(self._rows(frame, output))

    def close(self) -> None:
        if self._replaced:
            self._drop_replaced()
        self._table.finish()

    def abandon(self) -> None:
        end_early(self._last, self._table)

    def _drop_replaced(self) -> None:
        unfinished = partial_path(self._path)
        rows = self._file.read(unfinished)
        earlier = [row for row in rows[: self._num_earlier] if row[self._name] not in self._replaced]
        self._table.abandon()
        shorter = self._file(unfinished)
        shorter.append([*earlier, *rows[self._num_earlier :]])
        shorter.finish()

    def _earlier_rows(self) -> list[Any]:
        unfinished = partial_path(self._path)
        if unfinished.is_file():
            rows = self._file.read(unfinished)
            # Of an item that was done again the latest rows count.
            blocks = {name: [*block] for name, block in groupby(rows, itemgetter(self._name))}
            return [row for name, block in blocks.items() if name != rows[-1][self._name] for row in block]
        return self._file.read(self._path) if self._path.is_file() else []

    def _rows(self, frame: Frame, output: PoseOutput) -> list[Any]:
        raise NotImplementedError


class CocoWriter(_TableWriter):
    """COCO's results format for keypoints: one list of instances for the whole run.

    `image_id` is the number in the base name if that is a number, as in COCO's own files, else the base name; frames
    of a video add their number (`clip_000012`). `score` is what MMPose's `CocoMetric` submits: the box score (1
    without boxes) times the mean of those keypoint scores that are above 0.2. `file_name` is added to tell where an
    instance is from, to frames of a video `timestamp` in seconds, and where it is known `interpolated`.
    """

    _file = JsonListFile
    _name = "file_name"
    _KEYPOINT_SCORE_THRESHOLD = 0.2

    def _rows(self, frame: Frame, output: PoseOutput) -> list[Any]:
        points = points_2d(output)
        image_id: int | str = int(frame.name) if frame.name.isdecimal() else frame.name
        if frame.frame_index is not None:
            image_id = f"{frame.name}_{frame.frame_index:06d}"
        timestamp = {} if frame.timestamp is None else {"timestamp": frame.timestamp}
        filled: list[dict[str, bool]] = [{}] * len(points)
        if output.interpolated is not None:
            filled = [{"interpolated": each} for each in output.interpolated.tolist()]
        return [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": person.ravel().tolist(),
                "score": float(score),
                "file_name": frame.name,
                **timestamp,
                **about,
            }
            for person, score, about in zip(points, self._scores(output), filled, strict=True)
        ]

    def _scores(self, output: PoseOutput) -> np.ndarray:
        """(N,) scores of the instances."""
        scores = np.nan_to_num(output.keypoint_scores)
        counted = scores > self._KEYPOINT_SCORE_THRESHOLD
        means = (scores * counted).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
        return means if output.box_scores is None else means * output.box_scores


class _CsvFile(PartialFile):
    """A table that grows in whole rows."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self.append([CsvWriter.HEADER])

    def append(self, rows: Iterable[Any]) -> None:
        self._writer.writerows(rows)
        self._file.flush()

    @staticmethod
    def read(path: Path) -> list[Any]:
        """Rows without the header, and without one that a killed process did not finish."""
        text = path.read_text(encoding="utf-8", errors="replace")
        whole = text[: text.rfind("\n") + 1]
        return [row for row in csv.reader(io.StringIO(whole)) if len(row) == len(CsvWriter.HEADER)][1:]


class CsvWriter(_TableWriter):
    """A table with one row for each keypoint of each instance.

    What is not known is empty: `z` of 2D keypoints, the time of an image, ... `x_2d` and `y_2d` are the pixels of
    keypoints in 3D, `interpolated` is 1 for who was not seen in this frame but in frames around it.
    """

    _file = _CsvFile
    _name = 0
    HEADER = (
        *("name", "frame_id", "instance", "track_id", "keypoint", "x", "y", "z", "score"),
        *("timestamp", "interpolated", "x_2d", "y_2d", "x1", "y1", "x2", "y2", "box_score"),
    )

    def _rows(self, frame: Frame, output: PoseOutput) -> list[Any]:
        names: Sequence[Any] = output.schema.keypoint_names if output.schema else range(output.keypoints.shape[1])
        frame_id = "" if frame.frame_index is None else frame.frame_index
        timestamp = "" if frame.timestamp is None else round(frame.timestamp, 6)
        rows: list[Any] = []
        for number, person in enumerate(output.predictions):
            about = (frame.name, frame_id, number, person.get("track_id", ""))
            box = (*person.get("bbox", [""] * 4), person.get("bbox_score", ""))
            seen = int(person["interpolated"]) if "interpolated" in person else ""
            pixels = person.get("keypoints_2d", [["", ""]] * len(person["keypoints"]))
            for keypoint, point, score, pixel in zip(
                names, person["keypoints"], person["keypoint_scores"], pixels, strict=True
            ):
                x, y, z = (*point, "") if len(point) == 2 else point
                rows.append((*about, keypoint, x, y, z, score, timestamp, seen, *pixel, *box))
        return rows


class OpenPoseWriter(InputWriter[FolderOfFiles]):
    """OpenPose's JSON: `name_keypoints.json` for each image, and for each video a folder `name` with
    `name_000000000012_keypoints.json` for each frame, which takes its name when it is complete.
    """

    def __init__(self, folder: str | Path, canvas_size: tuple[int, int] | None = None) -> None:
        super().__init__(folder)
        self._canvas_size = canvas_size

    def write(self, frame: Frame, output: PoseOutput) -> None:
        self._videos.enter(frame.item)
        if frame.frame_index is not None:
            base = Path(frame.name).name
            folder = self._videos.file(frame.item, lambda: FolderOfFiles(self._path(frame.item), "*_keypoints.json"))
            folder.write(f"{base}_{frame.frame_index:012d}_keypoints.json", openpose_json(output, self._canvas_size))
        elif output.error is None:
            write_text(self._path(frame.item), openpose_json(output, self._canvas_size))

    def _path(self, item: MediaItem) -> Path:
        return self._folder / (f"{item.name}_keypoints.json" if item.kind == "image" else item.name)
