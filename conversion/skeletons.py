"""Images of what a keypoint schema names: a body, face, hand or animal at rest, with numbered keypoints."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image

from hfpose.keypoints import KeypointSchema
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses

Point = tuple[float, float]

_BACKGROUND = 32  # dark gray: the colors of the schemas are made for photographs
_SHORT_SIDE = 480
_MARGIN = 40

# A standing person from the front, x from the middle and y down from the top of the head, in heights. Keypoints of the
# left side are on the viewer's right; those of the right side mirror them.
_BODY_MIDDLE: dict[str, Point] = {
    "head": (0.0, 0.0),
    "top_head": (0.0, 0.0),
    "head_top": (0.0, 0.0),
    "head_bottom": (0.0, 0.16),
    "nose": (0.0, 0.10),
    "neck_base": (0.0, 0.13),
    "upper_neck": (0.0, 0.15),
    "neck": (0.0, 0.18),
    "thorax": (0.0, 0.21),
    "spine": (0.0, 0.36),
    "belly": (0.0, 0.40),
    "hip": (0.0, 0.51),
    "pelvis": (0.0, 0.51),
    "root": (0.0, 0.51),
}
_BODY_SIDE: dict[str, Point] = {
    "eye": (0.022, 0.075),
    "ear": (0.05, 0.09),
    "shoulder": (0.11, 0.21),
    "elbow": (0.17, 0.35),
    "wrist": (0.20, 0.49),
    "hip": (0.07, 0.53),
    "knee": (0.08, 0.74),
    "ankle": (0.085, 0.93),
    "foot": (0.085, 0.93),
    "heel": (0.07, 0.97),
    "big_toe": (0.085, 1.0),
    "small_toe": (0.125, 0.985),
}
# Clothes from the front, in widths.
_CLOTHES: dict[str, Point] = {
    "collar": (0.12, 0.0),
    "sleeve": (0.5, 0.35),
    "waistline": (0.2, 0.5),
    "hem": (0.3, 1.0),
}
# A four-legged animal from its right, in widths.
_ANIMAL: dict[str, Point] = {
    "L_Eye": (0.11, 0.13),
    "R_Eye": (0.06, 0.13),
    "Nose": (0.02, 0.23),
    "Neck": (0.28, 0.27),
    "Root of tail": (0.86, 0.25),
    "L_Shoulder": (0.35, 0.42),
    "L_Elbow": (0.37, 0.60),
    "L_F_Paw": (0.38, 0.82),
    "R_Shoulder": (0.26, 0.42),
    "R_Elbow": (0.23, 0.60),
    "R_F_Paw": (0.21, 0.80),
    "L_Hip": (0.81, 0.42),
    "L_Knee": (0.78, 0.61),
    "L_B_Paw": (0.85, 0.82),
    "R_Hip": (0.72, 0.42),
    "R_Knee": (0.67, 0.61),
    "R_B_Paw": (0.71, 0.80),
}
# Fingers of a left hand from its back: first and last joint, in lengths of the hand, wrist at (0, 0), y up.
_FINGERS: dict[str, tuple[Point, Point]] = {
    "thumb": ((-0.17, 0.12), (-0.46, 0.48)),
    "forefinger": ((-0.17, 0.48), (-0.24, 0.92)),
    "middle_finger": ((-0.03, 0.50), (-0.04, 1.0)),
    "ring_finger": ((0.10, 0.47), (0.15, 0.93)),
    "pinky_finger": ((0.21, 0.41), (0.33, 0.77)),
}


def draw_skeleton(schema: KeypointSchema) -> np.ndarray | None:
    """Image (H, W, 3), uint8 RGB, of a schema's keypoints and links; None for a schema of unknown names."""
    layout = rest_layout(schema)
    if layout is None:
        return None
    low, high = layout.min(0), layout.max(0)
    scale = (_SHORT_SIDE - 2 * _MARGIN) / (high - low).min()
    keypoints = (layout - low) * scale + _MARGIN
    width, height = np.ceil((high - low) * scale + 2 * _MARGIN).astype(int)
    output = PoseOutput(
        keypoints=keypoints[None].astype(np.float32),
        keypoint_scores=np.ones((1, schema.num_keypoints), np.float32),
        schema=schema,
    )
    image = np.full((height, width, 3), _BACKGROUND, np.uint8)
    return draw_poses(image, output, draw_keypoint_indices=schema.num_keypoints <= 110)


def rest_layout(schema: KeypointSchema) -> np.ndarray | None:
    """Keypoints (K, 2) of a body, face, hand or animal at rest, x right and y down; None for unknown names."""
    face = _face(schema.num_keypoints)
    if face is not None and all(re.fullmatch(r"(face|kpt)-\d+", name) for name in schema.keypoint_names):
        return face
    points = [_place(name) for name in schema.keypoint_names]
    return None if None in points else np.array(points, float)


def _place(name: str) -> Point | None:
    """Where a keypoint of that name is."""
    if name in _ANIMAL:
        return _ANIMAL[name]
    if name in _BODY_MIDDLE:
        return _BODY_MIDDLE[name]
    if face := re.fullmatch(r"face-(\d+)", name):
        return _place_on_face(int(face[1]))
    side = re.fullmatch(r"(left|right)_(\w+)", name)
    if side and side[2] in _BODY_SIDE:
        x, y = _BODY_SIDE[side[2]]
        return (x, y) if side[1] == "left" else (-x, y)
    if garment := re.fullmatch(r"(left|right) (\w+)", name):
        x, y = _CLOTHES.get(garment[2], (0.0, 0.0))
        return (x, y) if garment[1] == "left" else (-x, y)
    return _place_on_hand(name)


def _place_on_face(index: int) -> Point | None:
    """Keypoint of a face of 68 that belongs to the body above."""
    face = _face(68)
    if face is None or index >= len(face):
        return None
    x, y = face[index]
    return 0.055 * x, 0.09 + 0.055 * y


def _place_on_hand(name: str) -> Point | None:
    """Keypoint of a hand alone, or of the two hands beside the body above."""
    match = re.fullmatch(r"(?:(left|right)_)?(?:(hand_root|wrist)|([a-z_]+?)([1-4]))", name)
    if match is None or (match[3] is not None and match[3] not in _FINGERS):
        return None
    x, y = 0.0, 0.0
    if match[3] is not None:
        first, last = np.array(_FINGERS[match[3]])
        x, y = first + (last - first) * (int(match[4]) - 1) / 3
    if match[1] is None:
        return float(x), float(-y)
    # Beside the body the hands hang, thumbs to the thighs.
    x, y = 0.215 + 0.16 * x, 0.51 + 0.16 * y
    return (float(x), float(y)) if match[1] == "left" else (float(-x), float(y))


def _face(count: int) -> np.ndarray | None:
    """Face from the front, (count, 2), in half widths: 68 keypoints as in 300-W, 98 as in WFLW, 106 as in LaPa."""
    if count not in (68, 98, 106):
        return None
    dense = count > 68
    jaw = _arc(0, -0.15, 1.0, 1.25, 180, 0, 33 if dense else 17)
    nose_bridge = np.stack([np.zeros(4), np.linspace(-0.3, 0.22, 4)], 1)
    brows = [_brow(-0.45, dense), _brow(0.45, dense)]
    eyes = [_closed(x, -0.3, 0.2, 0.09, 8 if dense else 6) for x in (-0.45, 0.45)]
    if count == 106:
        nose_base = np.concatenate(
            [[[-0.13, -0.2], [-0.17, 0.05]], _arc(0, 0.2, 0.24, 0.14, 180, 0, 7), [[0.17, 0.05], [0.13, -0.2]]]
        )
        eyes = [np.concatenate([eye, eye.mean(0, keepdims=True)]) for eye in eyes]
    else:
        nose_base = _arc(0, 0.26, 0.2, 0.1, 180, 0, 5)
    mouth = [_closed(0, 0.62, 0.36, 0.17, 12), _closed(0, 0.62, 0.27, 0.07, 8)]
    pupils = [np.array([[-0.45, -0.33], [0.45, -0.33]])] if dense else []
    return np.concatenate([jaw, *brows, nose_bridge, nose_base, *eyes, *mouth, *pupils])


def _brow(x: float, dense: bool) -> np.ndarray:
    upper = _arc(x, -0.52, 0.28, 0.14, 180, 360, 5)
    if not dense:
        return upper
    return np.concatenate([upper, _arc(x, -0.5, 0.22, 0.07, 360, 180, 4)])


def _closed(x: float, y: float, width: float, height: float, count: int) -> np.ndarray:
    """Points around an ellipse, from its left end over the top."""
    return _arc(x, y, width, height, 180, 540, count + 1)[:-1]


def _arc(x: float, y: float, width: float, height: float, start: float, stop: float, count: int) -> np.ndarray:
    """Points (count, 2) on an ellipse with these half axes; 180 degrees is left, 270 up."""
    angles = np.radians(np.linspace(start, stop, count))
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], 1)


def skeleton_image(schema: KeypointSchema) -> bytes | None:
    """The image that cards show of a schema, as PNG; None for a schema whose keypoints have unknown names."""
    drawn = draw_skeleton(schema)
    if drawn is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(drawn).quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
