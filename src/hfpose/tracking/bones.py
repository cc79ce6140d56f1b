"""Bones that are as long in every frame of a clip, and left as right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hfpose.keypoints import KeypointSchema
from hfpose.results import PoseOutput
from hfpose.tracking.filters import Places, change_tracks, values_at


def constant_bones(keypoints: np.ndarray, schema: KeypointSchema) -> np.ndarray:
    """Keypoints (T, K, 3) whose bones have the directions that they had and the median of their lengths over the clip.

    Args:
        keypoints: meters; what is not finite stays so, as all that hangs on it.
        schema: with a keypoint `root` that its skeleton leads to all others from.
    """
    lengths_of, placed = {}, keypoints.copy()
    bones = _bones(schema)
    for parent, child in bones:
        bone = np.linalg.norm(keypoints[:, child] - keypoints[:, parent], axis=-1)
        lengths_of[child] = float(np.median(bone[np.isfinite(bone)])) if np.isfinite(bone).any() else np.nan
    flips = schema.required_flip_indices()
    for parent, child in bones:
        bone = keypoints[:, child] - keypoints[:, parent]
        length = (lengths_of[child] + lengths_of[flips[child]]) / 2
        size = np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-9)
        placed[:, child] = placed[:, parent] + bone / size * length
    return placed


def with_constant_bones(outputs: Sequence[PoseOutput]) -> list[PoseOutput]:
    """The frames of a clip with `constant_bones` for each identity."""

    def poses(places: Places) -> np.ndarray:
        schema = outputs[places[0][0]].schema
        assert schema is not None  # see `TemporalLifter`
        return constant_bones(values_at(outputs, places, "keypoints"), schema)

    return change_tracks(outputs, poses)


def _bones(schema: KeypointSchema) -> list[tuple[int, int]]:
    """Parent and child of each bone, parents before their children."""
    bones: list[tuple[int, int]] = []
    reached = [schema.index("root")]
    for parent in reached:
        for link in schema.skeleton:
            if parent in link and (child := link[link[0] == parent]) not in reached:
                bones.append((parent, child))
                reached.append(child)
    return bones
