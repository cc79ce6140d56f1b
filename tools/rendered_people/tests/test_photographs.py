from __future__ import annotations

import json

import numpy as np
import pytest

from photographs import Figures, Photograph, count_boxes, count_keypoints, read_photographs


@pytest.fixture
def photograph(tmp_path) -> Photograph:
    """People of 200 and 50 pixels."""
    keypoints = np.zeros((2, 17, 3))
    keypoints[:, :4] = (50, 50, 2)
    return Photograph(tmp_path / "a.jpg", True, np.array([(0, 0, 100, 200), (300, 0, 320, 50.0)]), keypoints)


def test_photographs_are_read_with_corners_of_boxes(tmp_path):
    image = {"id": 3, "file_name": "a.jpg", "complete": True}
    person = {"image_id": 3, "bbox": [10, 20, 30, 40], "keypoints": [5, 6, 2] * 17}
    content = {"images": [image, {"id": 4, "file_name": "b.jpg"}], "annotations": [person]}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    first, second = read_photographs(tmp_path)
    np.testing.assert_array_equal(first.boxes, [[10, 20, 40, 60]])
    assert first.is_complete and first.sides.tolist() == [40]
    assert not second.is_complete and second.boxes.shape == (0, 4)


def test_a_person_is_found_once_and_the_second_box_of_it_is_false(photograph):
    boxes = np.array([(0, 0, 100, 190), (0, 0, 100, 200.0)])
    assert count_boxes(photograph, boxes, np.array([0.5, 0.9])) == (1, 1, 1)


def test_small_people_are_not_asked_for_but_no_false_boxes(photograph):
    assert count_boxes(photograph, photograph.boxes[1:], np.array([0.9])) == (1, 0, 0)


def test_boxes_of_nobody_are_false(photograph):
    assert count_boxes(photograph, np.array([(400.0, 0, 500, 100)]), np.array([0.9])) == (1, 0, 1)
    assert count_boxes(photograph, np.zeros((0, 4)), np.zeros(0)) == (1, 0, 0)


def test_a_keypoint_is_right_within_a_fifth_of_the_longer_side(photograph):
    keypoints = photograph.keypoints[..., :2].copy()
    keypoints[0, 0] += (39, 0)
    keypoints[0, 1] += (41, 0)
    keypoints[1, 0] += (11, 0)
    assert count_keypoints(photograph, keypoints) == (8, 6)


def test_figures_are_one_line():
    text = str(Figures(people=19, found=10, false_boxes=28, images=9, keypoints=200, right=150))
    assert "found 10 of 19" in text and "28 false boxes in 9 images" in text and "75.0%" in text
