"""What the names of keypoints tell."""

from __future__ import annotations

import pytest

from hfpose.errors import ConfigError
from hfpose.keypoints import generic_schema, schema_for_names
from hfpose.keypoints.names import flip_indices_from_names, plain_name


@pytest.mark.parametrize("name", ["L_Eye", "left eye", "Left-Eye", "leftEye", "LEye", "left.eye", "LeftEye"])
def test_spellings_of_one_name(name: str) -> None:
    assert plain_name(name) == "left_eye"


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("left_ear", "right_ear"), ("leftEar", "rightEar"), ("earL", "earR"), ("L_eye", "R_eye"), ("eye.L", "eye.R"),
        ("lf_paw", "rf_paw"), ("lh_paw", "rh_paw"), ("左肩", "右肩"), ("griff_links", "griff_rechts"),
        ("linkeHand", "rechteHand"), ("gripLeft", "gripRight"), ("lgrip", "rgrip"), ("gripleft", "gripright"),
        ("LEFT_ELBOW", "RIGHT_ELBOW"), ("main_gauche", "main_droite"), ("ojo izquierdo", "ojo derecho"), ("LKnee", "RKnee"),
        ("left_eye_left_corner", "right_eye_right_corner"), ("왼쪽 눈", "오른쪽 눈"), ("kpt-l", "kpt-r"),
        ("eyel", "eyer"), ("tl", "tr"), ("occhio_sx", "occhio_dx"), ("vänster öga", "höger öga"),
    ],
)  # fmt: skip
def test_flip_pairs_of_usual_spellings(left: str, right: str) -> None:
    assert flip_indices_from_names(["nose", left, "tail", right]) == (0, 3, 2, 1)


@pytest.mark.parametrize(
    "names",
    [["a", "b", "c", "d"], ["lip", "tip", "rim"], ["leftmost", "top"], ["左"], ["p1", "p2"], ["left_ear", "nose"]],
)
def test_names_that_tell_no_pair(names: list[str]) -> None:
    assert flip_indices_from_names(names) is None
    schema = generic_schema(names)
    assert schema.flip_indices is None
    assert "flip_indices" not in schema.to_dict()
    with pytest.raises(ConfigError, match=r"are unknown, so there is no flip test\. Set `flip_indices`"):
        schema.required_flip_indices()


def test_a_side_without_a_mirror_image_leaves_all_pairs_unknown() -> None:
    assert flip_indices_from_names(["left_eye", "right_eye", "left_wing_tip", "right_wingtip"]) is None
    assert flip_indices_from_names(["left_eye", "right_eye", "oeil_gauche"]) is None


def test_a_known_schema_in_another_spelling() -> None:
    hand = schema_for_names(["Nose", "LEye", "REye", "LEar", "REar", *(
        f"{side}{part}" for part in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for side in ("left", "right")
    )])  # fmt: skip
    assert hand is not None
    assert hand.name == "coco"
