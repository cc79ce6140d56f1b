"""TRC, the format of marker trajectories that OpenSim and other programs of biomechanics read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# The axes of OpenSim for a person who faces the camera (x forward, y up, z to their right), from those of 3D results
# (x left, y toward the camera, z up). Both are right-handed.
TRC_AXES = [1, 2, 0]
_MILLIMETERS = 1000.0


def trc_text(
    keypoints: np.ndarray,
    names: Sequence[str],
    *,
    times: np.ndarray,
    frame_rate: float,
    first_frame: int,
    file_name: str,
) -> str:
    """The contents of a TRC file: millimeters, y up, x toward the camera.

    Args:
        keypoints: (T, K, 3) meters in the frame of 3D results. A keypoint that is not finite becomes three empty
            fields, which OpenSim and Mokka read as a missing marker.
        names: of the K keypoints.
        times: (T,) seconds in the video.
        frame_rate: frames per second, for the header.
        first_frame: number of the first frame in its video. Frames are numbered from 1 in the file.
        file_name: goes into the first line.
    """
    number = len(keypoints)
    rate = f"{frame_rate:.6f}"
    first = first_frame + 1
    axes = [f"{axis}{index}" for index in range(1, len(names) + 1) for axis in "XYZ"]
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{file_name}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{number}\t{len(names)}\tmm\t{rate}\t{first}\t{number}",
        "\t".join(["Frame#", "Time", *(f"{name}\t\t" for name in names), ""]),
        "\t".join(["", "", *axes, ""]),
        "",
    ]
    points = np.asarray(keypoints, np.float64)[..., TRC_AXES] * _MILLIMETERS
    points[~np.isfinite(points).all(-1)] = np.nan
    for frame, time, row in zip(range(first, first + number), times.tolist(), points, strict=True):
        values = ["" if np.isnan(value) else f"{value:.4f}" for value in row.ravel().tolist()]
        # Readers count fields by the tabs that end them: without the last tab an empty last field would not be there,
        # and where the names of the axes had none pandas, and so Pose2Sim, would take the frames for an index.
        lines.append("\t".join([str(frame), f"{time:.6f}", *values, ""]))
    return "\n".join(lines) + "\n"
