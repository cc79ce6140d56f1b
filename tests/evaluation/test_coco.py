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
    box_results,
    evaluate_boxes,
    evaluate_keypoints,
    instance_scores,
    keypoint_results,
    object_keypoint_similarity,
    oks_nms,
    read_results,
)
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
    return [float(value) if value >= 0 else math.nan for value in evaluation.stats]


def test_ground_truth_as_results_gives_one(tmp_path):
    content = people_content(tmp_path)
    coco = read_coco(write_json(tmp_path / "people.json", content))
    metrics = evaluate_keypoints(coco, results_from(content), SCHEMA)
    assert tuple(metrics) == KEYPOINT_METRICS
    assert all(math.isnan(metrics[name]) for name in ("APL", "ARL"))  # nobody here is large
    assert all(value == pytest.approx(1) for name, value in metrics.items() if name not in ("APL", "ARL"))
    boxes = evaluate_boxes(coco, results_from(content), [1])
    assert tuple(boxes) == BOX_METRICS
    assert boxes["AP"] == pytest.approx(1) and boxes["AR100"] == pytest.approx(1)


@pytest.mark.parametrize(("shift", "every"), [(2.0, 1), (4.0, 2), (8.0, 3), (50.0, 2)])
def test_shifted_results_give_what_pycocotools_gives(tmp_path, shift, every):
    content = people_content(tmp_path, 6)
    path = write_json(tmp_path / "people.json", content)
    coco, results = read_coco(path), results_from(content, shift, every)
    given = evaluate_keypoints(coco, results, SCHEMA)
    expected = by_pycocotools(path, results, "keypoints")
    assert list(given.values()) == pytest.approx(expected, nan_ok=True)
    assert given["AP"] < 0.999
    boxes = evaluate_boxes(coco, results, [1])
    assert list(boxes.values()) == pytest.approx(by_pycocotools(path, results, "bbox"), nan_ok=True)


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


def test_a_schema_without_sigmas_has_no_precision(tmp_path):
    coco = read_coco(write_people(tmp_path))
    with pytest.raises(ConfigError, match="no sigmas"):
        evaluate_keypoints(coco, [], replace(SCHEMA, sigmas=None))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": [1.0] * 63}, "Result 2 has 63 values in 'keypoints'.*expected 51"),
        ({"keypoints": None}, "no values"),
        ({"score": None}, "score None"),
        ({"image_id": 99}, "image 99, which is not among the 4 images"),
    ],
)
def test_results_of_another_form_are_named(tmp_path, changes, message):
    content = people_content(tmp_path)
    coco, results = read_coco(write_json(tmp_path / "people.json", content)), results_from(content)
    results[2] |= changes
    with pytest.raises(InputError, match=message):
        evaluate_keypoints(coco, results, SCHEMA)


def test_result_files_are_lists(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"image_id": 1}]))
    assert read_results(path) == [{"image_id": 1}]
    path.write_text(json.dumps({"images": []}))
    with pytest.raises(InputError, match="no list of objects"):
        read_results(path)


def test_the_score_of_an_instance_is_its_box_times_its_high_keypoints():
    given = instance_scores(np.array([[0.9, 0.5, 0.1], [0.1, 0.1, 0.2]]), np.array([0.5, 1.0]))
    assert given.tolist() == pytest.approx([0.5 * 0.7, 0])


def test_results_in_the_format_of_coco():
    keypoints, scores = np.array([[[1.23456, 2], [3, 4]]], np.float32), np.array([[0.5, 0.25]], np.float32)
    given = keypoint_results(7, 1, keypoints, scores, np.array([0.75]))
    assert given == [{"image_id": 7, "category_id": 1, "keypoints": [1.235, 2, 0.5, 3, 4, 0.25], "score": 0.75}]
    assert keypoint_results(7, 1, keypoints[:0], scores[:0], np.zeros(0)) == []
    boxes = np.array([[1, 2, 11, 22], [0, 0, 5, 5]], np.float32)
    given = box_results(7, boxes, np.array([3, 4]), np.array([0.5, 0.25]), {3: 18})
    assert given == [{"image_id": 7, "category_id": 18, "bbox": [1, 2, 10, 20], "score": 0.5}]


def test_similarity_by_hand():
    # Moved by (3, 4) with area 100 and sigma 0.1: exp(-25 / (2 * 100 * 0.04)); the second keypoint has not moved.
    keypoints = np.array([[[0.0, 0], [5, 5]]])
    moved = np.array([[[3.0, 4], [5, 5]]])
    given = object_keypoint_similarity(keypoints, moved, np.array([100.0]), np.array([100.0]), [0.1, 0.1])
    assert given.tolist() == [[pytest.approx((math.exp(-25 / 8) + 1) / 2)]]


def test_of_two_similar_instances_the_worse_goes():
    person = np.random.default_rng(0).uniform(0, 100, (17, 2))
    keypoints = np.stack((person, person + 0.5, person + 60))
    kept = oks_nms(keypoints, np.full(3, 1e4), np.array([0.5, 0.9, 0.1]), SCHEMA.sigmas)
    assert kept.tolist() == [1, 2]
    assert oks_nms(keypoints[:0], np.zeros(0), np.zeros(0), SCHEMA.sigmas).tolist() == []
