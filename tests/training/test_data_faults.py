"""Faults of annotation files that would pass unseen."""

from __future__ import annotations

import numpy as np
import pytest

from coco_files import people_content, write_json, write_people
from hfpose.annotations import pose_instances, read_coco
from hfpose.errors import InputError
from hfpose.keypoints import load_schema
from hfpose.training.data_faults import find_faults


def faults_of(folder, content):
    return find_faults(read_coco(write_json(folder / "people.json", content)))


def test_a_file_that_is_right_has_no_fault(tmp_path):
    assert find_faults(read_coco(write_people(tmp_path))).lines() == []


def test_images_with_the_same_id_are_left_out_with_their_annotations(tmp_path):
    content = people_content(tmp_path)
    content["images"][1]["id"] = 1
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert [image.id for image in coco.images] == [3, 4]
    assert coco.left_out.counts["image whose id another image has too, with what is annotated for it"] == 2
    assert coco.left_out.counts["annotation of an image that was left out"] == 2
    assert len(pose_instances(coco, load_schema("coco"))) == 4


def test_an_image_that_is_listed_twice_is_one(tmp_path):
    content = people_content(tmp_path)
    content["images"].append(content["images"][0])
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert len(coco.images) == 4 and coco.left_out.total == 0


def test_normalized_coordinates_are_severe(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        keypoints = np.array(annotation["keypoints"]).reshape(-1, 3) / [160, 120, 1]
        annotation["keypoints"] = keypoints.flatten().tolist()
        annotation["bbox"] = (np.array(annotation["bbox"]) / [160, 120, 160, 120]).tolist()
    faults = faults_of(tmp_path, content)
    expected = "annotation 100 of image 1, annotation 101 of image 1, annotation 102 of image 2, ..."
    assert faults.lines() == [f"8 x box or keypoints from 0 to 1, not in pixels: {expected}"]
    with pytest.raises(InputError, match="cannot be learned from"):
        faults.refuse("people.json")


@pytest.mark.parametrize("key", ["bbox", "keypoints"])
def test_boxes_or_keypoints_alone_may_be_normalized(tmp_path, key):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        scale = [160, 120, 160, 120] if key == "bbox" else [160, 120, 1] * 17
        annotation[key] = (np.array(annotation[key]) / scale).tolist()
    assert faults_of(tmp_path, content).severe.counts == {"box or keypoints from 0 to 1, not in pixels": 8}


def test_boxes_around_other_places_than_the_keypoints_are_told(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:  # centers in the place of corners
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x + width / 2, y + height / 2, width, height]
    counts = faults_of(tmp_path, content).others.counts
    assert counts["instance of which most labeled keypoints lie outside of its box"] == 8


def test_corners_in_the_place_of_sizes_are_severe(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]
    assert "bbox that looks like x1, y1, x2, y2, not x, y, width, height" in faults_of(tmp_path, content).severe.counts


def test_a_box_that_reaches_far_out_is_no_file_of_corners(tmp_path):
    content = people_content(tmp_path)
    content["annotations"][0]["bbox"] = [80.0, 10.0, 150.0, 100.0]
    assert faults_of(tmp_path, content).severe.total == 0


def test_what_does_no_harm_is_told(tmp_path):
    content = people_content(tmp_path)
    content["annotations"][3]["id"] = 100
    content["annotations"][4]["keypoints"][:3] = [500, 5, 2]
    content["annotations"][5]["keypoints"][:3] = [0, 0, 2]
    del content["categories"][0]["name"]
    faults = faults_of(tmp_path, content)
    assert faults.severe.total == 0
    assert sorted(faults.others.counts) == [
        "annotation with the id of another one",
        "category without a name",
        "keypoint at 0, 0 that is called labeled",
        "labeled keypoint outside of its image",
    ]


@pytest.mark.parametrize(
    ("skeleton", "count"), [([[1, 17]], 0), ([[0, 1]], 1), ([[1, 18]], 1), ([[1]], 1), ([["nose", "left_eye"]], 1)]
)
def test_a_skeleton_that_is_not_drawn_is_told(tmp_path, skeleton, count):
    content = people_content(tmp_path)
    content["categories"][0]["skeleton"] = skeleton
    reason = "skeleton that is not of pairs from 1 to the number of keypoints, so it is not drawn"
    assert faults_of(tmp_path, content).others.counts[reason] == count


def test_a_visibility_that_is_none_is_told(tmp_path):
    content = people_content(tmp_path)
    content["annotations"][0]["keypoints"][2] = 0.9
    assert faults_of(tmp_path, content).others.counts["visibility that is not 0, 1 or 2"] == 1
