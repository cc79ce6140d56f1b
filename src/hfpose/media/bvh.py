"""BVH, the format of motion capture that Blender and other programs of animation read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hfpose.media.skeleton import SkeletonMotion


def bvh_text(people: Mapping[str, SkeletonMotion], *, frame_rate: float, scale: float = 1.0) -> str:
    """The contents of a BVH file: y up, z toward the camera; rotations in degrees about z, x and y, in this order.

    Args:
        people: each person's motion, all of T frames; what stands before the names of their joints.
        frame_rate: frames per second.
        scale: units of the file in a meter, such as 100 for centimeters.
    """
    lines = ["HIERARCHY"]
    columns = []
    for prefix, motion in people.items():
        lines += _hierarchy(motion, 0, prefix, scale)
        angles = np.stack([_angles(rotations) for rotations in motion.rotations.swapaxes(0, 1)], axis=1)  # (T, J, 3)
        angles = np.unwrap(angles, axis=0, period=360.0)  # so that curves in between are smooth
        columns += [motion.root * scale, angles.reshape(len(angles), -1)]
    rows = np.concatenate(columns, axis=1)
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / frame_rate:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows.tolist()]
    return "\n".join(lines) + "\n"


def _hierarchy(motion: SkeletonMotion, joint: int, prefix: str, scale: float) -> list[str]:
    """The lines of a joint and all below it."""
    is_root = motion.parents[joint] < 0
    places = "Xposition Yposition Zposition " if is_root else ""
    body = [
        _offset(motion.offsets[joint] * scale),
        f"CHANNELS {6 if is_root else 3} {places}Zrotation Xrotation Yrotation",
    ]
    children = motion.children(joint)
    for child in children:
        body += _hierarchy(motion, child, prefix, scale)
    if not children:
        body += ["End Site", "{", "\t" + _offset(motion.tips[joint] * scale), "}"]
    return [
        f"{'ROOT' if is_root else 'JOINT'} {prefix}{motion.names[joint]}",
        "{",
        *(f"\t{line}" for line in body),
        "}",
    ]


def _offset(vector: np.ndarray) -> str:
    return "OFFSET " + " ".join(f"{part:.6f}" for part in vector.tolist())


def _angles(rotations: np.ndarray) -> np.ndarray:
    """Degrees (T, 3) about z, x and y with Rz Rx Ry = `rotations` (T, 3, 3)."""
    x = np.arcsin(np.clip(rotations[:, 2, 1], -1, 1))
    locked = np.abs(rotations[:, 2, 1]) > 1 - 1e-9  # z and y turn about one axis then
    z = np.where(
        locked,
        np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1]),
    )
    y = np.where(locked, 0.0, np.arctan2(-rotations[:, 2, 0], rotations[:, 2, 2]))
    return np.rad2deg(np.stack((z, x, y), axis=-1))
