"""A skeleton of rigid bones that turn: what BVH and glTF hold of a motion.

The rest pose is a T-pose of the clip's own median bone lengths, left and right alike, and each frame says where the
root is and how each joint is turned against its parent. Where the bones of a clip are as long in every frame, the
joints are exactly where its keypoints are. Keypoints do not tell how a limb is turned about its own length; it is
turned as little as possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

JointNames = Literal["humanik", "h36m", "mixamo"]
# x left, y toward the camera, z up -> x right, y up, z toward the camera: a person who faces the camera looks along z
# and has their left at x, as animation programs have it.
_AXES = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]])
_EPSILON = 1e-9

Direction = tuple[float, float, float]
_RIGHT, _LEFT = (-1.0, 0.0, 0.0), (1.0, 0.0, 0.0)
_UP, _DOWN, _FORWARD = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class _Joint:
    """A joint of the skeleton.

    Args:
        parent: name of the parent, None for the root.
        keypoint: where it is.
        rest: direction from the parent to it in rest pose; None where it stays put beside its parent, as hips and the
            bases of fingers do. Several bones that leave one keypoint turn on their own, so they have a joint at their
            beginning.
        aim: keypoint that its bone leads to.
        across: keypoints along x, for a joint with several bones that do not turn on their own.
        up, forward: keypoints near y or z for it.
        end: direction of the tip of the last bone of a limb in rest pose.
        humanik: its name in HumanIK.
    """

    parent: str | None
    keypoint: str
    humanik: str
    rest: Direction | None = None
    aim: str | None = None
    across: tuple[str, str] | None = None
    up: tuple[str, str] | None = None
    forward: tuple[str, str] | None = None
    end: Direction | None = None


_FINGERS = {
    "thumb": "Thumb",
    "forefinger": "Index",
    "middle_finger": "Middle",
    "ring_finger": "Ring",
    "pinky_finger": "Pinky",
}


def _leg(side: str) -> dict[str, _Joint]:
    name = side.title()
    return {
        f"{side}_hip": _Joint("root", f"{side}_hip", f"{name}UpLeg", aim=f"{side}_knee"),
        f"{side}_knee": _Joint(f"{side}_hip", f"{side}_knee", f"{name}Leg", _DOWN, aim=f"{side}_foot"),
        f"{side}_foot": _Joint(
            f"{side}_knee", f"{side}_foot", f"{name}Foot", _DOWN, aim=f"{side}_big_toe", end=_FORWARD
        ),
        f"{side}_big_toe": _Joint(f"{side}_foot", f"{side}_big_toe", f"{name}ToeBase", _FORWARD, end=_FORWARD),
    }


def _arm(side: str, out: Direction) -> dict[str, _Joint]:
    name, hand = side.title(), (f"{side}_wrist", f"{side}_middle_finger1")
    return {
        f"{side}_collar": _Joint("thorax", "thorax", f"{name}Shoulder", aim=f"{side}_shoulder"),
        f"{side}_shoulder": _Joint(f"{side}_collar", f"{side}_shoulder", f"{name}Arm", out, aim=f"{side}_elbow"),
        f"{side}_elbow": _Joint(f"{side}_shoulder", f"{side}_elbow", f"{name}ForeArm", out, aim=f"{side}_wrist"),
        f"{side}_wrist": _Joint(
            f"{side}_elbow",
            f"{side}_wrist",
            f"{name}Hand",
            out,
            across=hand if out == _LEFT else hand[::-1],
            forward=(f"{side}_pinky_finger1", f"{side}_forefinger1"),
            end=out,
        ),
    }


def _fingers(side: str, out: Direction) -> dict[str, _Joint]:
    joints = {}
    for finger, humanik in _FINGERS.items():
        for number in (1, 2, 3, 4):
            joints[f"{side}_{finger}{number}"] = _Joint(
                f"{side}_wrist" if number == 1 else f"{side}_{finger}{number - 1}",
                f"{side}_{finger}{number}",
                f"{side.title()}Hand{humanik}{number}",
                rest=None if number == 1 else out,
                aim=f"{side}_{finger}{number + 1}",
                end=out,
            )
    return joints


# Parents come before their children, and the children of a joint one after the other, as in a BVH file.
_JOINTS: dict[str, _Joint] = {
    "root": _Joint(None, "root", "Hips", across=("right_hip", "left_hip"), up=("root", "spine")),
    **_leg("right"),
    **_leg("left"),
    "abdomen": _Joint("root", "root", "Spine", aim="spine"),
    "spine": _Joint("abdomen", "spine", "Spine1", _UP, aim="thorax"),
    "thorax": _Joint(
        "spine", "thorax", "Spine2", _UP, across=("right_shoulder", "left_shoulder"), up=("spine", "thorax")
    ),
    "neck": _Joint("thorax", "thorax", "Neck", aim="neck_base"),
    "neck_base": _Joint("neck", "neck_base", "Head", _UP, aim="head"),
    "head": _Joint("neck_base", "head", "HeadTop_End", _UP, end=_UP),
    **_arm("left", _LEFT),
    **_fingers("left", _LEFT),
    **_arm("right", _RIGHT),
    **_fingers("right", _RIGHT),
}


@dataclass(frozen=True)
class SkeletonMotion:
    """A skeleton of J joints over T frames. Meters, x left of the person, y up, z forward; parents before their
    children.

    Args:
        parents: number of each joint's parent, -1 for the root.
        offsets: (J, 3) from the parent in rest pose.
        tips: (J, 3) from a last joint to the end of its bone, 0 where there is none.
        root: (T, 3) where the root is.
        rotations: (T, J, 3, 3) of each joint against its parent.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    tips: np.ndarray
    root: np.ndarray
    rotations: np.ndarray

    def children(self, joint: int) -> list[int]:
        """Indices of the joints whose parent is `joint`."""
        return [child for child, parent in enumerate(self.parents) if parent == joint]


def skeleton_motion(keypoints: np.ndarray, keypoint_names: Sequence[str], names: JointNames) -> SkeletonMotion:
    """A motion of keypoints as one of bones.

    Args:
        keypoints: (T, P, 3) meters in the axes of 3D results; Human3.6M's and where known toes and fingers. A keypoint
            that is not finite stays where the root saw it last (at the beginning, where it is seen first).
        keypoint_names: of the P keypoints, see `hfpose.keypoints.human36m.body_points`.
        names: what joints are called: as HumanIK or Mixamo has them, or as Human3.6M's keypoints.
    """
    places = {name: index for index, name in enumerate(keypoint_names)}
    joints = {name: joint for name, joint in _JOINTS.items() if joint.keypoint in places}
    given = np.asarray(keypoints, np.float64) @ _AXES.T
    points, known = hold(given), np.isfinite(given).all(-1)
    at = {name: points[:, index] for name, index in places.items()}
    whole = _rotations(joints, at)
    order = {name: index for index, name in enumerate(joints)}
    parents = tuple(-1 if joint.parent is None else order[joint.parent] for joint in joints.values())
    upright = np.broadcast_to(np.eye(3), whole["root"].shape)
    local = [
        (upright if joint.parent is None else whole[joint.parent]).transpose(0, 2, 1) @ whole[name]
        for name, joint in joints.items()
    ]
    offsets = _offsets(joints, at, {name: known[:, index] for name, index in places.items()}, whole)
    return SkeletonMotion(
        names=tuple(_joint_name(name, names) for name in joints),
        parents=parents,
        offsets=np.stack(list(offsets.values())),
        tips=np.stack(
            [
                np.array(joint.end or (0, 0, 0)) * np.linalg.norm(offsets[name]) / 2
                if index not in parents
                else np.zeros(3)
                for index, (name, joint) in enumerate(joints.items())
            ]
        ),
        root=at["root"],
        rotations=np.stack(local, axis=1),
    )


def _joint_name(name: str, names: JointNames) -> str:
    if names == "h36m":
        return name
    return ("mixamorig:" if names == "mixamo" else "") + _JOINTS[name].humanik


def hold(points: np.ndarray) -> np.ndarray:
    """Points (T, P, 3) with those that are not finite at their last place relative to the root, or at their first
    one."""
    root = _last_known(points[:, :1])
    held = root + _last_known(points - points[:, :1])
    return np.where(np.isfinite(held), held, root)  # who is never seen is in the root


def _last_known(points: np.ndarray) -> np.ndarray:
    """Points (T, K, 3), each that is not finite replaced by the last one of its kind that is, or the first one."""
    known = np.isfinite(points).all(-1)
    latest = np.maximum.accumulate(np.where(known, np.arange(len(points))[:, None], -1))
    latest = np.where(latest < 0, known.argmax(0), latest)
    return np.take_along_axis(points, latest[..., None], 0)


def _offsets(
    joints: dict[str, _Joint], at: dict[str, np.ndarray], known: dict[str, np.ndarray], whole: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Where each joint (3,) is in the rest pose, from its parent; the median over time and of left and right, of
    frames in which both ends are known. A bone that is never seen is as on the other side."""
    offsets, seen = {}, {}
    for name, joint in joints.items():
        parent = name if joint.parent is None else joint.parent
        start, end = joints[parent].keypoint, joint.keypoint
        frames = known[start] & known[end]
        seen[name] = frames.any()
        frames |= not seen[name]
        bone = (at[end] - at[start])[frames]
        if joint.rest is None:
            offsets[name] = np.median((whole[parent][frames].transpose(0, 2, 1) @ bone[..., None])[..., 0], axis=0)
        else:
            offsets[name] = np.array(joint.rest) * np.median(np.linalg.norm(bone, axis=-1))
    mirror = np.array([-1.0, 1, 1])
    result = {}
    for name, offset in offsets.items():
        other = name.replace("left", "right") if "left" in name else name.replace("right", "left")
        sides = np.stack((offset, offset if other == name else mirror * offsets[other]))
        result[name] = sides[[seen[name], seen[other]]].mean(0) if seen[name] or seen[other] else sides.mean(0)
    return result


def _rotations(joints: dict[str, _Joint], at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rotation (T, 3, 3) of each joint against the rest pose."""
    whole: dict[str, np.ndarray] = {}
    for name, joint in joints.items():
        parent = np.broadcast_to(np.eye(3), (len(at["root"]), 3, 3)) if joint.parent is None else whole[joint.parent]
        if joint.across is not None and set(joint.across) <= set(at):
            start, end = joint.across
            low, high = joint.up or joint.forward or joint.across
            second = at[high] - at[low]
            x = at[end] - at[start]
            whole[name] = _frames(x, second if joint.up else np.cross(second, x), parent)
        elif joint.aim is not None and joint.aim in at:
            child = next(child for child in joints.values() if child.parent == name and child.keypoint == joint.aim)
            bone = at[joint.aim] - at[joint.keypoint]
            local = (parent.transpose(0, 2, 1) @ bone[..., None])[..., 0]
            whole[name] = parent @ _shortest_turns(np.array(child.rest), local)
        else:
            whole[name] = parent
    return whole


def _frames(across: np.ndarray, up: np.ndarray, default: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) whose x axis is `across` (T, 3) and whose y axis is near `up`; `default` where these are
    parallel."""
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
