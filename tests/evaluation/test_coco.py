"""COCO's average precision: ground truth gives 1, known shifts what pycocotools gives."""

from __future__ import annotations

import contextlib
import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO as PyCOCO
from pycocotools.cocoeval import COCOeval

from coco_files import people_content, write_json, write_people
from hfpose.annotations import read_coco
from hfpose.errors import ConfigError, InputError
from hfpose.evaluation.coco import (
    BOX_METRICS,
    KEYPOINT_METRICS,
    PrecisionRules,
    evaluate_boxes,
    evaluate_keypoints,
    read_sigmas,
)
from hfpose.evaluation.coco_results import box_results, in_parts, keypoint_results, read_results
from hfpose.keypoints import load_schema

SCHEMA = load_schema("coco")


def results_from(content: dict, shift: float = 0.0, every: int = 1) -> list[dict]:
    """Results made from the ground truth; every so many instances are moved to the right by `shift` pixels."""
    results = []
    for index, annotation in enumerate(content["annotations"]):
        keypoints = np.array(annotation["keypoints"], float).reshape(-1, 3)
        keypoints[:, 0] += shift if index % every == 0 else 0
        x, y, width, height = annotation["bbox"]
        results.append(
            {
                "image_id": annotation["image_id"],
                "category_id": annotation["category_id"],
                "keypoints": keypoints.flatten().tolist(),
                "bbox": [x + (shift if index % every == 0 else 0), y, width, height],
                "score": 1 - index * 0.01,
            }
        )
    return results


def by_pycocotools(path, results: list[dict], kind: str) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = PyCOCO(str(path))
        evaluation = COCOeval(truth, truth.loadRes([dict(result) for result in results]), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats if value >= 0]


def test_ground_truth_as_results_gives_one(tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    metrics = evaluate_keypoints(coco, results_from(content), SCHEMA)
    assert (*metrics, *metrics.missing) == (*(n for n in KEYPOINT_METRICS if n[-1] != "L"), "APL", "ARL")
    assert "no instance of large area is annotated" in metrics.missing["APL"]  # nobody here is large
    assert all(value == pytest.approx(1) for value in metrics.values())
    boxes = evaluate_boxes(coco, results_from(content), [1])
    assert set(boxes) | set(boxes.missing) == set(BOX_METRICS)
    assert boxes["AP"] == pytest.approx(1) and boxes["AR100"] == pytest.approx(1)


@pytest.mark.parametrize(("shift", "every"), [(2.0, 1), (4.0, 2), (8.0, 3), (50.0, 2)])
def test_shifted_results_give_what_pycocotools_gives(tmp_path, shift, every):
    content = people_content(tmp_path, 6)
    path = write_json(tmp_path / "people.json", content)
    coco, results = read_coco(path), results_from(content, shift, every)
    given = evaluate_keypoints(coco, results, SCHEMA)
    expected = by_pycocotools(path, results, "keypoints")
    assert list(given.values()) == pytest.approx(expected)
    assert given["AP"] < 0.999
    boxes = evaluate_boxes(coco, results, [1])
    assert list(boxes.values()) == pytest.approx(by_pycocotools(path, results, "bbox"))


def test_the_sigmas_are_those_of_the_schema(tmp_path):
    content = people_content(tmp_path)
    coco, results = read_coco(write_json(tmp_path / "people.json", content)), results_from(content, 6.0)
    strict = replace(SCHEMA, sigmas=tuple(sigma / 4 for sigma in SCHEMA.sigmas))
    lenient = replace(SCHEMA, sigmas=tuple(sigma * 4 for sigma in SCHEMA.sigmas))
    given = [evaluate_keypoints(coco, results, schema)["AP"] for schema in (strict, SCHEMA, lenient)]
    assert given[0] < given[1] < given[2]


def test_schemas_of_any_size_are_measured(tmp_path):
    content = people_content(tmp_path)
    for annotation in content["annotations"]:
        annotation["keypoints"] = annotation["keypoints"][:9]
    content["categories"][0]["keypoints"] = ["a", "b", "c"]
    coco = read_coco(write_json(tmp_path / "people.json", content))
    schema = replace(
        SCHEMA, keypoint_names=("a", "b", "c"), flip_indices=(0, 1, 2), sigmas=(0.05, 0.05, 0.05), skeleton=(),
        skeleton_colors=(), keypoint_colors=(), joint_weights=(), upper_body_ids=(), lower_body_ids=(),
    )  # fmt: skip
    assert evaluate_keypoints(coco, results_from(content), schema)["AP"] == pytest.approx(1)


def test_several_categories_with_keypoints_are_taken_together(tmp_path):
    content = people_content(tmp_path)
    content["categories"].append(content["categories"][0] | {"id": 7, "name": "dancer"})
    for annotation in content["annotations"][::2]:
        annotation["category_id"] = 7
    coco = read_coco(write_json(tmp_path / "people.json", content))
    results = [result | {"category_id": 1} for result in results_from(content)]
    assert evaluate_keypoints(coco, results, SCHEMA)["AP"] == pytest.approx(1)


def test_no_results_are_no_precision(tmp_path):
    coco = read_coco(write_people(tmp_path))
    assert evaluate_keypoints(coco, [], SCHEMA)["AP"] == 0
    assert evaluate_boxes(coco, [], [1])["AR100"] == 0


def test_a_schema_without_sigmas_has_uniform_ones_and_says_so(tmp_path):
    content = people_content(tmp_path)
    coco, results = read_coco(write_json(tmp_path / "people.json", content)), results_from(content, 5.0)
    given = evaluate_keypoints(coco, results, replace(SCHEMA, sigmas=None))
    assert given == evaluate_keypoints(coco, results, replace(SCHEMA, sigmas=(0.05,) * 17))
    assert "'coco' has no sigmas: 0.05 is taken for all 17 keypoints" in given.lines()[0]


@pytest.mark.parametrize("content", [[0.1] * 17, dict.fromkeys(SCHEMA.keypoint_names, 0.1)])
def test_sigmas_come_from_a_file(tmp_path, content):
    assert read_sigmas(write_json(tmp_path / "sigmas.json", content), SCHEMA).sigmas == (0.1,) * 17


@pytest.mark.parametrize("content", [[0.1] * 16, {"nose": 0.1}, "text", [0.0] * 17])
def test_sigmas_of_other_keypoints_are_refused(tmp_path, content):
    with pytest.raises(ConfigError, match="expected a list of 17 numbers above 0"):
        read_sigmas(write_json(tmp_path / "sigmas.json", content), SCHEMA)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoints": [1.0] * 63}, "result with 63 keypoint values instead of 3 x 17 (coco)"),
        ({"keypoints": None}, "result without keypoints that are finite numbers"),
        ({"keypoints": [math.nan] * 51}, "result without keypoints that are finite numbers"),
        ({"score": None}, "result without a score that is a finite number"),
        ({"image_id": 99}, "result of an image that the annotations do not list"),
        ({"category_id": 8}, "result of the category 8, which is not measured (1 are)"),
        ({"image_id": [3]}, "result of an image that the annotations do not list"),
        ({"category_id": {}}, "result of the category {}, which is not measured (1 are)"),
        ({"keypoints": [5.0, 5.0, 0.0] * 17}, "result in which no keypoint has a score above 0"),
    ],
)
def test_results_that_cannot_be_used_are_left_out_and_counted(tmp_path, changes, reason):
    content = people_content(tmp_path)
    coco, results = read_coco(write_json(tmp_path / "people.json", content)), results_from(content)
    results[2] |= changes
    given = evaluate_keypoints(coco, results, SCHEMA)
    assert 0.5 < given["AP"] < 1
    assert [line.split(": ")[0] for line in given.left_out.lines()] == [f"1 x {reason}".split(": ")[0]]


def test_ids_may_be_given_as_text(tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    results = [one | {"image_id": str(one["image_id"]), "category_id": "1"} for one in results_from(content)]
    for given in (evaluate_keypoints(coco, results, SCHEMA), evaluate_boxes(coco, results, [1])):
        assert given["AP"] == pytest.approx(1) and not given.left_out.total


def test_results_without_a_category_are_of_the_only_one(tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    results = [{name: value for name, value in one.items() if name != "category_id"} for one in results_from(content)]
    assert evaluate_boxes(coco, results, [1])["AP"] == pytest.approx(1)
    by_category = PrecisionRules(by_category=True)
    assert evaluate_keypoints(coco, results, SCHEMA, by_category)["AP"] == pytest.approx(1)
    content["categories"].append(content["categories"][0] | {"id": 2, "name": "child"})
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert evaluate_keypoints(coco, results, SCHEMA)["AP"] == pytest.approx(1)
    for given in (evaluate_boxes(coco, results, [1, 2]), evaluate_keypoints(coco, results, SCHEMA, by_category)):
        assert not given and "result without category_id, of several that are measured (1, 2)" in given.lines()[0]


def test_areas_that_are_taken_from_boxes_are_told(tmp_path):
    content = people_content(tmp_path)
    content["annotations"][0]["area"] = 0
    del content["annotations"][1]["area"]
    coco = read_coco(write_json(tmp_path / "people.json", content))
    (notice,) = evaluate_keypoints(coco, results_from(content), SCHEMA).notices
    assert "2 of 8 annotations have no `area`" in notice


def test_where_no_result_can_be_used_nothing_is_measured(tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    results = [result | {"category_id": 8, "bbox": [1, 2]} for result in results_from(content)]
    for given in (evaluate_keypoints(coco, results, SCHEMA), evaluate_boxes(coco, results, [1])):
        assert not given and given.left_out.total == 8
        assert set(given.missing.values()) == {"no result could be used"}


def test_annotations_that_cannot_be_read_are_counted_and_lower_nothing(tmp_path):
    content = people_content(tmp_path)
    results = results_from(content)
    content["annotations"][1]["keypoints"] = content["annotations"][1]["keypoints"][3:]
    coco = read_coco(write_json(tmp_path / "people.json", content))
    assert evaluate_keypoints(coco, results, SCHEMA)["AP"] == pytest.approx(1)
    evaluate_keypoints(coco, results, SCHEMA)
    assert coco.left_out.counts == {"48 keypoint values instead of 3 x 17 (coco)": 1}  # however often they are read


def test_result_files_are_lists(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1}]))
    assert read_results(path) == [{"image_id": 1}]
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(InputError, match="no list of objects"):
        read_results(path)


def test_results_in_the_format_of_coco():
    keypoints, scores = np.array([[[1.23456, 2], [3, 4]]], np.float32), np.array([[0.5, 0.25]], np.float32)
    given = keypoint_results(7, [1], keypoints, scores, np.array([0.75]))
    assert given == [{"image_id": 7, "category_id": 1, "keypoints": [1.23456, 2, 0.5, 3, 4, 0.25], "score": 0.75}]
    assert keypoint_results(7, [], keypoints[:0], scores[:0], np.zeros(0)) == []
    boxes = np.array([[1, 2, 11, 22], [0, 0, 5, 5]], np.float32)
    given = box_results(7, boxes, np.array([3, 4]), np.array([0.5, 0.25]), {3: 18})
    assert given == [{"image_id": 7, "category_id": 18, "bbox": [1, 2, 10, 20], "score": 0.5}]


def test_whole_bodies_are_written_in_their_own_format():
    given = in_parts({"image_id": 1, "keypoints": list(range(399))})
    lengths = {
        name: len(given[name]) for name in ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
    }
    assert list(lengths.values()) == [51, 18, 204, 63, 63]
    assert given["lefthand_kpts"][0] == 3 * 91


def test_ids_may_be_numbers_beside_texts_and_texts_of_numbers(tmp_path):
    content = people_content(tmp_path)
    results = results_from(content)
    for entry in (*content["annotations"], *results):
        entry["image_id"] = "last" if entry["image_id"] == 4 else entry["image_id"]
    content["images"][3]["id"] = "last"
    for result in results[:2]:
        result |= {"image_id": str(result["image_id"]), "category_id": "1", "score": str(result["score"])}
    metrics = evaluate_keypoints(read_coco(write_json(tmp_path / "people.json", content)), results, SCHEMA)
    assert metrics["AP"] == pytest.approx(1) and not metrics.left_out.total


def test_a_result_whose_image_id_is_a_list_is_left_out(tmp_path):
    content = people_content(tmp_path)
    results = results_from(content)
    results[0]["image_id"] = [1]
    metrics = evaluate_keypoints(read_coco(write_json(tmp_path / "people.json", content)), results, SCHEMA)
    assert metrics.left_out.total == 1 and 0 < metrics["AP"] < 1
