"""OpenPose's way to draw people: a neck between the shoulders, limbs as translucent ellipses."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hfpose.errors import ConfigError
from hfpose.keypoints import Color, KeypointSchema, load_schema
from hfpose.visualization.canvas import fill_polygon

_STYLES = ("coco_wholebody_openpose", "coco_openpose")
_LIMB_OPACITY = 0.6
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 33)[:-1]), np.sin(np.linspace(0, 2 * np.pi, 33)[:-1])], axis=1)


def to_openpose(
    keypoints: np.ndarray, scores: np.ndarray, schema: KeypointSchema, threshold: float | None = None
) -> tuple[np.ndarray, np.ndarray, KeypointSchema]:
    """Reorders (N, K, 2) keypoints and (N, K) scores to OpenPose's, by name.

    A schema without a neck gets one: the middle of the shoulders, with score 1 where both are above `threshold` and
    else 0, as in the reference (`PoseLocalVisualizer._draw_instances_kpts_openpose`); without a threshold with the
    lower of their scores.

    Raises:
        ConfigError: If the schema lacks keypoints that the style draws.
    """
    names = {name: i for i, name in enumerate(schema.keypoint_names)}
    for style in map(load_schema, _STYLES):
        if set(style.keypoint_names) - {"neck"} <= names.keys():
            break
    else:
        missing = [name for name in style.keypoint_names if name not in names and name != "neck"]
        raise ConfigError(
            f"The OpenPose skeleton style draws COCO's keypoints, and schema {schema.name!r} has no "
            f"{', '.join(missing)}. Use skeleton_style='mmpose'."
        )
    if "neck" not in names:
        shoulders = [names["left_shoulder"], names["right_shoulder"]]
        neck_scores = scores[:, shoulders].min(axis=1)
        if threshold is not None:
            neck_scores = (neck_scores > threshold).astype(scores.dtype)
        with np.errstate(invalid="ignore"):
            neck = keypoints[:, shoulders].mean(axis=1, keepdims=True)
        keypoints = np.concatenate([keypoints, neck], axis=1)
        scores = np.concatenate([scores, neck_scores[:, None]], axis=1)
        names["neck"] = schema.num_keypoints
    order = [names[name] for name in style.keypoint_names]
    return keypoints[:, order], scores[:, order], style


def blend_ellipses(canvas: np.ndarray, ends: np.ndarray, colors: Sequence[Color], half_width: int) -> None:
    """Blends ellipses between M pairs of `ends` (M, 2, 2), which must lie in the canvas, one after the other into
    it."""
    if half_width == 0:
        return
    half_axes = (ends[:, 1] - ends[:, 0]) / 2
    lengths = np.maximum(np.hypot(half_axes[:, 0], half_axes[:, 1]), 1e-6)[:, None]
    across = np.stack([-half_axes[:, 1], half_axes[:, 0]], axis=1) / lengths * half_width
    outlines = ends.mean(axis=1)[:, None] + _CIRCLE[:, :1] * half_axes[:, None] + _CIRCLE[:, 1:] * across[:, None]
    # Only the pixels around an ellipse are copied and mixed, not the image.
    corners = np.maximum(np.floor(outlines.min(axis=1)).astype(int) - 1, 0)
    far_corners = np.ceil(outlines.max(axis=1)).astype(int) + 2
    outlines -= corners[:, None]
    for outline, (x1, y1), (x2, y2), color in zip(
        outlines, corners.tolist(), far_corners.tolist(), colors, strict=True
    ):
        region = canvas[y1:y2, x1:x2]
        painted = region.copy()
        fill_polygon(painted, outline, color)
        cv2.addWeighted(painted, _LIMB_OPACITY, region, 1 - _LIMB_OPACITY, 0, dst=region)
