"""3D poses as motions, one file for each person of a video: TRC for biomechanics, BVH for animation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.keypoints.human36m import has_h36m, keypoints_to_h36m
from hfpose.media.bvh import bvh_text
from hfpose.media.files import FolderOfFiles
from hfpose.media.frames import Frame, MediaItem
from hfpose.media.per_video import OneFilePerVideo
from hfpose.media.trc import trc_text
from hfpose.media.video_writing import DEFAULT_FPS
from hfpose.results import PoseOutput

TrackFormat = Literal["trc", "bvh"]
_EVEN = 0.002  # seconds by which the times of an even rate are off where a container rounds them
_UNTRACKED = -1  # as in hfpose.tracking.tracker


class TrackWriter:
    """A folder `name` for each image or video with a file for each person, which takes its name when it is complete.

    The files are `name_track3.trc`, or `name_track3_from120.bvh` for a person who is first seen in frame 120; of images
    `name_person0.trc`. They begin with the first frame in which the person is there and end with the last; frames that the
    lifter interpolated count. In frames between in which the person or a keypoint is missing (not finite), TRC has empty
    fields and BVH, which knows no gaps, holds the last place. People without an identity (of whom next to nothing was seen)
    are left out.

    TRC is in millimeters with y up and x toward the camera, as OpenSim has it; BVH in meters with y up and z toward the
    camera, rotations about z, x and y. Keypoints are relative to the root, so people stay on the spot, and their height
    is that of the results, which have to be in the axes `"world"`. Of whole bodies the body alone is written, as Human3.6M's
    17 keypoints.

    TRC has the times of the video. BVH knows no times but a rate, so a video of variable rate is brought to an even one.

    The motions of a video are kept in memory until it ends, about 200 bytes for each person and frame.

    Args:
        folder: where the folders go.
        kind: the format.
    """

    def __init__(self, folder: str | Path, kind: TrackFormat) -> None:
        self._folder = Path(folder)
        self._kind = kind
        self._videos: OneFilePerVideo[_Tracks] = OneFilePerVideo()

    def check(self, schema: KeypointSchema | None, is_3d: bool) -> None:
        """Whether results are such as the format holds.

        Raises:
            InputError: if they are 2D, or of keypoints that do not become Human3.6M's 17.
        """
        if not is_3d:
            raise InputError(
                f"The format {self._kind} holds people in 3D, but the results are 2D: ask for 3D (--pose3d human3d, or "
                "the task pose-estimation-3d), or choose json, csv, coco or openpose."
            )
        if schema is None or not has_h36m(schema):
            raise InputError(
                f"The format {self._kind} holds people as Human3.6M's 17 keypoints, but the results are of schema "
                f"{schema.name if schema else None!r}: choose json or csv for them."
            )

    def is_complete(self, item: MediaItem) -> bool:
        return self._path(item).is_dir()

    def outputs(self, item: MediaItem) -> list[Path]:
        return [self._path(item)] if self.is_complete(item) else []

    def write(self, frame: Frame, output: PoseOutput) -> None:
        self._videos.enter(frame.item)
        if frame.frame_index is None and output.error is not None:
            return
        if output.num_instances:
            self.check(output.schema, output.keypoints.shape[2] == 3)
        rate = frame.video.fps if frame.video and frame.video.fps else DEFAULT_FPS
        tracks = self._videos.file(frame.item, lambda: _Tracks(self._path(frame.item), self._kind, rate))
        tracks.add(frame.frame_index, frame.timestamp, output)
        if frame.frame_index is None:
            self._videos.finish()

    def close(self) -> None:
        self._videos.finish()

    def abandon(self) -> None:
        self._videos.abandon()

    def _path(self, item: MediaItem) -> Path:
        return self._folder / item.name


class _Tracks:
    """The people of a video, each with the frames in which they are there."""

    def __init__(self, folder: Path, kind: TrackFormat, frame_rate: float) -> None:
        self._kind = kind
        self._name = folder.name
        self._frame_rate = frame_rate
        self._files = FolderOfFiles(folder, f"*.{kind}")
        self._times: dict[int, float] = {}  # seconds, by frame
        self._people: dict[str, list[tuple[int, np.ndarray]]] = {}  # who -> (frame, (17, 3) meters)

    def add(self, frame_index: int | None, timestamp: float | None, output: PoseOutput) -> None:
        """The people of the next frame at a time in seconds; without a number it is an image."""
        number = frame_index or 0
        self._times[number] = number / self._frame_rate if timestamp is None else timestamp
        if not output.num_instances:
            return
        assert output.schema is not None  # see `check`
        bodies, _ = keypoints_to_h36m(output.keypoints, None, output.schema)
        for row, keypoints in enumerate(bodies):
            track = _UNTRACKED if output.track_ids is None else int(output.track_ids[row])
            is_lost = frame_index is not None and track == _UNTRACKED
            if is_lost or not np.isfinite(keypoints).all(-1).any():
                continue
            who = f"person{row}" if frame_index is None else f"track{track}"
            self._people.setdefault(who, []).append((number, keypoints))

    def finish(self) -> None:
        for who, poses in self._people.items():
            self._write(f"{self._name}_{who}", poses)
        self._files.finish()

    def abandon(self) -> None:
        self._files.abandon()

    def _write(self, name: str, poses: list[tuple[int, np.ndarray]]) -> None:
        first, last = poses[0][0], poses[-1][0]
        keypoints = np.full((last - first + 1, *poses[0][1].shape), np.nan, np.float32)
        for number, pose in poses:
            keypoints[number - first] = pose
        numbers = np.arange(first, last + 1)
        times = np.interp(numbers, list(self._times), list(self._times.values()))
        if self._kind == "bvh":
            name += f"_from{first}.bvh" if first else ".bvh"
            even, rate = _at_even_times(keypoints, times, self._frame_rate)
            self._files.write(name, bvh_text(even, frame_rate=rate))
            return
        name += ".trc"
        names = load_schema("h36m").keypoint_names
        text = trc_text(keypoints, names, times=times, frame_rate=self._frame_rate, first_frame=first, file_name=name)
        self._files.write(name, text)


def _at_even_times(keypoints: np.ndarray, times: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
    """Keypoints (T, K, 3) at an even rate, and that rate: the one given if the times (T,) keep to it, else the one of the
    most frequent frames. In between keypoints are interpolated."""
    if np.abs(times - times[0] - np.arange(len(times)) / rate).max() < _EVEN:
        return keypoints, rate
    step = float(np.median(np.diff(times)))
    wanted = np.arange(times[0], times[-1] + step / 2, step)
    places = np.interp(wanted, times, np.arange(len(times)))
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(times) - 1)
    share = (places - before)[:, None, None].astype(np.float32)
    return np.where(share > 0, (1 - share) * keypoints[before] + share * keypoints[after], keypoints[before]), 1 / step
