"""Skeletons and boxes on BGR images, as rtmlib's functions draw them.

Source: `rtmlib.visualization.draw`; reimplemented over `hfpose.visualization`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import Color
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses

# Schema by the number of keypoints.
_SCHEMAS = {17: "coco", 21: "coco_wholebody_hand", 26: "halpe26", 133: "coco_wholebody"}
_OPENPOSE_SCHEMAS = {17: "ap10k", 18: "coco_openpose", 26: "halpe26", 134: "coco_wholebody_openpose"}


def draw_skeleton(
    img: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray,
    openpose_skeleton: bool = False,
    kpt_thr: float = 0.5,
    radius: int = 2,
    line_width: int = 2,
    to_openpose: bool | None = None,
) -> np.ndarray:
    """A BGR image with people drawn on it, in the colors of their schema; a new array, or without people `img` itself.

    Args:
        img: BGR image (H, W, 3), uint8.
        keypoints: (N, K, 2) in pixels, or (K, 2) of one person. K tells the schema: 17 for COCO, 21 for hands, 26 for
            Halpe, 133 for whole bodies; in OpenPose's order 18 or 134, and 17 for animals.
        scores: (N, K) or (K,).
        openpose_skeleton: whether the keypoints are in OpenPose's order.
        kpt_thr: minimum score of a keypoint that is drawn.
        radius: of keypoints, in pixels.
        line_width: of links, in pixels.
        to_openpose: another name of `openpose_skeleton`, as rtmlib's first example has it.

    Raises:
        InputError: for another number of keypoints.
    """
    if len(keypoints) == 0:
        return img
    in_openpose = openpose_skeleton if to_openpose is None else to_openpose
    keypoints = np.asarray(keypoints, np.float32)[..., :2]
    keypoints = keypoints.reshape(-1, *keypoints.shape[-2:])
    schemas = _OPENPOSE_SCHEMAS if in_openpose else _SCHEMAS
    schema = schemas.get(keypoints.shape[1])
    if schema is None:
        raise InputError(
            f"Got {keypoints.shape[1]} keypoints with openpose_skeleton={in_openpose}; there are skeletons for "
            f"{', '.join(map(str, schemas))}."
        )
    output = PoseOutput(keypoints, np.reshape(scores, keypoints.shape[:2]))
    is_openpose = "openpose" in schema
    factor = 2 if is_openpose else 1  # rtmlib's limbs in that style are as wide
    drawn = draw_poses(
        np.ascontiguousarray(img[..., ::-1]),
        output,
        schema=schema,
        keypoint_threshold=kpt_thr,
        radius=factor * radius,
        thickness=factor * line_width,
        skeleton_style="openpose" if is_openpose else "mmpose",
    )
    return np.ascontiguousarray(drawn[..., ::-1])


def draw_bbox(img: np.ndarray, bboxes: Iterable[Sequence[float]], color: Color = (0, 255, 0)) -> np.ndarray:
    """The image (H, W, 3) with the outlines of boxes (N, 4) x1, y1, x2, y2 in pixels drawn into it."""
    for x1, y1, x2, y2 in bboxes:
        cv2.rectangle(img, (int(x1), int(y1)), (int(x2), int(y2)), color, 2)
    return img
