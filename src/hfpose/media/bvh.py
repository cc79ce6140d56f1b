"""BVH, the format of motion capture that Blender and other programs of animation read.

A skeleton of rigid bones that turn: the rest pose is a T-pose of the track's own median bone lengths, and each frame says
where the root is and how each joint is turned against its parent. Where the bones of a track are as long in every frame, the
file has exactly its keypoints. Keypoints do not tell how a limb is turned about its own length; it is turned as little as
possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hfpose.keypoints import load_schema

# x left, y toward the camera, z up -> x right, y up, z toward the camera: a person who faces the camera looks along z
# and has their left at x, as animation programs have it.
_AXES = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
_EPSILON = 1e-9

_RIGHT, _LEFT = (-1, 0, 0), (1, 0, 0)
_UP, _DOWN, _FORWARD = (0, 1, 0), (0, -1, 0), (0, 0, 1)


@dataclass(frozen=True)
class _Joint:
    """A joint of the skeleton.

    Args:
        parent: name of the parent, None for the root.
        keypoint: where it is.
        rest: direction from the parent to it in rest pose; None where both are in one place. Several bones that leave one
            keypoint turn on their own, so each but the trunk has such a joint at its beginning.
        aim: keypoint that its bone leads to.
        frame: keypoints right and left, and below, that tell the turn of a part of the trunk with three bones.
        end: direction of the tip of the last bone of a limb in rest pose.
    """

    parent: str | None
    keypoint: str
    rest: tuple[int, int, int] | None = None
    aim: str | None = None
    frame: tuple[str, str, str, str] | None = None
    end: tuple[int, int, int] | None = None


def _leg(side: str, out: tuple[int, int, int]) -> dict[str, _Joint]:
    return {
        f"{side}_pelvis": _Joint("root", "root", aim=f"{side}_hip"),
        f"{side}_hip": _Joint(f"{side}_pelvis", f"{side}_hip", out, aim=f"{side}_knee"),
        f"{side}_knee": _Joint(f"{side}_hip", f"{side}_knee", _DOWN, aim=f"{side}_foot"),
        f"{side}_foot": _Joint(f"{side}_knee", f"{side}_foot", _DOWN, end=_FORWARD),
    }


def _arm(side: str, out: tuple[int, int, int]) -> dict[str, _Joint]:
    return {
        f"{side}_collar": _Joint("thorax", "thorax", aim=f"{side}_shoulder"),
        f"{side}_shoulder": _Joint(f"{side}_collar", f"{side}_shoulder", out, aim=f"{side}_elbow"),
        f"{side}_elbow": _Joint(f"{side}_shoulder", f"{side}_elbow", out, aim=f"{side}_wrist"),
        f"{side}_wrist": _Joint(f"{side}_elbow", f"{side}_wrist", out, end=out),
    }


# Parents come before their children, and the children of a joint one after the other, as in the file.
_SKELETON: dict[str, _Joint] = {
    "root": _Joint(None, "root", frame=("right_hip", "left_hip", "root", "spine")),
    **_leg("right", _RIGHT),
    **_leg("left", _LEFT),
    "abdomen": _Joint("root", "root", aim="spine"),
    "spine": _Joint("abdomen", "spine", _UP, aim="thorax"),
    "thorax": _Joint("spine", "thorax", _UP, frame=("right_shoulder", "left_shoulder", "spine", "thorax")),
    "neck": _Joint("thorax", "thorax", aim="neck_base"),
    "neck_base": _Joint("neck", "neck_base", _UP, aim="head"),
    "head": _Joint("neck_base", "head", _UP, end=_UP),
    **_arm("left", _LEFT),
    **_arm("right", _RIGHT),
}
_NAMES = load_schema("h36m").keypoint_names
_INDEX = {name: _NAMES.index(joint.keypoint) for name, joint in _SKELETON.items()}
_CHILDREN = {name: [child for child, joint in _SKELETON.items() if joint.parent == name] for name in _SKELETON}


def bvh_text(keypoints: np.ndarray, *, frame_rate: float) -> str:
    """The contents of a BVH file: meters, y up, z toward the camera; rotations in degrees about z, x and y, in this order.

    Args:
        keypoints: (T, 17, 3) Human3.6M's in meters, in the frame of 3D results. BVH has no gaps: a keypoint that is not
            finite stays where the root saw it last (at the beginning, where it is seen first).
        frame_rate: frames per second.
    """
    points = _held(np.asarray(keypoints, np.float64) @ _AXES.T)
    lengths = _bone_lengths(points)
    lines = ["HIERARCHY", *_hierarchy("root", lengths, 0)]
    lines += ["MOTION", f"Frames: {len(points)}", f"Frame Time: {1 / frame_rate:.8f}"]
    rotations = _rotations(points)
    angles = np.stack([_angles(rotations[name]) for name in _SKELETON], axis=1)  # (T, J, 3)
    angles = np.unwrap(angles, axis=0, period=360.0)  # so that curves in between are smooth
    roots = points[:, _INDEX["root"]]
    for root, turns in zip(roots.tolist(), angles.reshape(len(points), -1).tolist(), strict=True):
        lines.append(" ".join([*(f"{value:.6f}" for value in root), *(f"{value:.4f}" for value in turns)]))
    return "\n".join(lines) + "\n"


def _held(points: np.ndarray) -> np.ndarray:
    """Points (T, 17, 3) with those that are not finite at their last place relative to the root, or at their first one."""
    root = _last_known(points[:, :1])
    held = root + _last_known(points - points[:, :1])
    return np.where(np.isfinite(held), held, root)  # who is never seen is in the root


def _last_known(points: np.ndarray) -> np.ndarray:
    """Points (T, K, 3), each that is not finite replaced by the last one of its kind that is, or the first one."""
    known = np.isfinite(points).all(-1)
    latest = np.maximum.accumulate(np.where(known, np.arange(len(points))[:, None], -1))
    latest = np.where(latest < 0, known.argmax(0), latest)
    return np.take_along_axis(points, latest[..., None], 0)


def _bone_lengths(points: np.ndarray) -> dict[str, float]:
    """Median length of the bone that ends in each joint; 0 for joints in the place of their parent."""
    return {
        name: float(np.median(np.linalg.norm(points[:, _INDEX[name]] - points[:, _INDEX[joint.parent]], axis=-1)))
        if joint.parent is not None
        else 0.0
        for name, joint in _SKELETON.items()
    }


def _hierarchy(name: str, lengths: dict[str, float], depth: int) -> list[str]:
    """The lines of a joint and all below it."""
    joint, indent = _SKELETON[name], "\t" * depth
    places = "Xposition Yposition Zposition " if joint.parent is None else ""
    body = [
        _offset(joint.rest, lengths[name]),
        f"CHANNELS {6 if places else 3} {places}Zrotation Xrotation Yrotation",
    ]
    for child in _CHILDREN[name]:
        body += _hierarchy(child, lengths, 1)
    if joint.end is not None:
        body += ["End Site", "{", "\t" + _offset(joint.end, lengths[name] / 2), "}"]
    kind = "ROOT" if joint.parent is None else "JOINT"
    lines = [f"{kind} {name}", "{", *(f"\t{line}" for line in body), "}"]
    return [indent + line for line in lines] if depth == 0 else lines


def _offset(direction: tuple[int, int, int] | None, length: float) -> str:
    return "OFFSET " + " ".join(f"{part * length:.6f}" for part in direction or (0, 0, 0))


def _rotations(points: np.ndarray) -> dict[str, np.ndarray]:
    """Rotation (T, 3, 3) of each joint against its parent."""
    upright = np.broadcast_to(np.eye(3), (len(points), 3, 3))
    whole: dict[str, np.ndarray] = {}
    local: dict[str, np.ndarray] = {}
    for name, joint in _SKELETON.items():
        parent = upright if joint.parent is None else whole[joint.parent]
        if joint.frame is not None:
            right, left, low, high = (points[:, _NAMES.index(keypoint)] for keypoint in joint.frame)
            whole[name] = _frames(left - right, high - low, parent)
        elif joint.aim is not None:
            (child,) = _CHILDREN[name]
            rest = np.array(_SKELETON[child].rest, np.float64)
            bone = points[:, _NAMES.index(joint.aim)] - points[:, _INDEX[name]]
            whole[name] = parent @ _shortest_turns(rest, (parent.transpose(0, 2, 1) @ bone[..., None])[..., 0])
        else:
            whole[name] = parent
        local[name] = parent.transpose(0, 2, 1) @ whole[name]
    return local


def _frames(across: np.ndarray, up: np.ndarray, default: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) whose x axis is `across` (T, 3) and whose y axis is near `up`; `default` where these are parallel."""
    x = across / np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), _EPSILON)
    z = np.cross(x, up)
    size = np.linalg.norm(z, axis=-1, keepdims=True)
    z = z / np.maximum(size, _EPSILON)
    return np.where(size[..., None] > _EPSILON, np.stack((x, np.cross(z, x), z), axis=-1), default)


def _shortest_turns(start: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """The least rotations (T, 3, 3) that bring the unit vector `start` (3,) to the direction of `vectors` (T, 3)."""
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    goal = np.where(size > _EPSILON, vectors / np.maximum(size, _EPSILON), start)
    cosine = (goal @ start)[:, None, None]
    axis = np.cross(start, goal)
    zero = np.zeros(len(axis))
    x, y, z = axis.T
    cross = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1).reshape(-1, 3, 3)
    turns = np.eye(3) + cross + cross @ cross / np.maximum(1 + cosine, _EPSILON)
    # Half a turn, about any axis across.
    side = np.roll(start, 1)
    half = 2 * np.outer(side, side) - np.eye(3)
    return np.where(cosine > -1 + 1e-7, turns, half)


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
