"""2D keypoints of other data sets as Human3.6M's 17, which lifters take.

Source: `mmpose.apis.inference_3d.convert_keypoint_definition` for COCO, PoseTrack18, AI Challenger and CrowdPose.
For Halpe, which it does not know, the rule of MotionBERT's authors (`halpe2h36m` of their `dataset_wild.py`); MPII has
a keypoint of its own for every one of Human3.6M's but the spine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np

from hfpose.errors import ConfigError
from hfpose.keypoints.library import load_schema
from hfpose.keypoints.schema import KeypointSchema

# A keypoint of Human3.6M as the weighted mean of others: {name: weight}, or one name for that keypoint itself.
Recipe = Mapping[str, "str | Mapping[str, float]"]

_JOINTS = {name: name for name in ("hip", "knee", "shoulder", "elbow", "wrist")} | {"foot": "ankle"}
_LIMBS = {f"{side}_{name}": f"{side}_{other}" for side in ("left", "right") for name, other in _JOINTS.items()}
_TRUNK_FROM_LIMBS = {
    "root": {"left_hip": 0.5, "right_hip": 0.5},
    "spine": {"left_hip": 0.25, "right_hip": 0.25, "left_shoulder": 0.25, "right_shoulder": 0.25},
    "thorax": {"left_shoulder": 0.5, "right_shoulder": 0.5},
}


def _head_from_neck(neck: str, top: str) -> Recipe:
    """The base of the neck and the middle of the head lie 1/4 and 7/12 of the way from `neck` to `top`."""
    return {"neck_base": {neck: 3 / 4, top: 1 / 4}, "head": {neck: 5 / 12, top: 7 / 12}}


_COCO: Recipe = {**_LIMBS, **_TRUNK_FROM_LIMBS, "neck_base": "nose", "head": {"left_eye": 0.5, "right_eye": 0.5}}
_HALPE: Recipe = {
    **_LIMBS,
    "root": "hip",
    "spine": {"hip": 0.5, "neck": 0.5},
    "thorax": "neck",
    "neck_base": "nose",
    "head": "head",
}
_RECIPES: dict[str, Recipe] = {
    "coco": _COCO,
    "humanart": _COCO,
    "coco_wholebody": _COCO,
    "halpe26": _HALPE,
    "halpe": _HALPE,
    "posetrack18": {**_COCO, "head": {"head_bottom": 0.5, "head_top": 0.5}},
    "aic": {**_LIMBS, **_TRUNK_FROM_LIMBS, **_head_from_neck("neck", "head_top")},
    "crowdpose": {**_LIMBS, **_TRUNK_FROM_LIMBS, **_head_from_neck("neck", "top_head")},
    "mpii": {
        **_LIMBS,
        "root": "pelvis",
        "spine": {"pelvis": 0.5, "thorax": 0.5},
        "thorax": "thorax",
        "neck_base": "upper_neck",
        "head": "head_top",
    },
}


def keypoints_to_h36m(
    keypoints: np.ndarray, keypoint_scores: np.ndarray | None, schema: KeypointSchema | str
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (..., K, D) of `schema` as Human3.6M's (..., 17, D), and their scores (..., 17).

    A score is that of the least certain keypoint that takes part; without scores it is 1. Where a keypoint that takes
    part is not finite the converted one is NaN.

    Raises:
        ConfigError: if it is unknown how the keypoints of `schema` become Human3.6M's.
    """
    schema = load_schema(schema) if isinstance(schema, str) else schema
    name = _known_name(schema)
    weights = _weights(name)
    if keypoints.shape[-2] != weights.shape[1]:
        raise ConfigError(
            f"Schema {schema.name!r} has {weights.shape[1]} keypoints, but keypoints has {keypoints.shape[-2]} "
            f"(its shape is {keypoints.shape})."
        )
    if name == "h36m" and keypoint_scores is not None:
        return keypoints, keypoint_scores
    missing = ~np.isfinite(keypoints).all(-1)
    if missing.any():
        keypoints = np.where(missing[..., None], 0, keypoints)
    converted = (weights @ keypoints).astype(keypoints.dtype, copy=False)
    if missing.any():
        converted[(missing[..., None, :] & (weights > 0)).any(-1)] = np.nan
    if keypoint_scores is None:
        return converted, np.ones(converted.shape[:-1], np.float32)
    taking_part = np.where(weights > 0, keypoint_scores[..., None, :], np.inf)
    return converted, taking_part.min(-1).astype(keypoint_scores.dtype, copy=False)


def body_points(keypoints: np.ndarray, schema: KeypointSchema) -> tuple[tuple[str, ...], np.ndarray]:
    """Human3.6M's 17 keypoints, then those of `schema` that are none of them: feet, face, hands.

    Args:
        keypoints: (..., K, D).

    Returns:
        P names, and points (..., P, D); what is not known is NaN.

    Raises:
        ConfigError: see `keypoints_to_h36m`.
    """
    same = {recipe for recipe in _recipes(schema).values() if isinstance(recipe, str)}
    others = [index for index, name in enumerate(schema.keypoint_names) if name not in same]
    body, _ = keypoints_to_h36m(keypoints, None, schema)
    names = (*load_schema("h36m").keypoint_names, *(schema.keypoint_names[index] for index in others))
    return names, np.concatenate((body, keypoints[..., others, :]), axis=-2)


def own_joints(schema: KeypointSchema) -> set[str]:
    """Human3.6M's keypoints that `schema` has itself, so that they are not means of others."""
    return {name for name, recipe in _recipes(schema).items() if isinstance(recipe, str)}


def _recipes(schema: KeypointSchema) -> Recipe:
    name = _known_name(schema)
    return _RECIPES.get(name) or {each: each for each in load_schema("h36m").keypoint_names}


def has_h36m(schema: KeypointSchema) -> bool:
    """Whether keypoints of `schema` are or become Human3.6M's."""
    try:
        _known_name(schema)
    except ConfigError:
        return False
    return True


def _known_name(schema: KeypointSchema) -> str:
    """The schema of hfpose that `schema` is by name, or else by the names of its keypoints."""
    known = (*_RECIPES, "h36m")
    for name in sorted(known, key=lambda each: each != schema.name):
        if load_schema(name).keypoint_names == schema.keypoint_names:
            return name
    raise ConfigError(
        f"Keypoints of schema {schema.name!r} are not those of people whom lifting, angles and motion files are for: "
        f"how they become Human3.6M's 17 is known for {', '.join(sorted(known))} only. Use a model with "
        "one of these schemas."
    )


@cache
def _weights(name: str) -> np.ndarray:
    """Matrix (17, K): row i gives keypoint i of Human3.6M from those of schema `name`."""
    if name == "h36m":
        return np.eye(17, dtype=np.float32)
    source, target = load_schema(name), load_schema("h36m")
    weights = np.zeros((target.num_keypoints, source.num_keypoints), np.float32)
    for target_name, recipe in _RECIPES[name].items():
        parts = {recipe: 1.0} if isinstance(recipe, str) else recipe
        for source_name, weight in parts.items():
            weights[target.index(target_name), source.index(source_name)] = weight
    return weights
