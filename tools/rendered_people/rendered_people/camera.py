"""A pinhole camera above a flat ground.

The world's axes: x to the right, y away from the camera, z up, meters; the ground is z = 0 and the camera stands at
x = y = 0. The camera's axes: x right, y down, z forward. A figure that heads in the direction 0 looks at the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rendered_people.anatomy import rotation

# World to camera when the camera looks straight along y.
_LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
# Camera to the frame of 3D joints: x left, y toward the camera, z up.
_TO_JOINTS = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])


@dataclass(frozen=True, eq=False)
class Camera:
    """Where the camera is and what it sees.

    Args:
        width, height: of the image in pixels.
        focal: focal length in pixels.
        elevation: height over the ground in meters.
        pitch: degrees it looks down.
        roll: degrees it is turned about its own axis.
    """

    width: int
    height: int
    focal: float
    elevation: float
    pitch: float = 0.0
    roll: float = 0.0

    @cached_property
    def center(self) -> np.ndarray:
        """(2,) pixel that the camera's axis meets; pixel centers are at integers."""
        return np.array([(self.width - 1) / 2, (self.height - 1) / 2])

    @cached_property
    def rotation(self) -> np.ndarray:
        """(3, 3) world to camera."""
        return camera_rotation(self.pitch, self.roll)

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera's frame."""
        return (points - (0, 0, self.elevation)) @ self.rotation.T

    def project(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) in the camera's frame, all before the camera."""
        return points[..., :2] / points[..., 2:] * self.focal + self.center

    def ground_point(self, u: float, distance: float) -> np.ndarray:
        """(3,) point of the ground `distance` meters away that is seen in column `u` of a camera without roll."""
        depth = distance * np.cos(np.deg2rad(self.pitch)) + self.elevation * np.sin(np.deg2rad(self.pitch))
        return np.array([(u - self.center[0]) / self.focal * depth, distance, 0.0])

    def project_world(self, points: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of world points (..., 3); those behind the camera are brought just before it."""
        camera = self.to_camera(np.asarray(points, float))
        camera[..., 2] = np.maximum(camera[..., 2], 0.05)
        return self.project(camera)


def camera_rotation(pitch: np.ndarray | float, roll: np.ndarray | float) -> np.ndarray:
    """World to camera (..., 3, 3) of cameras that look `pitch` degrees down and are turned `roll` degrees."""
    return rotation(2, roll) @ rotation(0, pitch) @ _LEVEL


def to_joint_frame(points: np.ndarray) -> np.ndarray:
    """Camera points (..., 3) in the frame of 3D joints: x left, y toward the camera, z up as in the image."""
    return points @ _TO_JOINTS.T


def from_joint_frame(points: np.ndarray) -> np.ndarray:
    """The inverse of `to_joint_frame`."""
    return points @ _TO_JOINTS
