from __future__ import annotations

import numpy as np
import pytest

from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import load_schema
from hfpose.results import PoseOutput
from hfpose.visualization import draw_poses

SCHEMA = load_schema("coco_wholebody")
PLACES = {
    "nose": (256, 100), "left_shoulder": (306, 200), "right_shoulder": (206, 200), "left_elbow": (306, 300),
    "left_wrist": (306, 400), "left_hand_root": (400, 400), "left_thumb1": (440, 400), "face-0": (100, 50),
    "left_big_toe": (50, 480), "right_hand_root": (60, 400),
}  # fmt: skip


def person(scale: float = 1.0) -> PoseOutput:
    keypoints = np.zeros((1, 133, 2), np.float32)
    scores = np.zeros((1, 133), np.float32)
    for name, place in PLACES.items():
        keypoints[0, SCHEMA.index(name)] = place
        scores[0, SCHEMA.index(name)] = 1
    return PoseOutput(keypoints=keypoints * scale, keypoint_scores=scores, schema=SCHEMA)


def drawn(output: PoseOutput, size: int = 512, **options: object) -> np.ndarray:
    image = np.full((size, size, 3), 99, np.uint8)
    return draw_poses(image, output, skeleton_style="openpose", black_background=True, **options)


def test_parts_have_the_colors_of_dwpose() -> None:
    picture = drawn(person())
    assert picture[400, 306].tolist() == [0, 255, 85]  # the left wrist, joint 7
    assert picture[200, 281].tolist() == [153, 51, 0]  # neck to left shoulder, limb 1, at 60 % of its brightness
    assert picture[350, 306].tolist() == [51, 153, 0]  # the left forearm, limb 5
    assert picture[400, 400].tolist() == picture[400, 440].tolist() == [0, 0, 255]
    assert picture[400, 420].tolist() == [255, 0, 0]  # the first bone of the thumb
    assert picture[50, 100].tolist() == [255, 255, 255]
    assert picture[200, 256].tolist() == [255, 85, 0]  # the neck, between the shoulders


def test_feet_and_what_is_uncertain_are_not_drawn() -> None:
    output = person()
    output.keypoint_scores[0, SCHEMA.index("left_wrist")] = 0.2
    picture = drawn(output)
    assert not picture[470:490, 40:60].any()
    assert not picture[380:410, 300:312].any()


def test_sizes_are_those_of_dwpose_at_512_pixels() -> None:
    picture = drawn(person())
    assert int(picture[400, 290:320].any(-1).sum()) == 9  # radius 4
    assert int(picture[40:60, 100].any(-1).sum()) == 7  # radius 3


def test_canvas_shows_the_whole_image() -> None:
    picture = drawn(person(2.0), size=1024, canvas_size=(512, 512))
    np.testing.assert_array_equal(picture, drawn(person()))
    assert drawn(person(), canvas_size=(300, 200)).shape == (200, 300, 3)


def test_nobody_is_a_black_canvas() -> None:
    nobody = person().select([])
    assert not drawn(nobody, canvas_size=(64, 32)).any()
    assert drawn(nobody, canvas_size=(64, 32)).shape == (32, 64, 3)


def test_points_far_away_do_no_harm() -> None:
    output = person()
    output.keypoints[0, SCHEMA.index("left_wrist")] = [1e12, -1e12]
    output.keypoints[0, SCHEMA.index("face-0")] = np.nan
    assert drawn(output).any()


def test_bodies_without_hands_are_drawn_too() -> None:
    coco = load_schema("coco")
    output = PoseOutput(keypoints=np.full((1, 17, 2), 100.0), keypoint_scores=np.ones((1, 17)), schema=coco)
    assert drawn(output).any()


def test_a_canvas_is_for_this_picture_alone() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(ConfigError, match="canvas_size"):
        draw_poses(image, person(), canvas_size=(32, 32))
    with pytest.raises(InputError, match="canvas_size"):
        drawn(person(), canvas_size=(0, 32))
