"""Names that biomechanics gives keypoints: the marker sets of Pose2Sim, and where its OpenSim model has them.

Source: `skeletons.py`, `Markers_Halpe26.xml` and `Markers_Coco133.xml` of Pose2Sim (Pagnon et al., 2022).
"""

from __future__ import annotations

import numpy as np

from hfpose.keypoints.human36m import body_points, own_joints
from hfpose.keypoints.schema import KeypointSchema

_MIDDLE = {"root": "Hip", "spine": "Spine", "thorax": "Neck", "neck_base": "Nose", "head": "Head"}
_SIDES = {
    "hip": "Hip",
    "knee": "Knee",
    "foot": "Ankle",
    "shoulder": "Shoulder",
    "elbow": "Elbow",
    "wrist": "Wrist",
    "eye": "Eye",
    "ear": "Ear",
    "big_toe": "BigToe",
    "small_toe": "SmallToe",
    "heel": "Heel",
    "hand_root": "Hand",
    "thumb1": "Thumb1",
    "thumb2": "Thumb",
    "forefinger1": "Index",
    "pinky_finger1": "Pinky",
    **{f"thumb{i}": f"Thumb{i}" for i in (3, 4)},
    **{f"middle_finger{i}": f"Middle{i}" for i in (1, 2, 3, 4)},
    **{f"ring_finger{i}": f"Ring{i}" for i in (1, 2, 3, 4)},
    **{f"forefinger{i}": f"Index{i}" for i in (2, 3, 4)},
    **{f"pinky_finger{i}": f"Pinky{i}" for i in (2, 3, 4)},
}
_NAMES = _MIDDLE | {
    f"{side}_{name}": side[0].upper() + marker for side in ("left", "right") for name, marker in _SIDES.items()
}


def to_markers(keypoints: np.ndarray, schema: KeypointSchema) -> tuple[list[str], np.ndarray]:
    """Keypoints (..., K, D) as markers (..., M, D), and their names.

    Markers are the joints of the body, `Hip` and `Neck` between the hips and the shoulders too, and every other
    keypoint that the schema has: feet, face and hands.

    Raises:
        ConfigError: see `hfpose.keypoints.human36m.keypoints_to_h36m`.
    """
    names, points = body_points(keypoints, schema)
    # A spine or a head that is guessed from other keypoints is no marker.
    guessed = {"spine", "head"} - own_joints(schema)
    kept = [index for index, name in enumerate(names) if name not in guessed]
    return [_NAMES.get(names[index], names[index].replace("-", "_")) for index in kept], points[..., kept, :]


_MODEL_PLACES = {
    "Nose": ("head", 0.116266, 0.01261, 0),
    "Head": ("head", 0.015922, 0.164131, 0),
    "REye": ("head", 0.07815, 0.046761, 0.031107),
    "Neck": ("torso", -0.000813, 0.446897, 0),
    "RShoulder": ("torso", -0.012752, 0.366307, 0.201574),
    "RElbow": ("humerus_r", 0.025, -0.297955, -0.008738),
    "RWrist": ("radius_r", -0.000174, -0.235096, 0.009744),
    "Hip": ("pelvis", -0.063927, -0.081343, 0),
    "RHip": ("pelvis", -0.063927, -0.081343, 0.105406),
    "RKnee": ("femur_r", -0.00541, -0.397886, 0.000612),
    "RAnkle": ("tibia_r", -0.000286, -0.40805, 0.01496),
    "RBigToe": ("toes_r", 0.064664, 0.009869, -0.01458),
    "RSmallToe": ("toes_r", 0.027117, 0.009572, 0.02878),
    "RHeel": ("calcn_r", 0.013586, 0.023304, -0.001887),
    "RThumb": ("hand_r", 0.015901, -0.05353, 0.04522),
    "RIndex": ("hand_r", 0.003118, -0.082611, 0.016029),
    "RPinky": ("hand_r", 0.003113, -0.07381, -0.032545),
}


def marker_place(name: str) -> tuple[str, tuple[float, float, float]] | None:
    """Body of Pose2Sim's OpenSim model that a marker is fixed to, and where on it in meters; None for others."""
    is_left = name[0] == "L"
    found = _MODEL_PLACES.get("R" + name[1:] if is_left else name)
    if found is None:
        return None
    body, x, y, z = found
    return body.replace("_r", "_l") if is_left else body, (x, y, -z if is_left else z)
