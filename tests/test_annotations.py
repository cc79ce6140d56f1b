"""Annotations in COCO's format: what is read, what is left out and how that is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from coco_files import people_content, write_json, write_people
from hfpose.annotations import (
    annotated_schema,
    check_keypoints,
    image_boxes,
    pose_instances,
    read_coco,
    read_schema,
    unnamed_categories,
)
from hfpose.errors import ConfigError, InputError
from hfpose.evaluation.coco import ground_truth
from hfpose.keypoints import load_schema

COCO = load_schema("coco")


def changed(folder: Path, index: int = 0, **changes) -> Path:
    """A file of people in which one annotation is changed."""
    content = people_content(folder)
    content["annotations"][index] |= changes
    return write_json(folder / "people.json", content)


def test_people_are_read_with_boxes_in_corners_and_all_keypoints(tmp_path):
    coco = read_coco(write_people(tmp_path))
    instances = pose_instances(coco, COCO)
    assert len(instances) == 8 and coco.left_out.total == 0
    assert instances.boxes[0].tolist() == [10, 12, 60, 102]
    assert instances.image_indices.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    given = np.array(coco.annotations[1]["keypoints"]).reshape(17, 3)
    np.testing.assert_allclose(instances.keypoints[1], given[:, :2], rtol=1e-6)
    assert instances.visibility[1].tolist() == [1, 0, *[2] * 15]
    assert instances.images[0].path.is_file()


def test_a_box_that_reaches_out_of_the_image_ends_at_its_border(tmp_path):
    coco = read_coco(changed(tmp_path, bbox=[-20.0, 100.0, 50.0, 90.0]))
    assert pose_instances(coco, COCO).boxes[0].tolist() == [0, 100, 30, 119]  # of 160x120 pixels, as the reference


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bbox": [200.0, 10.0, 20.0, 20.0]}, "bbox outside of the image"),
        ({"bbox": [10.0, 10.0, 0.0, 20.0]}, "bbox without area"),
        ({"bbox": None}, "bbox that is not"),
        ({"bbox": [1, 2, 3]}, "bbox that is not"),
        ({"bbox": [1, 2, float("nan"), 3]}, "bbox that is not"),
        ({"iscrowd": 1}, "crowd"),
        ({"keypoints": [0] * 51}, "without labeled keypoints"),
        ({"keypoints": [1.0] * 63}, "63 keypoint values instead of 3 x 17"),
        ({"keypoints": None}, "without keypoints"),
        ({"keypoints": ["a"] * 51}, "not finite numbers"),
        ({"image_id": 77}, "image that the file does not list"),
    ],
)
def test_a_bad_annotation_is_left_out_counted_and_named(tmp_path, changes, reason):
    coco = read_coco(changed(tmp_path, **changes))
    assert len(pose_instances(coco, COCO)) == 7
    assert coco.left_out.total == 1
    (line,) = coco.left_out.lines()
    assert line.startswith("1 x ") and reason in line and "annotation 100" in line


def test_a_missing_image_is_left_out_with_its_annotations(tmp_path):
    path = write_people(tmp_path)
    (tmp_path / "1.png").unlink()
    coco = read_coco(path)
    assert len(pose_instances(coco, COCO)) == 6
    lines = coco.left_out.lines()
    assert any("1 x image that is missing: 1.png" in line for line in lines)
    assert any("2 x annotation of an image that was left out" in line for line in lines)


@pytest.mark.parametrize("name", ["../0.png", "/etc/hostname"])
def test_file_names_that_lead_out_of_the_folder_are_not_opened(tmp_path, name):
    content = people_content(tmp_path)
    content["images"][0]["file_name"] = name
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert len(coco.images) == 3
    assert "leads out of the folder" in coco.left_out.lines()[-1]


def test_long_lists_of_names_are_shortened(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        annotation["iscrowd"] = int(annotation["id"] != 100)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    pose_instances(coco, COCO)
    assert coco.left_out.lines() == [
        "7 x crowd, not one instance: annotation 101 of image 1, annotation 102 of image 2, "
        "annotation 103 of image 2, ..."
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [', "not valid JSON"),
        ("[]", "expected an object"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": 3, "annotations": []}', "no list 'images'"),
        ('{"images": [], "annotations": []}', "lists no images"),
    ],
)
def test_files_in_another_format_are_refused(tmp_path, text, message):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_coco(path)


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.json"):
        read_coco(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="no folder"):
        read_coco(write_people(tmp_path), tmp_path / "images")


def test_nobody_left_is_an_error_that_says_why(tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    with pytest.raises(InputError, match=r"21 keypoints.*8 x 51 keypoint values instead of 3 x 21"):
        pose_instances(coco, load_schema("coco_wholebody_hand"))


def test_the_schema_is_found_by_the_names_in_the_file(tmp_path):
    content = people_content(tmp_path)
    path = write_json(tmp_path / "people.json", content)
    assert annotated_schema(read_coco(path)) == COCO
    content["categories"][0] |= {"keypoints": ["left_ear", "right_ear", "tail"], "skeleton": [[1, 3], [2, 3]]}
    schema = annotated_schema(read_coco(write_json(path, content)))
    assert schema.keypoint_names == ("left_ear", "right_ear", "tail")
    assert schema.flip_indices == (1, 0, 2)
    assert schema.skeleton == ((0, 2), (1, 2))
    del content["categories"][0]["keypoints"]
    assert annotated_schema(read_coco(write_json(path, content))) is None


def test_categories_with_different_keypoints_are_refused(tmp_path):
    content = people_content(tmp_path)
    content["categories"].append({"id": 2, "name": "dog", "keypoints": ["nose"]})
    coco = read_coco(write_json(tmp_path / "people.json", content))
    with pytest.raises(InputError, match="person: 17, dog: 1"):
        annotated_schema(coco)


@pytest.mark.parametrize("has_keypoints", [True, False])
def test_categories_that_name_no_keypoints_are_told(tmp_path, has_keypoints):
    content = people_content(tmp_path)
    content["categories"].append({"id": 2, "name": "dog"})
    for annotation in content["annotations"][:3]:
        annotation["category_id"] = 2
        if not has_keypoints:
            del annotation["keypoints"]
    (line,) = unnamed_categories(read_coco(write_json(tmp_path / "people.json", content)))
    assert line.startswith("Annotations of categories that name no keypoints, which are not used: dog (3).")
    assert ("Keypoints that 3 of these have are used if" in line) == has_keypoints


@pytest.mark.parametrize(
    ("change", "told"), [({"keypoints": ["a", "a"]}, "these repeat: a"), ({"flip_idx": [0]}, "flip_indices must")]
)
def test_names_that_cannot_be_used_are_told_with_the_file(tmp_path, change, told):
    content = people_content(tmp_path)
    content["categories"] = [{"id": 1, "name": "bolt", "keypoints": ["a", "b"], **change}]
    with pytest.raises(InputError, match=rf"people\.json names cannot be used\..*{told}"):
        annotated_schema(read_coco(write_json(tmp_path / "people.json", content)))


@pytest.mark.parametrize(
    ("content", "told"),
    [([1], "list was given"), ({"keypoint_names": ["a", "b"], "sigmas": [0.1, 0]}, "the sigma 0; expected numbers")],
)
def test_a_file_that_describes_no_schema_is_named(tmp_path, content, told):
    with pytest.raises(ConfigError, match=rf"mine\.json .*{told}"):
        read_schema(write_json(tmp_path / "mine.json", content))


def test_keypoints_of_another_schema_are_refused_even_when_there_are_as_many(tmp_path):
    coco = read_coco(write_people(tmp_path))
    check_keypoints(coco, COCO)
    with pytest.raises(InputError, match=r"17 keypoints nose, left_eye, right_eye.*'ap10k'"):
        check_keypoints(coco, load_schema("ap10k"))


def test_schemas_come_by_name_or_from_a_file(tmp_path):
    assert read_schema("coco") == COCO
    assert read_schema(write_json(tmp_path / "mine.json", COCO.to_dict())) == COCO
    with pytest.raises(ConfigError):
        read_schema(write_json(tmp_path / "mine.json", {"name": "x"}))


def test_objects_of_other_categories_are_nothing_that_is_wrong(tmp_path):
    content = people_content(tmp_path)
    content["categories"].append({"id": 2, "name": "chair"})
    content["annotations"].append({"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5]})
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert len(pose_instances(coco, COCO)) == 8 and coco.left_out.total == 0


def test_boxes_of_chosen_categories_and_images_without_any(tmp_path):
    content = people_content(tmp_path)
    content["categories"].append({"id": 2, "name": "chair"})
    content["annotations"] = [
        {"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 1, 5, 5]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [10, 20, 30, 40]},
        {"id": 3, "image_id": 3, "category_id": 2, "bbox": [1, 1, 500, 5]},
        {"id": 4, "image_id": 3, "category_id": 9, "bbox": [1, 1, 500, 5]},
    ]
    found = image_boxes(read_coco(write_json(tmp_path / "people.json", content)), {2: 0, 1: 1})
    assert [one.labels.tolist() for one in found] == [[0, 1], [], [0], []]
    assert found[0].boxes.tolist() == [[1, 1, 6, 6], [10, 20, 40, 60]]
    assert found[2].boxes.tolist() == [[1, 1, 159, 6]]
    assert found[1].boxes.shape == (0, 4)


def test_ground_truth_fills_in_what_pycocotools_needs(tmp_path):
    content = people_content(tmp_path)
    for key in ("area", "iscrowd", "num_keypoints"):
        del content["annotations"][1][key]
    content["annotations"][2]["keypoints"] = [1, 2, 3]
    content["annotations"][3]["id"] = 0  # which pycocotools takes for "no match"
    truth = ground_truth(read_coco(write_json(tmp_path / "people.json", content)), [1], COCO)
    assert len(truth["annotations"]) == 8 and truth["annotations"][2]["num_keypoints"] == 0
    filled = truth["annotations"][1]
    assert (filled["area"], filled["iscrowd"], filled["num_keypoints"]) == (pytest.approx(6000 * 0.53), 0, 16)
    assert [annotation["id"] for annotation in truth["annotations"]] == list(range(1, 9))
    json.dumps(truth)


@pytest.mark.parametrize("area", [0, 0.0, 1, -1, "0", None, float("nan")])
def test_an_impossible_area_is_taken_from_the_box(tmp_path, area):
    coco = read_coco(changed(tmp_path, area=area))
    assert ground_truth(coco, [1], COCO)["annotations"][0]["area"] == pytest.approx(0.53 * 50 * 90)


def test_a_possible_area_stays(tmp_path):
    coco = read_coco(changed(tmp_path, area=1200.5))
    assert ground_truth(coco, [1], COCO)["annotations"][0]["area"] == 1200.5
    tiny = read_coco(changed(tmp_path, area=1, bbox=[3, 3, 1, 1]))
    assert ground_truth(tiny, [1], COCO)["annotations"][0]["area"] == 1


@pytest.mark.parametrize(
    "point", [[float("nan"), float("nan"), 0], [None, None, 0], [None, None, None], ["nan", 5, 0]]
)
def test_an_unlabeled_point_may_be_anywhere(tmp_path, point):
    given = [*point, *[30.0, 40.0, 2] * 16]
    coco = read_coco(changed(tmp_path, keypoints=given))
    instances = pose_instances(coco, COCO)
    assert len(instances) == 8 and coco.left_out.total == 0
    assert instances.visibility[0].tolist() == [0, *[2] * 16] and np.isfinite(instances.keypoints).all()


@pytest.mark.parametrize("point", [[None, 5, 2], [float("inf"), 5, 1], [5, 5, None]])
def test_a_labeled_point_without_a_place_is_told(tmp_path, point):
    coco = read_coco(changed(tmp_path, keypoints=[*point, *[30.0, 40.0, 2] * 16]))
    assert len(pose_instances(coco, COCO)) == 7 and "not finite numbers" in coco.left_out.lines()[0]


@pytest.mark.parametrize("changes", [{"keypoints": [1e300, 5, 2] * 17}, {"bbox": [1e300, 5, 20, 20]}])
def test_numbers_beyond_float32_are_told(tmp_path, changes):
    coco = read_coco(changed(tmp_path, **changes))
    assert len(pose_instances(coco, COCO)) == 7 and coco.left_out.total == 1


def test_an_entry_that_is_no_object_hides_no_other(tmp_path):
    content = json.loads(changed(tmp_path).read_text())
    content["annotations"].append(None)
    coco = read_coco(write_json(tmp_path / "null.json", content))
    assert len(pose_instances(coco, COCO)) == 8
    assert coco.left_out.lines() == ["1 x entry of annotations that is no object: None"]


def test_whole_ids_as_a_table_writes_them_are_read(tmp_path):
    content = json.loads(changed(tmp_path).read_text())
    for image in content["images"]:
        image["id"] = float(image["id"])
    assert len(pose_instances(read_coco(write_json(tmp_path / "floats.json", content)), COCO)) == 8


def test_numbers_as_texts_and_nested_keypoints_are_read(tmp_path):
    coco = read_coco(changed(tmp_path, bbox=["10", "12", "50", "90"], keypoints=[["30.5", 40, 2]] * 17, area="900"))
    instances = pose_instances(coco, COCO)
    assert instances.boxes[0].tolist() == [10, 12, 60, 102] and instances.keypoints[0, 3].tolist() == [30.5, 40]
    truth = ground_truth(coco, [1], COCO)["annotations"][0]
    assert (truth["bbox"], truth["area"], truth["num_keypoints"]) == ([10, 12, 50, 90], 900, 17)


@pytest.mark.parametrize("changes", [{"category_id": "1"}, {"category_id": 1.0}, {"image_id": "1"}])
def test_an_id_of_another_type_is_the_listed_one(tmp_path, changes):
    coco = read_coco(changed(tmp_path, **changes))
    assert len(pose_instances(coco, COCO)) == 8 and coco.left_out.total == 0
    assert coco.annotations[0]["category_id"] == coco.annotations[0]["image_id"] == 1


@pytest.mark.parametrize("category_id", [None, 5, "person", [1]])
def test_a_category_that_is_not_listed_is_told(tmp_path, category_id):
    coco = read_coco(changed(tmp_path, category_id=category_id))
    assert len(pose_instances(coco, COCO)) == 7
    assert coco.left_out.lines() == [
        "1 x annotation of a category that the file does not list: annotation 100 of image 1"
    ]


def test_an_instance_one_keypoint_short_has_no_keypoints_to_measure(tmp_path):
    coco = read_coco(changed(tmp_path, keypoints=[30.0, 40.0, 2] * 16))
    first, *others = ground_truth(coco, [1], COCO)["annotations"]
    assert first["num_keypoints"] == 0 and first["keypoints"] == [0] * 51 and len(others) == 7


def test_names_of_more_keypoints_than_the_lists_have_are_those_of_the_first(tmp_path):
    """As in Human-Art's file."""
    content = people_content(tmp_path)
    content["categories"][0]["keypoints"] = [
        *COCO.keypoint_names,
        "left_toe",
        "right_toe",
        "left_finger",
        "right_finger",
    ]
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert coco.keypoint_names == COCO.keypoint_names
    check_keypoints(coco, COCO)


def test_results_are_measured_without_the_image_files(tmp_path):
    path = write_people(tmp_path)
    for image in tmp_path.glob("*.png"):
        image.unlink()
    assert len(read_coco(path, needs_images=False).images) == 4
    with pytest.raises(InputError, match="None of the 4 images"):
        read_coco(path)


@pytest.mark.parametrize(("stated", "left"), [("0", 8), ("1", 7), (True, 7), (None, 8)])
def test_a_crowd_is_told_by_number_text_or_truth(tmp_path, stated, left):
    content = people_content(tmp_path)
    content["annotations"][0]["iscrowd"] = stated
    assert len(pose_instances(read_coco(write_json(tmp_path / "people.json", content)), load_schema("coco"))) == left


def test_a_category_that_counts_its_keypoints_names_none(tmp_path):
    content = people_content(tmp_path)
    content["categories"][0]["keypoints"] = 17
    assert read_coco(write_json(tmp_path / "people.json", content)).keypoint_names is None
