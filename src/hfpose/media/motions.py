"""What people did in a video, and the files of each format that hold it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.keypoints.angles import joint_angles, opensim_coordinates
from hfpose.keypoints.human36m import body_points, keypoints_to_h36m
from hfpose.keypoints.markers import to_markers
from hfpose.media.angle_files import GAIT_HEADER, angle_rows, gait_rows, mot_text
from hfpose.media.bvh import bvh_text
from hfpose.media.c3d import MOST_FRAMES, write_c3d
from hfpose.media.files import FolderOfFiles
from hfpose.media.glb import glb_bytes
from hfpose.media.opensim import marker_set_text
from hfpose.media.skeleton import JointNames, SkeletonMotion, skeleton_motion
from hfpose.media.trc import TRC_AXES, trc_text
from hfpose.ops.foot_contacts import runs

MotionFormat = Literal["trc", "c3d", "bvh", "glb", "angles", "mot"]
SKELETON_FORMATS: tuple[MotionFormat, ...] = ("bvh", "glb")
"""Formats that may hold several people in one file."""
LengthUnit = Literal["meters", "centimeters"]
Gap = tuple[str, str, int, int]
"""Person, what is missing, and the first and last frame in which it is."""
_PER_METER = {"meters": 1.0, "centimeters": 100.0}
_LEAST_BONE = 1e-6  # meters
_EVEN = 0.002  # seconds by which the times of an even rate are off where a container rounds them
GAPS = "gaps.csv"
MARKER_SET = "markers.xml"
GAIT = "gait.csv"


@dataclass(frozen=True)
class MotionOptions:
    """How motions are written.

    Args:
        joint_names: of BVH and GLB: `"humanik"` (`Hips`, `LeftUpLeg`, ...), as MotionBuilder and others know joints,
            `"mixamo"` (the same behind `mixamorig:`), or `"h36m"`, the names of keypoints.
        length_unit: of BVH, `"meters"` or `"centimeters"`; TRC and C3D are in millimeters and GLB in meters.
        together: in BVH and GLB one file for all people of a video, which begins with the first frame of any of them,
            not one for each.

    Raises:
        InputError: for values that are not known.
    """

    joint_names: JointNames = "humanik"
    length_unit: LengthUnit = "meters"
    together: bool = False

    def __post_init__(self) -> None:
        for name, known in (("joint_names", get_args(JointNames)), ("length_unit", get_args(LengthUnit))):
            if getattr(self, name) not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}.")


@dataclass(frozen=True)
class PersonMotion:
    """One person in T frames in a row.

    Args:
        who: such as `track3`.
        first_frame: number of the first frame in the video.
        times: (T,) seconds in the video.
        keypoints: (T, K, D) meters, in 2D pixels, NaN where the person or a keypoint is missing.
    """

    who: str
    first_frame: int
    times: np.ndarray
    frame_rate: float
    keypoints: np.ndarray
    schema: KeypointSchema


def write_motions(
    kind: MotionFormat, files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions
) -> None:
    """Write the files of a format.

    Args:
        name: of the video, which the names of the files begin with.
        people: who was in it; with `together` all have the same frames.
    """
    _WRITE[kind](files, name, people, options)


def _write_trc(files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions) -> None:
    for person in people:
        names, markers = to_markers(person.keypoints, person.schema)
        file_name = f"{name}_{person.who}.trc"
        text = trc_text(
            markers,
            names,
            times=person.times,
            frame_rate=person.frame_rate,
            first_frame=person.first_frame,
            file_name=file_name,
        )
        files.write(file_name, text)
        files.write(MARKER_SET, marker_set_text(names))


def _write_c3d(files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions) -> None:
    for person in people:
        names, markers = to_markers(person.keypoints, person.schema)
        markers, rate = _at_even_times(markers, person.times, person.frame_rate)
        for begin in range(0, len(markers), MOST_FRAMES):
            number = person.first_frame + begin
            path = files.path(f"{name}_{person.who}{f'_from{number}' if begin else ''}.c3d")
            part = markers[begin : begin + MOST_FRAMES]
            write_c3d(path, part, names, frame_rate=rate, first_frame=number)


def _write_bvh(files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions) -> None:
    def even(person: PersonMotion) -> PersonMotion:
        keypoints, rate = _at_even_times(person.keypoints, person.times, person.frame_rate)
        times = person.times[0] + np.arange(len(keypoints)) / rate
        return replace(person, keypoints=keypoints, times=times, frame_rate=rate)

    def write(file_name: str, group: Sequence[PersonMotion], skeletons: Mapping[str, SkeletonMotion]) -> None:
        prefixed = {f"{who}:" if options.together else "": motion for who, motion in skeletons.items()}
        scale = _PER_METER[options.length_unit]
        files.write(f"{file_name}.bvh", bvh_text(prefixed, frame_rate=group[0].frame_rate, scale=scale))

    _write_skeletons(files, name, [even(person) for person in people], options, write)


def _write_glb(files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions) -> None:
    def write(file_name: str, group: Sequence[PersonMotion], skeletons: Mapping[str, SkeletonMotion]) -> None:
        files.path(f"{file_name}.glb").write_bytes(glb_bytes(skeletons, group[0].times))

    _write_skeletons(files, name, people, options, write)


def _write_skeletons(
    files: FolderOfFiles,
    name: str,
    people: Sequence[PersonMotion],
    options: MotionOptions,
    write: Callable[[str, Sequence[PersonMotion], Mapping[str, SkeletonMotion]], None],
) -> None:
    """Files of a format without gaps, and a table of the frames in which joints are held."""
    gaps: list[Gap] = []
    for group in [people] if options.together and people else [[person] for person in people]:
        first = group[0].first_frame
        file_name = name if options.together else f"{name}_{group[0].who}"
        file_name += f"_from{first}" if first else ""
        skeletons = {}
        for person in group:
            names, points = body_points(person.keypoints, person.schema)
            gaps += _gaps(person.who, names, ~np.isfinite(points).all(-1), first)
            skeleton = skeleton_motion(points, names, options.joint_names)
            if np.abs(skeleton.offsets).max() > _LEAST_BONE:  # else the root, or all but the root, is never seen
                skeletons[person.who] = skeleton
        if skeletons:
            write(file_name, group, skeletons)
    _write_gaps(files, gaps)


def _gaps(who: str, names: Sequence[str], missing: np.ndarray, first_frame: int) -> list[Gap]:
    """Where something is missing (T, names), from the first to the last frame of each gap; `all` where nothing is
    there."""
    absent = missing.all(1, keepdims=True)
    return [
        (who, name, first_frame + start, first_frame + end - 1)
        for name, column in zip(("all", *names), np.hstack((absent, missing & ~absent)).T, strict=True)
        for start, end in runs(column).tolist()
    ]


def _write_gaps(files: FolderOfFiles, gaps: Sequence[Gap]) -> None:
    if gaps:
        _write_table(files, GAPS, [("person", "keypoint", "first_frame", "last_frame"), *gaps])


def _write_angles(files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions) -> None:
    steps: list[list[object]] = []
    for person in people:
        rows = angle_rows(person.times, person.first_frame, _angles_over_time(person))
        _write_table(files, f"{name}_{person.who}.csv", rows)
        if person.keypoints.shape[2] == 3:
            steps += gait_rows(person.who, person.times, person.keypoints, person.schema)
    if steps:
        _write_table(files, GAIT, [GAIT_HEADER, *steps])


def _write_mot(files: FolderOfFiles, name: str, people: Sequence[PersonMotion], options: MotionOptions) -> None:
    gaps: list[Gap] = []
    for person in people:
        angles = opensim_coordinates(_angles_over_time(person))
        body, _ = keypoints_to_h36m(person.keypoints, None, person.schema)
        places = {f"pelvis_t{axis}": body[:, 0, place] for axis, place in zip("xyz", TRC_AXES, strict=True)}
        columns = {key: each for key, each in (angles | places).items() if np.isfinite(each).any()}
        missing = ~np.isfinite(np.reshape([*columns.values()], (-1, len(person.times)))).T
        gaps += _gaps(person.who, [*columns], missing, person.first_frame)
        file_name = f"{name}_{person.who}.mot"
        filled = {key: _without_gaps(each, person.times) for key, each in columns.items()}
        files.write(file_name, mot_text(file_name, person.times, filled))
    _write_gaps(files, gaps)


def _angles_over_time(person: PersonMotion) -> dict[str, np.ndarray]:
    """Degrees (T,) of each angle; who turns around goes on beyond 180, instead of jumping to -180."""
    angles = joint_angles(person.keypoints, person.schema)
    if (turn := angles.get("pelvis_turn")) is not None:
        known = np.isfinite(turn)
        turn[known] = np.unwrap(turn[known], period=360)
    return angles


def _without_gaps(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Values (T,) with straight lines over gaps; OpenSim reads a MOT file up to the first value that is missing."""
    known = np.isfinite(values)
    return np.interp(times, times[known], values[known])


def _write_table(files: FolderOfFiles, name: str, rows: Iterable[Iterable[object]]) -> None:
    with files.path(name).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


_WRITE: dict[MotionFormat, Callable[[FolderOfFiles, str, Sequence[PersonMotion], MotionOptions], None]] = {
    "trc": _write_trc,
    "c3d": _write_c3d,
    "bvh": _write_bvh,
    "glb": _write_glb,
    "angles": _write_angles,
    "mot": _write_mot,
}
MOTION_FORMATS: tuple[MotionFormat, ...] = tuple(_WRITE)


def _at_even_times(keypoints: np.ndarray, times: np.ndarray, rate: float) -> tuple[np.ndarray, float]:
    """Keypoints (T, K, 3) at an even rate, and that rate: the one given if the times (T,) keep to it, else the one of
    the most frequent frames. In between keypoints are interpolated."""
    if np.abs(times - times[0] - np.arange(len(times)) / rate).max() < _EVEN:
        return keypoints, rate
    step = float(np.median(np.diff(times)))
    wanted = np.arange(times[0], times[-1] + step / 2, step)
    places = np.interp(wanted, times, np.arange(len(times)))
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, len(times) - 1)
    share = (places - before)[:, None, None].astype(np.float32)
    return np.where(share > 0, (1 - share) * keypoints[before] + share * keypoints[after], keypoints[before]), 1 / step
