"""People who were lifted over a clip, set on the ground and, where asked, to their places before the camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema
from hfpose.ops.foot_contacts import hold_feet, lock_feet
from hfpose.results import PoseOutput
from hfpose.tracking.filters import Places, change_tracks, values_at
from hfpose.tracking.root_motion import even_size, fit_ground, root_places

Ground = Literal["clip", "frame"]
Root = Literal["none", "planar", "camera"]
# Share of the stature that thigh, shank and trunk (from the middle of the hips to that of the shoulders) make
# together. Source: Drillis and Contini, 1966, as in Winter, "Biomechanics and Motor Control of Human Movement".
_LEG_AND_TRUNK = 0.779
# Degrees that the longer side of an image spans where nothing is known of the camera.
_FIELD_OF_VIEW = 55.0


@dataclass(frozen=True)
class Placing:
    """Where people are put, see `LiftingOptions`.

    Raises:
        InputError: for values that are not known, or a focal length and a field of view at once.
    """

    ground: Ground | None = "clip"
    root: Root = "none"
    height: float | None = None
    focal_length: float | None = None
    field_of_view: float | None = None

    def __post_init__(self) -> None:
        if self.ground not in (None, *get_args(Ground)):
            raise InputError(f"ground must be 'clip', 'frame' or None, got {self.ground!r}.")
        if self.root not in get_args(Root):
            raise InputError(f"root must be one of {', '.join(get_args(Root))}, got {self.root!r}.")
        if self.focal_length is not None and self.field_of_view is not None:
            raise InputError("Give the focal length of the camera or its field of view, not both.")
        if any(value is not None and value <= 0 for value in (self.height, self.focal_length, self.field_of_view)):
            raise InputError("height, focal_length and field_of_view must be above 0.")

    def pixels(self, image_size: tuple[int, int]) -> float:
        """The focal length in pixels."""
        if self.focal_length is not None:
            return self.focal_length
        if self.field_of_view is not None:
            return image_size[0] / 2 / math.tan(math.radians(self.field_of_view) / 2)
        return max(image_size) / 2 / math.tan(math.radians(_FIELD_OF_VIEW) / 2)


def place_frame(output: PoseOutput, placing: Placing) -> PoseOutput:
    """The people of a frame, each by themselves: with `ground` their lowest keypoint has height 0."""
    if placing.ground is None or not output.num_instances:
        return output
    lowest = output.keypoints[..., 2].min(1, keepdims=True)
    return replace(output, keypoints=output.keypoints - lowest[..., None] * np.array([0, 0, 1], np.float32))


def place_clip(outputs: Sequence[PoseOutput], times: np.ndarray, placing: Placing) -> list[PoseOutput]:
    """The people of a clip; who has no identity is placed in each frame for itself.

    Args:
        outputs: T results with keypoints (N, 17, 3) relative to the root, in the axes `"world"`, and `keypoints_2d`.
        times: (T,) seconds.
    """
    alone = [place_frame(output, placing) for output in outputs]
    if placing.root == "none" and placing.ground != "clip":
        return alone

    def poses(places: Places) -> np.ndarray:
        index = [i for i, _ in places]
        keypoints, pixels, scores = (
            values_at(outputs, places, name) for name in ("keypoints", "keypoints_2d", "keypoint_scores")
        )
        first = outputs[index[0]]
        assert first.schema is not None and first.image_size is not None  # see `TemporalLifter`
        return _placed(keypoints, pixels, scores, times[index], first.schema, first.image_size, placing)

    # Without a place in space, who has no identity stands over the origin, as `place_frame` leaves them.
    return change_tracks(alone, poses, untracked=placing.root != "none")


def _placed(
    poses: np.ndarray,
    pixels: np.ndarray,
    scores: np.ndarray,
    times: np.ndarray,
    schema: KeypointSchema,
    image_size: tuple[int, int],
    placing: Placing,
) -> np.ndarray:
    """Keypoints (T, K, 3) of one person, upright on their ground unless they are relative to the camera."""
    root = schema.index("root")
    even = even_size(poses - poses[:, root, None], np.array(schema.skeleton), times)
    if placing.height is not None:
        even *= placing.height / _stature(even, schema)
    places = root_places(even, pixels, scores, times, placing.pixels(image_size), np.array(image_size) / 2)
    there = places[:, None] + even
    legs = [[schema.index(f"{side}_{joint}") for joint in ("hip", "knee", "foot")] for side in ("left", "right")]
    feet = [leg[-1] for leg in legs]
    plane = fit_ground(there[:, feet])
    turn = _upright(plane.up)
    upright = there @ turn.T
    height = (turn @ (0, 0, plane.height))[2]
    if placing.root == "none":
        upright -= upright[:, :1] * (1, 1, 0)
    else:
        shift, contacts = lock_feet(upright[:, feet] - (0, 0, height), times)
        upright[..., :2] += shift[:, None]
        upright[:, legs] = hold_feet(upright[:, legs], contacts, times)
    if placing.root == "camera":
        return upright @ turn
    if placing.ground == "clip":
        upright[..., 2] -= height
    elif placing.ground == "frame":
        upright[..., 2] -= upright[..., 2].min(1, keepdims=True)
    return upright


def _stature(poses: np.ndarray, schema: KeypointSchema) -> float:
    """Meters of a person over keypoints (T, K, 3), from legs and trunk."""

    def length(*chain: str) -> float:
        joints = poses[:, [schema.index(name) for name in chain]]
        return float(np.median(np.linalg.norm(np.diff(joints, axis=1), axis=-1).sum(1)))

    legs = [length(f"{side}_hip", f"{side}_knee", f"{side}_foot") for side in ("left", "right")]
    return (sum(legs) / 2 + length("root", "spine", "thorax")) / _LEG_AND_TRUNK


def _upright(up: np.ndarray) -> np.ndarray:
    """The least rotation (3, 3) that brings the unit vector `up`, which points up roughly, to z."""
    x, y, z = up
    return np.array(
        [
            [1 - x * x / (1 + z), -x * y / (1 + z), -x],
            [-x * y / (1 + z), 1 - y * y / (1 + z), -y],
            [x, y, z],
        ]
    )
