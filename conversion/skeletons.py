"""Images of what a keypoint schema names: a body, face, hand or animal at rest, with numbered keypoints."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

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
# Its other names, of Animal Pose.
_ANIMAL |= {
    "L_EarBase": (0.17, 0.06),
    "R_EarBase": (0.12, 0.04),
    "Throat": (0.17, 0.30),
    "Withers": (0.36, 0.22),
    "TailBase": (0.88, 0.26),
    "L_F_Elbow": (0.37, 0.50),
    "R_F_Elbow": (0.26, 0.50),
    "L_F_Knee": (0.38, 0.66),
    "R_F_Knee": (0.22, 0.65),
    "L_B_Elbow": (0.80, 0.50),
    "R_B_Elbow": (0.71, 0.50),
    "L_B_Knee": (0.84, 0.66),
    "R_B_Knee": (0.72, 0.66),
}
# Animals of other names, those of one side: the right one lies on the right of the image.
_ANIMAL_MIDDLES: dict[str, dict[str, Point]] = {
    "animalkingdom": {
        "Head_Mid_Top": (0.0, 0.0),
        "Mouth_Front_Top": (0.0, 0.13),
        "Mouth_Front_Bottom": (0.0, 0.18),
        "Torso_Mid_Back": (0.0, 0.42),
        "Tail_Top_Back": (0.0, 0.62),
        "Tail_Mid_Back": (0.0, 0.76),
        "Tail_End_Back": (0.0, 0.90),
    },
    "locust": {
        "head": (0.0, 0.0),
        "neck": (0.0, 0.12),
        "thorax": (0.0, 0.28),
        "abdomen1": (0.0, 0.55),
        "abdomen2": (0.0, 0.95),
    },
    "zebra": {
        "snout": (0.02, 0.30),
        "head": (0.12, 0.16),
        "neck": (0.28, 0.28),
        "forelegL1": (0.36, 0.62),
        "forelegR1": (0.27, 0.60),
        "hindlegL1": (0.80, 0.62),
        "hindlegR1": (0.70, 0.60),
        "tailbase": (0.88, 0.30),
        "tailtip": (0.96, 0.55),
    },
}
_ANIMAL_SIDES: dict[str, dict[str, Point]] = {
    "animalkingdom": {
        "Eye": (0.06, 0.06),
        "Mouth_Back": (0.05, 0.16),
        "Shoulder": (0.13, 0.26),
        "Elbow": (0.19, 0.40),
        "Wrist": (0.20, 0.53),
        "Hip": (0.10, 0.58),
        "Knee": (0.14, 0.75),
        "Ankle": (0.14, 0.93),
    },
    "locust": {
        "anttip": (0.25, -0.30),
        "antbase": (0.05, -0.04),
        "eye": (0.09, 0.02),
        **{
            f"foreleg{i + 1}": (x, y)
            for i, (x, y) in enumerate([(0.08, 0.15), (0.2, 0.04), (0.3, -0.06), (0.38, -0.13)])
        },
        **{
            f"midleg{i + 1}": (x, y) for i, (x, y) in enumerate([(0.1, 0.3), (0.28, 0.28), (0.42, 0.36), (0.52, 0.44)])
        },
        **{
            f"hindleg{i + 1}": (x, y) for i, (x, y) in enumerate([(0.1, 0.42), (0.3, 0.56), (0.38, 0.86), (0.5, 1.02)])
        },
    },
}
# Fingers of a left hand from its back: first and last joint, in lengths of the hand, wrist at (0, 0), y up.
_FINGERS: dict[str, tuple[Point, Point]] = {
    "thumb": ((-0.17, 0.12), (-0.46, 0.48)),
    "forefinger": ((-0.17, 0.48), (-0.24, 0.92)),
    "middle_finger": ((-0.03, 0.50), (-0.04, 1.0)),
    "ring_finger": ((0.10, 0.47), (0.15, 0.93)),
    "pinky_finger": ((0.21, 0.41), (0.33, 0.77)),
}
# Faces of few keypoints, from the front, in half widths: 19 as in AFLW, 29 as in COFW.
_SPARSE_FACES: dict[int, list[Point]] = {
    19: [
        (-0.7, -0.5), (-0.45, -0.6), (-0.2, -0.5), (0.2, -0.5), (0.45, -0.6), (0.7, -0.5),
        (-0.65, -0.3), (-0.45, -0.3), (-0.25, -0.3), (0.25, -0.3), (0.45, -0.3), (0.65, -0.3),
        (-0.2, 0.25), (0.0, 0.2), (0.2, 0.25), (-0.36, 0.62), (0.0, 0.62), (0.36, 0.62), (0.0, 1.1),
    ],
    29: [
        (-0.73, -0.5), (0.73, -0.5), (-0.17, -0.5), (0.17, -0.5), (-0.45, -0.66), (-0.45, -0.56), (0.45, -0.66), (0.45, -0.56),
        (-0.65, -0.3), (0.65, -0.3), (-0.25, -0.3), (0.25, -0.3), (-0.45, -0.39), (-0.45, -0.21), (0.45, -0.39), (0.45, -0.21),
        (-0.45, -0.3), (0.45, -0.3), (-0.2, 0.22), (0.2, 0.22), (0.0, 0.1), (0.0, 0.33),
        (-0.36, 0.62), (0.36, 0.62), (0.0, 0.5), (0.0, 0.57), (0.0, 0.66), (0.0, 0.76), (0.0, 1.1),
    ],
}  # fmt: skip


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
    if schema.name in _ANIMAL_MIDDLES:
        return np.array([_place_on_animal(name, schema.name) for name in schema.keypoint_names])
    if schema.name == "deepfashion2":
        return _wardrobe(schema.keypoint_names)
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


def _place_on_animal(name: str, animal: str) -> Point:
    """Where a keypoint of an animal with a table of its own is."""
    if name in _ANIMAL_MIDDLES[animal]:
        return _ANIMAL_MIDDLES[animal][name]
    part, side, number = re.fullmatch(r"(\w+?)_?(Left|Right|L|R)(\d?)", name).groups()  # type: ignore[union-attr]
    x, y = _ANIMAL_SIDES[animal][part + number]
    return (x, y) if side.startswith("R") else (-x, y)


def _wardrobe(names: Sequence[str]) -> np.ndarray:
    """Clothes of many kinds in rows of five, the keypoints of each around an ellipse, since no name tells a place."""
    kinds = [name.split("_")[0] for name in names]
    layout = [
        _closed(2.4 * (place % 5), 2.6 * (place // 5), 1.0, 1.1, kinds.count(kind))
        for place, kind in enumerate(dict.fromkeys(kinds))
    ]
    return np.concatenate(layout)


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
    """Face from the front, (count, 2), in half widths: 68 keypoints as in 300-W, 98 as in WFLW, 106 as in LaPa, and
    fewer."""
    if count in _SPARSE_FACES:
        return np.array(_SPARSE_FACES[count])
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
