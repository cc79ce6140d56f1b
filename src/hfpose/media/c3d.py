"""C3D, the binary format of marker trajectories that programs of biomechanics and animation have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hfpose.errors import InputError

_MILLIMETERS = 1000.0
MOST_FRAMES = 65535
"""Frames that a C3D file numbers, by 16 bits."""


def write_c3d(path: Path, markers: np.ndarray, names: Sequence[str], *, frame_rate: float, first_frame: int) -> None:
    """Write a C3D file: millimeters in the axes of 3D results, x left, y toward the camera, z up.

    Args:
        markers: (T, M, 3) meters of `MOST_FRAMES` at most; one that is not finite is invalid, as C3D has gaps.
        names: of the M markers.
        frame_rate: frames per second.
        first_frame: number of the first frame in its video, from 0.

    Raises:
        InputError: if ezc3d is not installed.
    """
    check_c3d()
    import ezc3d

    file = ezc3d.c3d()
    about = {"RATE": [frame_rate], "UNITS": ["mm"], "LABELS": list(names), "X_SCREEN": ["+X"], "Y_SCREEN": ["+Z"]}
    for name, value in about.items():
        file.add_parameter("POINT", name, value)
    file["header"]["points"]["first_frame"] = min(first_frame, MOST_FRAMES - 1)
    points = np.where(np.isfinite(markers).all(-1, keepdims=True), markers * _MILLIMETERS, np.nan)
    file["data"]["points"] = np.concatenate((points, np.ones_like(points[..., :1])), axis=-1).transpose(2, 1, 0)
    file.write(str(path))


def check_c3d() -> None:
    """Raise InputError if ezc3d is not installed."""
    try:
        import ezc3d  # noqa: F401
    except ImportError as error:
        raise InputError("The format c3d needs ezc3d: pip install 'hfpose[motion]'") from error
