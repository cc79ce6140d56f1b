"""Protocols of data sets: the numbers that MMPose 1.3.2's evaluators compute for the same annotations and predictions.

Each expected number was computed by the reference's evaluator from `noisy_predictions`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hfpose.annotations import CocoFile, read_coco
from hfpose.errors import ConfigError, InputError
from hfpose.evaluation.coco_results import in_parts, usable_results
from hfpose.evaluation.metrics import Metrics
from hfpose.evaluation.mpii import read_mpii
from hfpose.evaluation.protocols import PROTOCOLS, get_protocol, measure
from hfpose.evaluation.scoring import instance_scores, suppress
from hfpose.keypoints import load_schema
from hfpose.media.left_out import LeftOut
from noisy_predictions import as_results, in_whole_body_format, noisy_predictions

SEVERAL_CATEGORIES = ("ap10k", "animalpose")
KEYPOINT_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def prepared(folder: Path, name: str) -> tuple[CocoFile, list[dict]]:
    """Annotations and predictions for a protocol, of one category unless it tells them apart."""
    content, predictions = noisy_predictions("coco" if name == "humanart" else name)
    if name not in SEVERAL_CATEGORIES:
        content["categories"] = content["categories"][:1]
        for entry in (*content["annotations"], *predictions):
            entry["category_id"] = 1
    if name == "coco_wholebody":
        in_whole_body_format(content)
    path = folder / "annotations.json"
    path.write_text(json.dumps(content))
    return read_coco(path, needs_images=False), predictions


def scored(predictions: list[dict], name: str, score_mode: str = "bbox_keypoint", nms_mode: str = "oks") -> list[dict]:
    """Predictions as results, with scores and suppression as the pipeline's evaluation has them."""
    results = []
    for image_id in dict.fromkeys(one["image_id"] for one in predictions):
        found = [one for one in predictions if one["image_id"] == image_id]
        keypoints = np.array([one["keypoints"] for one in found])
        scores = instance_scores(keypoints[..., 2], np.array([one["bbox_score"] for one in found]), score_mode)
        areas = np.array([one["crop_area"] for one in found])
        kept = suppress(keypoints[..., :2], areas, scores, load_schema(name).sigmas, nms_mode)
        results += [as_results([found[index]])[0] | {"score": float(scores[index])} for index in kept]
    return results


def assert_equal(given: Metrics, expected: dict[str, float]) -> None:
    assert {name: given[name] for name in expected} == pytest.approx(expected, abs=5e-6)


@pytest.mark.parametrize(
    ("score_mode", "nms_mode", "expected"),
    [
        ("bbox_keypoint", "oks", (0.260797, 0.424346, 0.259799, 0.170643, 0.598115, 0.544118)),
        ("bbox_keypoint", "soft_oks", (0.253797, 0.404837, 0.249251, 0.169249, 0.564068, 0.55)),
        ("bbox_keypoint", "none", (0.253797, 0.404837, 0.249251, 0.169249, 0.564068, 0.55)),
        ("bbox_rle", "oks", (0.255981, 0.454168, 0.240711, 0.167056, 0.576113, 0.55)),
        ("bbox", "none", (0.247864, 0.417159, 0.236337, 0.164592, 0.552604, 0.55)),
        ("keypoint", "none", (0.262407, 0.43142, 0.234461, 0.235006, 0.386108, 0.55)),
    ],
)
def test_coco_with_all_scores(tmp_path, score_mode, nms_mode, expected):
    coco, predictions = prepared(tmp_path, "coco")
    given = measure(coco, scored(predictions, "coco", score_mode, nms_mode), load_schema("coco"))
    assert_equal(given, dict(zip(KEYPOINT_NAMES, expected, strict=False)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("humanart", (0.260797, 0.424346, 0.259799, 0.170643, 0.598115, 0.544118, 0.735294, 0.558824, 0.436, 0.844444)),
        ("ap10k", (0.320898, 0.503766, 0.327523, 0.227572, 0.697493, 0.542821, 0.73683, 0.558275, 0.438889, 0.847222)),
        ("animalpose", (0.397915, 0.725084, 0.376223, 0.445875, 0.387723, 0.618889, 0.944444, 0.616667, 0.651591, 0.58)),
        ("aic", (0.069279, 0.109754, 0.077059, 0.114773, 0.012122, 0.179412, 0.294118, 0.176471, 0.204, 0.111111)),
    ],
)  # fmt: skip
def test_data_sets_like_coco(tmp_path, name, expected):
    coco, predictions = prepared(tmp_path, name)
    given = measure(coco, scored(predictions, name), load_schema(name), get_protocol(name))
    assert_equal(given, dict(zip(KEYPOINT_NAMES, expected, strict=True)))


def test_crowdpose_tells_easy_medium_and_hard_images_apart(tmp_path):
    coco, predictions = prepared(tmp_path, "crowdpose")
    given = measure(coco, scored(predictions, "crowdpose"), load_schema("crowdpose"), get_protocol("crowdpose"))
    expected = {"AP": 0.461625, "AP50": 0.694039, "AP75": 0.47846, "AR": 0.655882, "AR50": 0.882353, "AR75": 0.705882}
    assert_equal(given, expected | {"AP easy": 0.455, "AP medium": 0.4578, "AP hard": 0.7564})
    assert "APM" not in given


def test_whole_bodies_are_measured_in_five_parts_from_the_official_format(tmp_path):
    coco, predictions = prepared(tmp_path, "coco_wholebody")
    results = scored(predictions, "coco_wholebody")
    for written in (results, [in_parts(result) for result in results]):
        given = measure(coco, written, load_schema("coco_wholebody"), get_protocol("coco_wholebody"))
        values = (0.009937, 0.047065, 0.002863, 0.012522, 0.014476, 0.088235, 0.235294, 0.058824, 0.078261, 0.109091)
        assert_equal(given, dict(zip(KEYPOINT_NAMES, values, strict=True)))
        assert_equal(
            given,
            {
                "AP body": 0.241065, "AR body": 0.470588, "AP foot": 0.387847, "AR foot": 0.629412, "AP face": 0.001919,
                "AR face": 0.038235, "AP left hand": 0.02083, "AR left hand": 0.132353, "AP right hand": 0.018332,
                "AR right hand": 0.135294,
            },
        )  # fmt: skip
    assert coco.left_out.counts == {"instance without labeled keypoints": 1}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("onehand10k", {"PCK@0.2": 0.987574, "AUC": 0.73286, "EPE": 7.258775}),
        ("wflw", {"NME": 0.27151}),
        ("300w", {"NME": 0.165427}),
        ("cofw", {"NME": 0.193206}),
        ("lapa", {"NME": 0.171303}),
        ("aflw", {"NME": 0.057412}),
        (
            "mpii",
            {
                "PCKh head": 89.285714, "PCKh shoulder": 86.307692, "PCKh elbow": 91.111111, "PCKh wrist": 83.333333,
                "PCKh hip": 82.142857, "PCKh knee": 94.148148, "PCKh ankle": 84.615385, "PCKh": 86.933333,
                "PCKh@0.1": 24.533333,
            },
        ),
    ],
)  # fmt: skip
def test_distances(tmp_path, name, expected):
    coco, predictions = prepared(tmp_path, name)
    given = measure(coco, as_results(predictions), load_schema(name), get_protocol(name))
    assert given.keys() == expected.keys()
    assert_equal(given, expected)


def test_results_without_boxes_or_by_keypoints_have_the_extent_of_their_keypoints(tmp_path):
    coco, predictions = prepared(tmp_path, "coco")
    results, schema, rules = scored(predictions, "coco"), load_schema("coco"), PROTOCOLS["coco"]
    without = [{key: value for key, value in result.items() if key != "bbox"} for result in results]
    by_keypoints = replace(rules, precision=replace(rules.precision, result_area="keypoints"))
    assert measure(coco, without, schema) == measure(coco, results, schema, by_keypoints)
    assert measure(coco, without, schema)["APM"] != measure(coco, results, schema)["APM"]


def test_keypoints_of_another_data_set_are_refused_although_they_are_as_many(tmp_path):
    coco, predictions = prepared(tmp_path, "coco")
    with pytest.raises(InputError, match="expected are the 17 of the schema 'ap10k'"):
        measure(coco, scored(predictions, "coco"), load_schema("ap10k"), get_protocol("ap10k"))


def test_distances_need_to_know_which_result_is_for_which_instance(tmp_path):
    coco, predictions = prepared(tmp_path, "onehand10k")
    results = [{**one, "annotation_id": None} for one in as_results(predictions)]
    given = measure(coco, results, load_schema("onehand10k"), get_protocol("onehand10k"))
    assert not given and set(given.missing) == {"PCK@0.2", "AUC", "EPE"}
    assert "34 x instance for which no result is known: give results an `annotation_id`" in given.left_out.lines()[0]


def test_heads_without_a_size_are_no_unit(tmp_path):
    coco, predictions = prepared(tmp_path, "mpii")
    for annotation in coco.annotations:
        del annotation["head_size"]
    given = measure(coco, as_results(predictions), load_schema("mpii"), get_protocol("mpii"))
    assert not given and "--head-boxes" in given.missing["PCKh"]


def test_heads_and_crowds_of_which_nothing_is_known_are_counted(tmp_path):
    coco, predictions = prepared(tmp_path, "mpii")
    del coco.annotations[0]["head_size"]
    given = measure(coco, as_results(predictions), load_schema("mpii"), get_protocol("mpii"))
    assert "PCKh" in given and "1 of 34 instances have no `head_size`" in given.notices[0]
    coco, predictions = prepared(tmp_path, "crowdpose")
    coco = replace(coco, images=(replace(coco.images[0], crowd_index=None), *coco.images[1:]))
    given = measure(coco, scored(predictions, "crowdpose"), load_schema("crowdpose"), get_protocol("crowdpose"))
    assert "1 x image without `crowdIndex`" in given.left_out.lines()[0]


def mpii_people(folder: Path) -> tuple[Path, Path]:
    """Two people in MPII's own format, whose coordinates count from 1, and their head boxes."""
    joints = [[100 + 10 * index, 200 + 5 * index] for index in range(16)]
    person = {"image": "a.jpg", "center": [150, 200], "scale": 1.0, "joints": joints, "joints_vis": [1] * 15 + [0]}
    data, heads = folder / "mpii.json", folder / "heads.npy"
    data.write_text(json.dumps([person, person | {"image": "b.jpg"}]))
    np.save(heads, np.array([[[0, 0], [30, 40]], [[10, 10], [70, 90]]], float))
    return data, heads


def test_mpii_is_read_in_its_own_format(tmp_path):
    data, heads = mpii_people(tmp_path)
    coco = read_mpii(data, None, heads, needs_images=False)
    first, second = coco.annotations
    # The center goes 15/200 of the person down and counts from 0 then; the head is 0.6 of its box' diagonal.
    assert first["bbox"] == [49, 114, 200, 200]
    assert (first["head_size"], second["head_size"]) == (30, 60)
    assert first["keypoints"][:6] == [99, 199, 2, 109, 204, 2] and first["keypoints"][-1] == 0
    left_out = LeftOut()
    results = [{"image_id": "a.jpg", "keypoints": first["keypoints"], "score": 1.0}]
    assert len(usable_results(coco, results, [1], left_out, load_schema("mpii"))) == 1
    assert measure(coco, results, load_schema("mpii"), get_protocol("mpii"))["PCKh"] == 100


def test_head_boxes_of_other_people_are_refused(tmp_path):
    data, heads = mpii_people(tmp_path)
    np.save(heads, np.zeros((3, 2, 2)))
    with pytest.raises(InputError, match=r"3 head boxes, .* has 2 people"):
        read_mpii(data, None, heads, needs_images=False)


@pytest.mark.parametrize("name", ["missing.npy", "broken.npy", "broken.mat"])
def test_head_boxes_that_cannot_be_read_are_told(tmp_path, name):
    if name.endswith(".mat"):
        pytest.importorskip("scipy", reason="reads MATLAB's files")
    data, _ = mpii_people(tmp_path)
    for broken in ("broken.npy", "broken.mat"):
        (tmp_path / broken).write_bytes(b"no array")
    with pytest.raises(InputError, match="has no head boxes"):
        read_mpii(data, head_boxes=tmp_path / name)


def test_an_unknown_protocol_names_those_that_there_are():
    with pytest.raises(ConfigError, match="There are: coco, coco_wholebody, crowdpose"):
        get_protocol("coc")
