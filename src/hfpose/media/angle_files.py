"""Angles over time as CSV and as OpenSim's MOT, and what their steps tell of people who walk."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hfpose.keypoints.human36m import keypoints_to_h36m
from hfpose.keypoints.schema import KeypointSchema
from hfpose.ops.foot_contacts import lock_feet, without_short_runs

_FEET = {"right": 3, "left": 6}  # Human3.6M's ankles
_SHORTEST_SWING = 0.14  # seconds; a foot of a runner who seems to hop within its contact is up for less
GAIT_HEADER = ("person", "foot", "contact", "toe_off", "stance", "stride_time", "stride_length", "cadence")


def mot_text(name: str, times: np.ndarray, columns: Mapping[str, np.ndarray]) -> str:
    """The contents of a MOT file: columns of angles (T,) in degrees over times (T,) in seconds."""
    lines = [name, "version=1", f"nRows={len(times)}", f"nColumns={len(columns) + 1}", "inDegrees=yes", "endheader"]
    lines.append("\t".join(["time", *columns]))
    rows = np.column_stack((times, *columns.values()))
    lines += ["\t".join(f"{value:.6f}" for value in row) for row in rows.tolist()]
    return "\n".join(lines) + "\n"


def angle_rows(times: np.ndarray, first_frame: int, columns: Mapping[str, np.ndarray]) -> list[list[object]]:
    """Header and rows of a table of columns (T,), with a row for each frame; what is missing is empty."""
    values = np.column_stack(list(columns.values())).tolist()
    rows: list[list[object]] = [["frame_id", "time", *columns]]
    for number, (time, row) in enumerate(zip(times.tolist(), values, strict=True)):
        rows.append([first_frame + number, round(time, 6), *("" if v != v else round(v, 3) for v in row)])
    return rows


def gait_rows(who: str, times: np.ndarray, keypoints: np.ndarray, schema: KeypointSchema) -> list[list[object]]:
    """A row of `GAIT_HEADER` for each contact of a foot with the ground.

    Args:
        who: the person.
        times: (T,) seconds.
        keypoints: (T, K, 3) meters in the axes `"world"`, on the ground and through space; else there are no rows.
        schema: of the keypoints.

    Returns:
        Seconds of contact and of toe-off, the share of the stride in which the foot stands, and from this contact to
        the next one of the same foot seconds and meters of the stride and, as cadence, steps of both feet a minute.
        What the clip does not show is empty.
    """
    joints, _ = keypoints_to_h36m(keypoints, None, schema)
    way = joints[:, 0, :2]
    if not np.isfinite(way).any() or (np.nanmax(way, 0) - np.nanmin(way, 0)).max() < 1e-3:
        return []
    feet = joints[:, list(_FEET.values())]
    # The ankles of a standing person are above the ground.
    feet[..., 2] -= np.nanpercentile(np.fmin.reduce(feet[..., 2], axis=1), 10)
    contacts = without_short_runs(lock_feet(feet, times)[1], times, _SHORTEST_SWING)
    missing = ~np.isfinite(feet).all(-1) | ~np.isfinite(way).all(-1)[:, None]
    rows: list[list[object]] = []
    for foot, stands, lost in zip(_FEET, contacts.T, missing.T, strict=True):
        edges = np.flatnonzero(np.diff(stands, prepend=False, append=False)).tolist()
        begins, ends = edges[::2], edges[1::2]
        lost = np.pad(lost, 1, constant_values=True)  # frame i at i + 1; before and after the clip nothing is seen
        for begin, end, following in zip(begins, ends, [*begins[1:], None], strict=False):  # a foot may never stand
            contact = None if lost[begin] else float(times[begin])
            off = None if lost[end + 1] else float(times[end - 1])
            values: list[float | None] = [contact, off, None, None, None, None]
            if following is not None and not lost[begin : following + 1].any():
                stride = float(times[following] - times[begin])
                stance, length = float(times[end - 1] - times[begin]) / stride, way[following] - way[begin]
                values[2:] = stance, stride, float(np.linalg.norm(length)), 120 / stride
            if any(value is not None for value in values):
                rows.append([who, foot, *("" if value is None else round(value, 4) for value in values)])
    return sorted(rows, key=lambda row: float(str(row[3] if row[2] == "" else row[2])))
