"""The image that pose ControlNets are given: people on black, with hands and face, as DWPose draws them.

Source: DWPose (Yang et al., 2023, https://arxiv.org/abs/2307.15880), `annotator/dwpose` of its ControlNet branch.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from hfpose.errors import InputError
from hfpose.keypoints import Color, KeypointSchema
from hfpose.visualization.openpose import to_openpose

# The sizes in pixels below are those of a canvas with a shorter side of so many.
_DRAWN_AT = 512
_LIMB_HALF_WIDTH, _JOINT_RADIUS, _HAND_LINE, _FACE_RADIUS = 4, 4, 2, 3
_LIMB_BRIGHTNESS = 0.6
_FAR = 30_000

# Colors around the circle, of the limbs and of the 18 joints of the body.
_COLORS: tuple[Color, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
# Pairs of OpenPose's joints: nose, neck, right arm, left arm, right leg, left leg, eyes, ears.
_LIMBS = np.array(
    [(1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
     (0, 14), (14, 16), (0, 15), (15, 17)]
)  # fmt: skip
_NUM_JOINTS = 18
# A hand is its root and five fingers of four joints, each from the palm to the tip.
_FINGERS = np.array([(0 if i % 4 == 0 else i, i + 1) for i in range(20)])
_FINGER_COLORS = [tuple(round(255 * part) for part in colorsys.hsv_to_rgb(i / 20, 1, 1)) for i in range(20)]
_HAND_COLOR: Color = (0, 0, 255)
_FACE_COLOR: Color = (255, 255, 255)


def draw_controlnet_pose(
    keypoints: np.ndarray,
    scores: np.ndarray,
    schema: KeypointSchema,
    image_size: tuple[int, int],
    *,
    canvas_size: tuple[int, int] | None = None,
    keypoint_threshold: float = 0.3,
    radius: int | None = None,
    thickness: int | None = None,
) -> np.ndarray:
    """People with the hands and faces that `schema` has, on black.

    Args:
        keypoints: (N, K, 2) pixels of the image.
        scores: (N, K).
        schema: of the keypoints; it has COCO's 17.
        image_size: width and height of the image.
        canvas_size: width and height of what is drawn, which shows the whole image; default `image_size`.
        keypoint_threshold: only keypoints with a higher score are drawn.
        radius, thickness: radius of joints and half width of limbs in pixels. Default: 4 where the canvas' shorter
            side has 512 pixels, as the ControlNets were trained, and in proportion elsewhere; so are lines and dots of
            hands and face.

    Returns:
        RGB uint8 image (H, W, 3).

    Raises:
        ConfigError: if the schema lacks keypoints of the body.
        InputError: if a size is not positive.
    """
    width, height = canvas_size or image_size
    if width < 1 or height < 1:
        raise InputError(f"canvas_size must be width and height in pixels above 0, got {canvas_size}.")
    canvas = np.zeros((height, width, 3), np.uint8)
    scale = min(width, height) / _DRAWN_AT
    points, scores, style = to_openpose(keypoints.astype(np.float64), scores, schema, keypoint_threshold)
    points = points * (np.array([width, height]) / image_size)
    shown = (scores > keypoint_threshold) & np.isfinite(points).all(-1)
    half_width = _scaled(_LIMB_HALF_WIDTH, scale) if thickness is None else thickness
    joint_radius = _scaled(_JOINT_RADIUS, scale) if radius is None else radius
    _draw_limbs(canvas, points, shown, half_width)
    canvas = (canvas * _LIMB_BRIGHTNESS).astype(np.uint8)
    for joint in range(_NUM_JOINTS):
        _draw_dots(canvas, points[:, joint], shown[:, joint], _COLORS[joint], joint_radius)
    for side in ("left", "right"):
        _draw_hands(canvas, points, shown, style, side, _scaled(_HAND_LINE, scale), joint_radius)
    face = [i for i, name in enumerate(style.keypoint_names) if name.startswith("face-")]
    face_radius = _scaled(_FACE_RADIUS, scale) if radius is None else radius
    _draw_dots(canvas, points[:, face].reshape(-1, 2), shown[:, face].ravel(), _FACE_COLOR, face_radius)
    return canvas


def _scaled(size: int, scale: float) -> int:
    return max(round(size * scale), 1)


def _draw_limbs(canvas: np.ndarray, points: np.ndarray, shown: np.ndarray, half_width: int) -> None:
    """Limbs as filled ellipses, one limb of all people after the other."""
    for color, limb in zip(_COLORS, _LIMBS.tolist(), strict=False):
        for start, end in points[shown[:, limb].all(1)][:, limb]:
            (x, y), (across, down) = (start + end) / 2, start - end
            axes = (int(np.hypot(across, down) / 2), half_width)
            angle = int(np.degrees(np.arctan2(down, across)))
            if max(abs(x), abs(y), axes[0]) < _FAR:
                outline = np.asarray(cv2.ellipse2Poly((int(x), int(y)), axes, angle, 0, 360, 1))
                cv2.fillConvexPoly(canvas, outline, color)


def _draw_hands(
    canvas: np.ndarray,
    points: np.ndarray,
    shown: np.ndarray,
    style: KeypointSchema,
    side: str,
    thickness: int,
    radius: int,
) -> None:
    """The hands of one side of all people, if the style has hands."""
    root = f"{side}_hand_root"
    if root not in style.keypoint_names:
        return
    first = style.index(root)
    points, shown = points[:, first : first + 21], shown[:, first : first + 21]
    for hand, seen in zip(_whole_pixels(points), shown & (points >= 1).all(-1), strict=True):
        for bone in np.flatnonzero(seen[_FINGERS].all(1)).tolist():
            start, end = hand[_FINGERS[bone]].tolist()
            cv2.line(canvas, start, end, _FINGER_COLORS[bone], thickness)
        _draw_dots(canvas, hand, seen, _HAND_COLOR, radius)


def _draw_dots(canvas: np.ndarray, points: np.ndarray, shown: np.ndarray, color: Color, radius: int) -> None:
    for center in _whole_pixels(points)[shown].tolist():
        cv2.circle(canvas, center, radius, color, cv2.FILLED)


def _whole_pixels(points: np.ndarray) -> np.ndarray:
    """Points in whole pixels, rounded toward zero as DWPose does; far ones come near enough for OpenCV's integers."""
    return np.clip(np.nan_to_num(points), -_FAR, _FAR).astype(int)
