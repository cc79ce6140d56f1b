"""The axes of 3D keypoints."""

from typing import Literal, get_args

import numpy as np

from hfpose.errors import InputError

Axes = Literal["world", "camera", "mmpose"]
"""`"world"`: x left, y toward the camera, z up. `"camera"`: x right, y down, z away from the camera. Both are
right-handed. `"mmpose"`: x left, y away from the camera, z up, in which people are mirror images, as in the
reference's results."""


def turn_axes(keypoints: np.ndarray, axes: str) -> np.ndarray:
    """Keypoints (..., 3) in the camera's axes turned to `axes`.

    Raises:
        InputError: for axes that are not known.
    """
    if axes not in get_args(Axes):
        raise InputError(f"axes must be one of {', '.join(get_args(Axes))}, got {axes!r}.")
    if axes == "camera":
        return keypoints
    depth = 1 if axes == "mmpose" else -1
    return keypoints[..., [0, 2, 1]] * np.array([-1, depth, -1], np.float32)


def to_world(keypoints: np.ndarray, axes: str | None) -> np.ndarray:
    """Keypoints (..., 3) in `axes` turned to the axes `"world"`; where they are not known (None) they are taken for
    these."""
    if axes == "mmpose":
        return keypoints * np.array([1, -1, 1], np.float32)
    return turn_axes(keypoints, "world") if axes == "camera" else keypoints
