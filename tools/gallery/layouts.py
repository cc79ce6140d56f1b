"""Where the keypoints of each schema are drawn: a person who faces the viewer, an open hand, a face, an animal,
clothes.

Coordinates are (K, 2), x right, y down, in a unit of their own; the person's left is on the right. Faces have round
numbers, not those of a mean face: the layouts show which keypoint is where, not how large anything is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

import numpy as np

from hfpose.keypoints import KeypointSchema

Points = list[tuple[float, float]]

# The person's left half and middle; the right half is the mirror image.
_BODY = {
    "nose": (0, -1.62), "eye": (0.09, -1.70), "ear": (0.19, -1.64), "head_top": (0, -1.90), "neck": (0, -1.32),
    "thorax": (0, -1.22), "spine": (0, -0.78), "belly": (0, -0.85), "hip_middle": (0, -0.40), "shoulder": (0.38, -1.22),
    "elbow": (0.58, -0.78), "wrist": (0.72, -0.36), "hip": (0.22, -0.40), "knee": (0.25, 0.35), "ankle": (0.27, 1.05),
    "foot": (0.27, 1.05), "heel": (0.25, 1.14), "big_toe": (0.36, 1.22), "small_toe": (0.46, 1.17),
}  # fmt: skip
_MIDDLE = {
    "head": "head_top", "top_head": "head_top", "upper_neck": "neck", "head_bottom": "neck", "neck_base": "neck",
    "pelvis": "hip_middle", "root": "hip_middle", "hip": "hip_middle",
}  # fmt: skip
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
# Degrees from straight up, and the distances of the four joints from the wrist.
_FINGER_ANGLES = (48, 17, 3, -11, -26)
_FINGER_REACH = ((0.34, 0.56, 0.74, 0.90), *[(0.86, 1.14, 1.32, 1.48)] * 3, (0.78, 1.00, 1.14, 1.26))
_FINGER_LENGTH = (1.0, 1.0, 1.06, 1.0, 1.0)

# Seen from its left side; what is on the right is drawn a little farther back.
_ANIMAL = {
    "l_eye": (-1.30, -0.72), "nose": (-1.52, -0.55), "l_earbase": (-1.12, -0.86), "throat": (-1.10, -0.42),
    "neck": (-0.92, -0.50), "withers": (-0.60, -0.55), "tailbase": (0.80, -0.45), "root of tail": (0.80, -0.45),
    "l_shoulder": (-0.62, -0.18), "l_f_elbow": (-0.60, 0.05), "l_elbow": (-0.60, 0.25), "l_f_knee": (-0.58, 0.45),
    "l_f_paw": (-0.62, 0.92), "l_hip": (0.62, -0.20), "l_b_elbow": (0.66, 0.08), "l_knee": (0.58, 0.28),
    "l_b_knee": (0.74, 0.48), "l_b_paw": (0.66, 0.92), "snout": (-1.52, -0.55), "head": (-1.22, -0.75),
    "forelegl1": (-0.60, 0.30), "hindlegl1": (0.66, 0.30), "tailtip": (1.18, 0.25), "head_mid_top": (-1.20, -0.92),
    "eye_left": (-1.30, -0.72), "mouth_front_top": (-1.56, -0.50), "mouth_back_left": (-1.28, -0.46),
    "mouth_front_bottom": (-1.50, -0.38), "shoulder_left": (-0.62, -0.18), "elbow_left": (-0.60, 0.30),
    "wrist_left": (-0.62, 0.92), "torso_mid_back": (0.05, -0.50), "hip_left": (0.62, -0.20), "knee_left": (0.62, 0.32),
    "ankle_left": (0.66, 0.92), "tail_top_back": (0.84, -0.45), "tail_mid_back": (1.10, -0.15),
    "tail_end_back": (1.24, 0.25),
}  # fmt: skip
_LOCUST = {
    "head": (0, -1.2), "neck": (0, -0.9), "thorax": (0, -0.45), "abdomen1": (0, 0.3), "abdomen2": (0, 1.1),
    "anttip": (0.45, -1.9), "antbase": (0.10, -1.35), "eye": (0.16, -1.12),
}  # fmt: skip
_CLOTHES = {
    "left collar": (0.22, -1.0), "left sleeve": (0.95, -0.25), "left waistline": (0.34, -0.1), "left hem": (0.45, 0.95),
}  # fmt: skip


def layout(schema: KeypointSchema) -> np.ndarray:
    """Where the keypoints of `schema` are drawn, (K, 2).

    Raises:
        KeyError: for a keypoint that has no place here.
    """
    names = [name.lower() for name in schema.keypoint_names]
    if schema.name in _FACES:
        return np.array(_FACES[schema.name]())
    if schema.name == "locust":
        points = [_locust(name) for name in names]
    elif schema.name == "deepfashion2":
        points = _rings([name.partition("_")[0] for name in names])
    elif schema.name.startswith("deepfashion"):
        points = [_of_side(_CLOTHES, name) for name in names]
    elif schema.name in ("animalkingdom", "animalpose", "ap10k", "zebra"):
        points = [_animal(name) for name in names]
    elif "nose" not in names and any(name.endswith("thumb1") for name in names):
        points = [_hand(name) for name in names]
    else:
        points = [_person(name) for name in names]
    return np.array(points)


def _person(name: str) -> tuple[float, float]:
    """A keypoint of a person; faces and hands are drawn large, at the side of where they are."""
    if number := re.fullmatch(r"face-(\d+)", name):
        x, y = _face_68()[int(number[1])]
        return 1.05 * x, 1.05 * y - 2.7
    if "hand_root" in name or any(finger in name for finger in _FINGERS):
        side = 1 if name.startswith("left") else -1
        x, y = _hand(name.split("_", 1)[1].replace("hand_root", "wrist"))
        return side * (1.35 - 0.62 * x), -0.62 * y - 0.30
    return _of_side(_BODY, _MIDDLE.get(name, name))


def _of_side(places: dict[str, tuple[float, float]], name: str) -> tuple[float, float]:
    """A place by its name, `left_` or `right_` before it; the right is the mirror image of the left."""
    if name in places:
        return places[name]
    side, _, part = name.partition("_" if "_" in name else " ")
    x, y = places[part] if part in places else places[f"left {part}"]
    return (x, y) if side == "left" else (-x, y)


def _hand(name: str) -> tuple[float, float]:
    """An open right hand from its palm, `left_` its mirror image beside it."""
    if name.startswith(("left_", "right_")):
        side, _, part = name.partition("_")
        x, y = _hand(part)
        return (-1.1 - x, y) if side == "right" else (1.1 + x, y)
    if name == "wrist":
        return 0.0, 0.0
    finger, joint = name[:-1], name[-1]
    which = _FINGERS.index(finger)
    angle = math.radians(_FINGER_ANGLES[which])
    reach = _FINGER_REACH[which][int(joint) - 1] * _FINGER_LENGTH[which]
    return reach * math.sin(angle), -reach * math.cos(angle)


def _animal(name: str) -> tuple[float, float]:
    if name in _ANIMAL:
        return _ANIMAL[name]
    left = re.sub(r"^r_", "l_", name).replace("right", "left")
    x, y = _ANIMAL[re.sub(r"r1$", "l1", left)]
    return x + 0.16, y - 0.10


def _locust(name: str) -> tuple[float, float]:
    if name in _LOCUST:
        return _LOCUST[name]
    side = 1 if re.search(r"l\d?$", name) else -1
    if leg := re.fullmatch(r"(fore|mid|hind)leg[lr](\d)", name):
        which, joint = ("fore", "mid", "hind").index(leg[1]), int(leg[2])
        return side * (0.12 + 0.30 * joint), (-0.75, -0.35, 0.05)[which] + (-0.14, 0.06, 0.24)[which] * joint
    x, y = _LOCUST[name[:-1]]
    return side * x, y


def _rings(groups: list[str]) -> Points:
    """Groups of keypoints as rings in rows, for clothes: the order counts, the shape does not."""
    order = list(dict.fromkeys(groups))
    columns = math.ceil(math.sqrt(len(order)))
    points: Points = []
    for place, group in enumerate(order):
        count = groups.count(group)
        row, column = divmod(place, columns)
        points += [(x + 2.4 * column, y + 2.4 * row) for x, y in _arc(0, 0, 1, 1, -90, 270 - 360 / count, count)]
    return points


# Faces
# ----------------------------------------------------------------------------------------------------------------


def _arc(x: float, y: float, across: float, down: float, begin: float, end: float, count: int) -> Points:
    """Points on an ellipse, clockwise as seen from `begin` to `end` in degrees, 0 being right and 90 down."""
    angles = np.radians(np.linspace(begin, end, count))
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


def _mirrored(points: Iterable[tuple[float, float]]) -> Points:
    return [(-x, y) for x, y in points]


def _contour(count: int) -> Points:
    return _arc(0, -0.05, 0.80, 1.0, 180, 0, count)


def _brow(count: int, y: float = -0.42) -> Points:
    """The brow on the left of the image, from the outside to the middle."""
    return _arc(-0.40, y, 0.24, 0.13, 195, 345, count)


def _eye(count: int) -> Points:
    """The eye on the left of the image, from its outer corner over the upper lid."""
    return _arc(-0.36, -0.22, 0.15, 0.075, 180, 540 - 360 / count, count)


def _eye_of_the_right(count: int) -> Points:
    """The other eye, from its inner corner over the upper lid, as data sets count it."""
    return _arc(0.36, -0.22, 0.15, 0.075, 180, 540 - 360 / count, count)


def _nose(bridge: int, below: int) -> Points:
    line = [(0.0, y) for y in np.linspace(-0.22, 0.14, bridge)]
    return [*line, *_arc(0, 0.18, 0.18, 0.08, 180, 0, below)]


def _mouth(outer: int, inner: int) -> Points:
    around = _arc(0, 0.48, 0.30, 0.15, 180, 540 - 360 / outer, outer)
    return [*around, *_arc(0, 0.48, 0.21, 0.06, 180, 540 - 360 / inner, inner)]


def _face_68() -> Points:
    brow = _brow(5)
    brows = [*brow, *_mirrored(reversed(brow))]
    return [*_contour(17), *brows, *_nose(4, 5), *_eye(6), *_eye_of_the_right(6), *_mouth(12, 8)]


def _both_brows() -> Points:
    """Nine points each: five along the upper edge, four back along the lower one."""
    upper, lower = _brow(5), [(x, y + 0.09) for x, y in reversed(_brow(5)[1:])]
    right = _mirrored(reversed(upper)), _mirrored(reversed(lower))
    return [*upper, *lower, *right[0], *right[1]]


def _face_98() -> Points:
    pupils = [(-0.36, -0.22), (0.36, -0.22)]
    return [*_contour(33), *_both_brows(), *_nose(4, 5), *_eye(8), *_eye_of_the_right(8), *_mouth(12, 8), *pupils]


def _face_106() -> Points:
    sides = [(-0.06, -0.18), (-0.09, -0.02), (-0.17, 0.10), (-0.15, 0.19), (-0.07, 0.22)]
    nose = [*_nose(4, 0), *sides, (0.0, 0.25), *_mirrored(reversed(sides))]
    eye = [*_eye(8), (-0.36, -0.235)]
    other = [*_eye_of_the_right(8), (0.36, -0.235)]
    pupils = [(-0.36, -0.205), (0.36, -0.205)]
    return [*_contour(33), *_both_brows(), *nose, *eye, *other, *_mouth(12, 8), *pupils]


def _face_29() -> Points:
    brow_eye = {0: (-0.64, -0.40), 2: (-0.16, -0.42), 4: (-0.40, -0.54), 5: (-0.40, -0.44), 8: (-0.51, -0.22)}
    brow_eye |= {10: (-0.21, -0.22), 12: (-0.36, -0.30), 13: (-0.36, -0.15), 16: (-0.36, -0.22)}
    brow_eye |= {18: (-0.17, 0.14), 22: (-0.30, 0.48)}
    mirrored = {0: 1, 2: 3, 4: 6, 5: 7, 8: 9, 10: 11, 12: 14, 13: 15, 16: 17, 18: 19, 22: 23}
    middle = {20: (0.0, 0.10), 21: (0.0, 0.24), 24: (0.0, 0.36), 25: (0.0, 0.42), 26: (0.0, 0.54), 27: (0.0, 0.62)}
    middle |= {28: (0.0, 0.94)}
    places = brow_eye | middle | {mirrored[i]: (-x, y) for i, (x, y) in brow_eye.items()}
    return [places[i] for i in range(29)]


def _face_19() -> Points:
    brow, eye = _brow(3), [(-0.51, -0.22), (-0.36, -0.22), (-0.21, -0.22)]
    pairs = [*brow, *_mirrored(reversed(brow)), *eye, *_mirrored(reversed(eye))]
    return [*pairs, (-0.17, 0.14), (0.0, 0.10), (0.17, 0.14), (-0.30, 0.48), (0.0, 0.48), (0.30, 0.48), (0.0, 0.94)]


_FACES = {
    "300w": _face_68,
    "300wlp": _face_68,
    "coco_wholebody_face": _face_68,
    "wflw": _face_98,
    "lapa": _face_106,
    "cofw": _face_29,
    "aflw": _face_19,
}
