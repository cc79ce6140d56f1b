"""OpenPose's JSON, of people with hands and face.

Source: OpenPose (Cao et al., 2019, https://arxiv.org/abs/1812.08008), `doc/02_output.md`; for the points that OpenPose
has and COCO-WholeBody has not, what DWPose writes for ControlNets.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, load_schema
from hfpose.results import PoseOutput

_PARTS = ("pose", "face", "hand_left", "hand_right")
_FOOT = ("big_toe", "small_toe", "heel")
# Names of a point of OpenPose in our schemas, and the points that it lies between where a schema has none of them.
_OTHER_NAMES = {"mid_hip": ("hip", "pelvis")}
_BETWEEN = {"mid_hip": ("left_hip", "right_hip"), "neck": ("left_shoulder", "right_shoulder")}


def points_2d(output: PoseOutput) -> np.ndarray:
    """(N, K, 3) pixel coordinates and scores, without anything that is not finite.

    Raises:
        InputError: if there are only 3D keypoints.
    """
    points = output.keypoints if output.keypoints_2d is None else output.keypoints_2d
    if points.shape[2] != 2:
        raise InputError("This format holds 2D keypoints, the results are 3D only: write them as JSON or CSV.")
    return np.nan_to_num(np.concatenate([points, output.keypoint_scores[:, :, None]], axis=2))


def openpose_json(output: PoseOutput, canvas_size: tuple[int, int] | None = None) -> str:
    """People in OpenPose's format.

    The body has the 25 points of BODY_25 where the schema has feet, else the 18 of OpenPose's COCO model. Neck and
    middle of the hips lie between shoulders and hips where the schema has none. The face has 70 points, the last two
    of which are the pupils; hands have 21 each. Points that a schema does not have are 0, 0, 0, as OpenPose writes
    points that it does not see. `canvas_width` and `canvas_height` are the size of the image; a frame of a video has
    its `timestamp` in seconds, and people where it is known whether they are `interpolated`.

    Args:
        output: with 2D keypoints.
        canvas_size: for ControlNets and their editors: width and height that keypoints are scaled to. The body has 18
            points then, as they take it.

    Raises:
        InputError: if there are only 3D keypoints, none that OpenPose knows, or a canvas for an image of unknown size.
    """
    points = points_2d(output)
    if canvas_size is not None:
        if output.image_size is None:
            raise InputError(
                "The size of the image is not known, so its keypoints cannot be brought to a canvas' size."
            )
        points[..., :2] *= np.array(canvas_size, points.dtype) / np.array(output.image_size, points.dtype)
    parts = openpose_parts(output.schema, points, with_feet=canvas_size is None) if len(points) else {}
    people = []
    for i in range(len(points)):
        person: dict[str, Any] = {"person_id": [-1 if output.track_ids is None else int(output.track_ids[i])]}
        for part in _PARTS:
            person[f"{part}_keypoints_2d"] = parts[part][i].ravel().tolist() if part in parts else []
        for part in _PARTS:
            person[f"{part}_keypoints_3d"] = []
        if output.interpolated is not None:
            person["interpolated"] = bool(output.interpolated[i])
        people.append(person)
    content: dict[str, Any] = {"version": 1.3, "people": people}
    size = canvas_size or output.image_size
    if output.timestamp is not None:
        content["timestamp"] = output.timestamp
    if size is not None:
        content |= {"canvas_width": int(size[0]), "canvas_height": int(size[1])}
    return json.dumps(content, allow_nan=False)


def openpose_parts(schema: KeypointSchema | None, points: np.ndarray, with_feet: bool = True) -> dict[str, np.ndarray]:
    """Points (N, K, 3), x, y and score, by part of the body, each (N, K of that part, 3) in OpenPose's order;
    with the 25 points of BODY_25 where the schema has feet and `with_feet`.

    Raises:
        InputError: if the schema is unknown or has no part that OpenPose knows.
    """
    index = {name: i for i, name in enumerate(schema.keypoint_names if schema else ())}
    wholebody = load_schema("coco_wholebody").keypoint_names
    has_feet = with_feet and not index.keys().isdisjoint(_feet())
    wanted: dict[str, Sequence[str]] = {
        "pose": _body_25() if has_feet else load_schema("coco_openpose").keypoint_names,
        "face": [name for name in wholebody if name.startswith("face-")],
        "hand_left": _from(wholebody, "left_hand_root", 21),
        "hand_right": _from(wholebody, "right_hand_root", 21),
    }
    known = {part: names for part, names in wanted.items() if not index.keys().isdisjoint(names)}
    if not known:
        raise InputError(
            f"OpenPose's format holds people; the keypoints of schema {schema.name if schema else None!r} have none "
            "of its points. Write them as JSON or CSV."
        )
    if "face" in known:
        known["face"] = [*known["face"], "right_eye", "left_eye"]  # the pupils
    return {part: _pick(points, index, names) for part, names in known.items()}


def _feet() -> list[str]:
    return [f"{side}_{name}" for side in ("left", "right") for name in _FOOT]


def _body_25() -> list[str]:
    """BODY_25 is the COCO model with a point between the hips, and feet."""
    coco = load_schema("coco_openpose").keypoint_names
    hips = coco.index("right_hip")
    return [*coco[:hips], "mid_hip", *coco[hips:], *_feet()]


def _from(names: Sequence[str], first: str, count: int) -> Sequence[str]:
    start = names.index(first)
    return names[start : start + count]


def _pick(points: np.ndarray, index: dict[str, int], names: Sequence[str]) -> np.ndarray:
    """Points (N, len(names), 3) by name; zeros where there is none."""
    picked = np.zeros((len(points), len(names), 3), points.dtype)
    for column, name in enumerate(names):
        found = next((each for each in (name, *_OTHER_NAMES.get(name, ())) if each in index), None)
        if found is not None:
            picked[:, column] = points[:, index[found]]
        elif name in _BETWEEN and index.keys() >= set(_BETWEEN[name]):
            ends = points[:, [index[end] for end in _BETWEEN[name]]]
            picked[:, column, :2] = ends[:, :, :2].mean(axis=1)
            picked[:, column, 2] = ends[:, :, 2].min(axis=1)
    return picked
