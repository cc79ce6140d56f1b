"""Angles over time as CSV and as OpenSim's MOT, and what their steps tell of people who walk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from operator import itemgetter

import numpy as np

from hfpose.keypoints.human36m import keypoints_to_h36m
from hfpose.keypoints.schema import KeypointSchema
from hfpose.ops.foot_contacts import lock_feet, runs, without_short_runs

_FEET = {"right": 3, "left": 6}  # Human3.6M's ankles
_SHORTEST_SWING = 0.14  # seconds; a foot of a runner who seems to hop within its contact is up for less


@dataclass
class _Step:
    """A contact of a foot with the ground, see `gait_rows`; what the clip does not show is None."""

    person: str
    foot: str
    contact: float | None
    toe_off: float | None
    stance: float | None = None
    stride_time: float | None = None
    stride_length: float | None = None
    cadence: float | None = None


GAIT_HEADER = tuple(field.name for field in fields(_Step))


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
        times: (T,) seconds.
        keypoints: (T, K, 3) meters in the axes `"world"`, on the ground and through space; else there are no rows.

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
    steps: list[tuple[float, _Step]] = []
    for foot, stands, lost in zip(_FEET, contacts.T, missing.T, strict=True):
        stretches = runs(stands).tolist()
        lost = np.pad(lost, 1, constant_values=True)  # frame i at i + 1; before and after the clip nothing is seen
        for (begin, end), (following, _) in zip(stretches, [*stretches[1:], (None, None)], strict=False):
            contact, off = float(times[begin]), float(times[end - 1])
            step = _Step(who, foot, None if lost[begin] else contact, None if lost[end + 1] else off)
            if following is not None and not lost[begin : following + 1].any():
                step.stride_time = float(times[following]) - contact
                step.stance = (off - contact) / step.stride_time
                step.stride_length = float(np.linalg.norm(way[following] - way[begin]))
                step.cadence = 120 / step.stride_time
            if step.contact is not None or step.toe_off is not None:
                steps.append((off if step.contact is None else contact, step))
    ordered = [astuple(step) for _, step in sorted(steps, key=itemgetter(0))]
    return [["" if v is None else round(v, 4) if isinstance(v, float) else v for v in row] for row in ordered]
