"""People as motions, in files for biomechanics and animation."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.keypoints.human36m import has_h36m
from hfpose.media.c3d import check_c3d
from hfpose.media.files import FolderOfFiles
from hfpose.media.frames import Frame, MediaItem, VideoInfo
from hfpose.media.motions import (
    GAIT,
    GAPS,
    MARKER_SET,
    SKELETON_FORMATS,
    MotionFormat,
    MotionOptions,
    PersonMotion,
    write_motions,
)
from hfpose.media.per_video import InputWriter
from hfpose.ops.axes import to_world
from hfpose.results import PoseOutput
from hfpose.tracking.tracker import UNTRACKED

logger = logging.getLogger(__name__)

# Of the poses of a video; a few without an identity are false boxes as a rule, more may be a person.
_SHARE_TO_TELL = 0.1


class TrackWriter(InputWriter["_Tracks"]):
    """A folder `name` for each image or video with a file for each person, which takes its name when it is complete.

    The files are `name_track3.trc`, `name_track3.bvh` or, for a person who is first seen in frame 120,
    `name_track3_from120.bvh`; of images `name_person0.trc`. They begin with the first frame in which the person is
    there and end with the last; frames that the lifter interpolated count. In frames between in which the person or a
    keypoint is missing (not finite), TRC has empty fields and C3D invalid points. BVH and GLB know no gaps: they hold
    the last place, and `gaps.csv` tells where; who is never seen with a root has no file of them. People without an
    identity (of whom next to nothing was seen) are left out, which is told where they are many.

    TRC and C3D have a marker for each keypoint, named as in Pose2Sim's marker sets, and beside TRC lies `markers.xml`,
    the marker set for OpenSim. BVH and GLB have a skeleton of rigid bones, with toes and fingers where they are known.
    Results in other axes are turned to `"world"`, so no one is mirrored; where they are relative to the root, people
    do not move from the spot.

    `"angles"` is a table of joint angles, in 2D too, and in 3D `gait.csv` with the steps of people who move through
    space; `"mot"` are the same angles with the names and signs of OpenSim's models.

    C3D files have 65535 frames at most, and what follows is in `name_track3_from65535.c3d`.

    TRC and GLB have the times of the video. BVH and C3D know no times but a rate, so a video of variable rate is
    brought to an even one.

    The motions of a video are kept in memory until it ends, 12 bytes for each keypoint.

    Args:
        folder: where the folders go.

    Raises:
        InputError: if the format needs a package that is not installed.
    """

    def __init__(self, folder: str | Path, kind: MotionFormat, options: MotionOptions | None = None) -> None:
        if kind == "c3d":
            check_c3d()
        super().__init__(folder)
        self._kind = kind
        self._options = options or MotionOptions()

    def check(self, schema: KeypointSchema | None, is_3d: bool) -> None:
        """Whether results are such as the format holds.

        Raises:
            InputError: if they are 2D, or of keypoints that do not become Human3.6M's 17.
        """
        if not is_3d and self._kind != "angles":
            raise InputError(
                f"The format {self._kind} holds people in 3D, but the results are 2D: ask for 3D (--pose3d human3d, "
                "or the task pose-estimation-3d), or choose json, csv, coco or openpose."
            )
        if schema is None or not has_h36m(schema):
            raise InputError(
                f"The format {self._kind} holds people whose keypoints become Human3.6M's 17, but the results are of "
                f"schema {schema.name if schema else None!r}: choose json or csv for them."
            )

    def write(self, frame: Frame, output: PoseOutput) -> None:
        self._videos.enter(frame.item)
        if frame.frame_index is None and output.error is not None:
            return
        if output.num_instances:
            self.check(output.schema, output.keypoints.shape[2] == 3)
            if frame.frame_index is not None and output.track_ids is None:
                raise InputError(
                    f"The format {self._kind} tells what each person does over time, but the people of this video "
                    "have no identities: ask for them with track=True (--track)."
                )
        path = self._path(frame.item)
        tracks = self._videos.file(frame.item, lambda: _Tracks(path, self._kind, frame.fps, self._options))
        tracks.add(frame.frame_index, frame.timestamp, output)
        if frame.frame_index is None:
            self._videos.finish()

    def _path(self, item: MediaItem) -> Path:
        return self._folder / item.name


def save_motion(
    results: Iterable[PoseOutput], folder: str | Path, kind: MotionFormat, options: MotionOptions | None = None
) -> None:
    """Write the people of a clip, see `TrackWriter`.

    Args:
        results: of the frames of one video, with `track_ids`.
        folder: where the files go; its name is what theirs begin with.

    Raises:
        InputError: if the format does not hold such results, they have no `track_ids`, or the folder cannot be made.

    Example:

    ```python
    >>> results = list(pipe("walk.mp4", root="planar"))
    >>> save_motion(results, "out/walk", "bvh", MotionOptions(joint_names="mixamo"))
    ```
    """
    outputs = list(results)
    times = [output.timestamp for output in outputs if output.timestamp is not None]
    rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else None
    path = Path(folder)
    writer, item = TrackWriter(path.parent, kind, options), MediaItem(0, "video", path.name)
    for number, output in enumerate(outputs):
        index = number if output.frame_index is None else output.frame_index
        video = VideoInfo(rate, *(output.image_size or (0, 0)), None)
        writer.write(Frame(item, frame_index=index, video=video, timestamp=output.timestamp), output)
    writer.close()


class _Tracks:
    """The people of a video, each with the frames in which they are there."""

    def __init__(self, folder: Path, kind: MotionFormat, frame_rate: float, options: MotionOptions) -> None:
        self._kind: MotionFormat = kind
        self._name = folder.name
        self._frame_rate = frame_rate
        self._options = options
        self._files = FolderOfFiles(folder, f"*.{'csv' if kind == 'angles' else kind}", GAPS, MARKER_SET, GAIT)
        self._times: dict[int, float] = {}  # seconds, by frame
        self._people: dict[str, dict[int, np.ndarray]] = {}  # who -> frame -> (K, D)
        self._schema: KeypointSchema | None = None
        self._num_lost = 0  # poses without an identity

    def add(self, frame_index: int | None, timestamp: float | None, output: PoseOutput) -> None:
        """The people of the next frame at a time in seconds; without a number it is an image."""
        number = frame_index or 0
        time = number / self._frame_rate if timestamp is None else timestamp
        latest = next(reversed(self._times.values()), -np.inf)
        # Damaged files say that the clock stands still or goes back, which no format holds.
        self._times[number] = time if time > latest else latest + 1 / self._frame_rate
        for row, keypoints in enumerate(to_world(output.keypoints, output.axes)):
            self._schema = output.schema
            track = UNTRACKED if output.track_ids is None else int(output.track_ids[row])
            is_lost = frame_index is not None and track == UNTRACKED
            self._num_lost += is_lost
            if is_lost or not np.isfinite(keypoints).all(-1).any():
                continue
            who = f"person{row}" if frame_index is None else f"track{track}"
            self._people.setdefault(who, {})[number] = keypoints

    def finish(self) -> None:
        self._tell_of_lost()
        seen = {who: (min(poses), max(poses)) for who, poses in self._people.items()}
        if self._options.together and self._kind in SKELETON_FORMATS and seen:
            span = min(first for first, _ in seen.values()), max(last for _, last in seen.values())
            seen = dict.fromkeys(seen, span)
        motions = [self._motion(who, *seen[who]) for who in self._people]
        write_motions(self._kind, self._files, self._name, motions, self._options)
        self._files.finish()

    def abandon(self) -> None:
        self._files.abandon()

    def _tell_of_lost(self) -> None:
        """Log how many poses have no identity, where they are many."""
        total = self._num_lost + sum(map(len, self._people.values()))
        if self._num_lost > _SHARE_TO_TELL * total:
            logger.warning(
                "%s: %d of %d poses have no identity and are in no file of format %s. People whose boxes score low "
                "get one with a lower high_score of the tracker (--track-high-score).",
                *(self._name, self._num_lost, total, self._kind),
            )

    def _motion(self, who: str, first: int, last: int) -> PersonMotion:
        """What a person did from frame `first` to `last`."""
        poses = self._people[who]
        numbers = np.arange(first, last + 1)
        keypoints = np.full((len(numbers), *next(iter(poses.values())).shape), np.nan, np.float32)
        keypoints[np.array(list(poses)) - first] = list(poses.values())
        times = np.interp(numbers, list(self._times), list(self._times.values()))
        assert self._schema is not None  # see `TrackWriter.check`
        return PersonMotion(who, first, times, self._frame_rate, keypoints, self._schema)
