"""Errors injected on purpose are found: each kind in its share, with the precision that it costs."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest

from coco_files import people_content, write_json
from hfpose.annotations import read_coco
from hfpose.errors import InputError
from hfpose.evaluation.error_analysis import KINDS, MENDABLE, analyze_errors
from hfpose.keypoints import load_schema

SCHEMA = load_schema("coco")
FLIP = np.array(SCHEMA.flip_indices)
IMAGES, SHARE = 60, 0.1


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """Two people in each image; their keypoints lie so far apart that each is near itself alone."""
    content = people_content(tmp_path_factory.mktemp("people"), 1)
    image = content["images"][0]
    content["images"] = [image | {"id": 1 + i, "width": 4000, "height": 2000} for i in range(IMAGES)]
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(4)), -1).reshape(-1, 2)[:17] * 100.0
    annotations = []
    for index in range(2 * IMAGES):
        corner = np.array([100.0 + 2000 * (index % 2), 100.0])
        keypoints = np.concatenate((grid + corner, np.full((17, 1), 2.0)), 1)
        entry = content["annotations"][0] | {"id": 1 + index, "image_id": 1 + index // 2}
        entry |= {"bbox": [*corner, 400.0, 300.0], "area": 10_000.0, "keypoints": keypoints.flatten().tolist()}
        annotations.append(entry)
    content["annotations"] = annotations
    return content


def as_results(content: dict, keypoints: np.ndarray) -> list[dict]:
    pairs = zip(content["annotations"], keypoints, strict=True)
    return [
        {
            "image_id": a["image_id"],
            "bbox": a["bbox"],
            "score": 0.5 + a["id"] / 1000,
            "keypoints": k.flatten().tolist(),
        }
        for a, k in pairs
    ]


def truth(content: dict) -> np.ndarray:
    return np.array([a["keypoints"] for a in content["annotations"]]).reshape(-1, 17, 3)


def analyze(content: dict, results: list[dict], tmp_path):
    content = content | {"images": [{**image, "file_name": f"{image['id']}.png"} for image in content["images"]]}
    path = write_json(tmp_path / "people.json", content)
    return analyze_errors(read_coco(path, needs_images=False), results, SCHEMA)


@pytest.fixture(scope="module")
def injected(content, tmp_path_factory):
    """10 % each of inversions, swaps, misses and jitter, in different keypoints."""
    right = truth(content)
    found = right.copy()
    partner = np.arange(len(right)) ^ 1  # the other person of the image
    size = right[..., 0].size
    order = np.random.default_rng(0).permutation(size)
    paired = order[order % 17 != 0]  # the nose has no mirror image
    count = round(SHARE * size)
    inversions, rest = paired[:count], np.setdiff1d(order, paired[:count], assume_unique=True)
    rest = np.random.default_rng(1).permutation(rest)
    swaps, misses, jitter = rest[:count], rest[count : 2 * count], rest[2 * count : 3 * count]
    people, points = np.divmod(np.arange(size), 17)
    flat, flat_right = found.reshape(-1, 3), right.reshape(-1, 3)
    flat[inversions, :2] = right[people, FLIP[points]][inversions, :2]
    flat[swaps, :2] = right[partner[people], points][swaps, :2]
    flat[misses, 1] += 900
    distance = 2 * np.array(SCHEMA.sigmas)[points] * 100 * np.sqrt(2 * np.log(1 / 0.7))  # a similarity of 0.7
    flat[jitter, 0] = flat_right[jitter, 0] + distance[jitter]
    return analyze(content, as_results(content, found), tmp_path_factory.mktemp("injected"))


@pytest.mark.parametrize("kind", ["inversion", "swap", "miss", "jitter"])
def test_ten_percent_of_each_kind_are_found_within_a_point(injected, kind):
    assert injected.shares()[kind] == pytest.approx(SHARE, abs=0.01)
    assert injected.gains[kind] > 0.02


def test_the_others_are_good_and_all_mended_together_are_right(injected):
    assert injected.shares()["good"] == pytest.approx(1 - 4 * SHARE, abs=0.01)
    assert len(injected.false_positives) == 0 and (injected.matches >= 0).all()
    curves = list(injected.curves.values())
    assert len(curves) == 1 + len(MENDABLE)
    assert all((after >= before - 1e-9).all() for before, after in itertools.pairwise(curves))
    assert curves[-1] == pytest.approx(1)


def test_shares_by_keypoint_and_group_are_of_the_same_keypoints(injected):
    assert injected.by_keypoint["nose"]["inversion"] == 0
    assert np.mean([shares["swap"] for shares in injected.by_keypoint.values()]) == pytest.approx(SHARE, abs=0.01)
    assert injected.shares(injected.groups["size"]["large"]) == injected.shares()
    assert injected.shares(injected.groups["overlap"]["no other box"]) == injected.shares()
    assert injected.to_dict()["by size"]["small (below 32 x 32)"]["good"] is None
    json.dumps(injected.to_dict())


def test_instances_not_found_and_results_of_nobody_are_counted_and_cost_precision(content, tmp_path):
    results = as_results(content, truth(content))
    kept = [result for index, result in enumerate(results) if index % 10 != 0]
    nobody = copy.deepcopy(kept[:12])
    for result in nobody:
        result["keypoints"] = (np.array(result["keypoints"]) + 900).tolist()
        result["score"] = 0.9
    found = analyze(content, kept + nobody, tmp_path)
    assert (found.matches < 0).sum() == 12 and len(found.false_positives) == 12
    assert found.shares()["not found"] == pytest.approx(0.1)
    assert found.gains["false negative"] > 0.05 and found.gains["false positive"] > 0.02
    assert found.gains["miss"] == pytest.approx(0)
    assert found.worst_images(3)[0] in [a["image_id"] for a in content["annotations"][::10]]


def test_crowds_and_people_without_keypoints_are_neither_missed_nor_wrong(content, tmp_path):
    annotations = copy.deepcopy(content["annotations"])
    annotations[0]["keypoints"] = [0] * 51
    annotations[3]["iscrowd"] = 1
    results = as_results(content, truth(content))
    found = analyze(content | {"annotations": annotations}, results, tmp_path)
    assert len(found.kinds) == 2 * IMAGES - 2 and len(found.false_positives) == 0
    assert found.average_precision == pytest.approx(1)


def test_kinds_of_keypoints_are_told_apart_by_the_similarity_to_their_places(content, tmp_path):
    keypoints = truth(content)
    keypoints[0, 5, 0] += 2 * SCHEMA.sigmas[5] * 100 * np.sqrt(2 * np.log(1 / 0.84))
    keypoints[0, 6, 0] += 2 * SCHEMA.sigmas[6] * 100 * np.sqrt(2 * np.log(1 / 0.86))
    keypoints[0, 7, 1] += 2 * SCHEMA.sigmas[7] * 100 * np.sqrt(2 * np.log(1 / 0.49))
    found = analyze(content, as_results(content, keypoints), tmp_path)
    assert [KINDS[kind] for kind in found.kinds[0, 5:8]] == ["jitter", "good", "miss"]


def test_without_labeled_keypoints_the_error_says_so(content, tmp_path):
    bare = [annotation | {"keypoints": [0] * 51} for annotation in content["annotations"]]
    with pytest.raises(InputError, match="no instance with labeled keypoints"):
        analyze(content | {"annotations": bare}, [], tmp_path)


def test_without_results_nothing_is_left_to_be_found(content, tmp_path):
    told = analyze(content, [], tmp_path).to_dict()
    assert told["AP"] == 0 and told["AP given back"]["false negative"] is None
    assert told["shares"]["not found"] == 1
