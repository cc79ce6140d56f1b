"""Scores of instances, and which of several similar ones stay."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hfpose.errors import ConfigError
from hfpose.evaluation.scoring import (
    instance_scores,
    object_keypoint_similarity,
    rescore,
    suppress,
)
from hfpose.keypoints import load_schema

SCHEMA = load_schema("coco")


def test_the_score_of_an_instance_is_its_box_times_its_high_keypoints():
    given = instance_scores(np.array([[0.9, 0.5, 0.1], [0.1, 0.1, 0.2]]), np.array([0.5, 1.0]))
    assert given.tolist() == pytest.approx([0.5 * 0.7, 0])


def test_similarity_by_hand():
    # Moved by (3, 4) with area 100 and sigma 0.1: exp(-25 / (2 * 100 * 0.04)); the second keypoint has not moved.
    keypoints = np.array([[[0.0, 0], [5, 5]]])
    moved = np.array([[[3.0, 4], [5, 5]]])
    given = object_keypoint_similarity(keypoints, moved, np.array([100.0]), np.array([100.0]), [0.1, 0.1])
    assert given.tolist() == [[pytest.approx((math.exp(-25 / 8) + 1) / 2)]]


def test_of_two_similar_instances_the_worse_goes():
    person = np.random.default_rng(0).uniform(0, 100, (17, 2))
    keypoints = np.stack((person, person + 0.5, person + 60))
    kept = suppress(keypoints, np.full(3, 1e4), np.array([0.5, 0.9, 0.1]), SCHEMA.sigmas)
    assert kept.tolist() == [1, 2]
    assert suppress(keypoints[:0], np.zeros(0), np.zeros(0), SCHEMA.sigmas).tolist() == []


@pytest.mark.parametrize(("mode", "expected"), [("oks", [3, 2, 1, 0]), ("soft_oks", [3, 0, 2, 1])])
def test_order_of_equal_scores(mode, expected):
    """What `mmpose.evaluation.functional.nms.oks_nms` and `soft_oks_nms` give."""
    people = np.random.default_rng(0).uniform(0, 100, (17, 2)) + 500 * np.arange(4)[:, None, None]
    assert suppress(people, np.full(4, 1e4), np.full(4, 0.5), SCHEMA.sigmas, mode).tolist() == expected


def test_other_scores_by_hand():
    keypoints, boxes = np.array([[0.9, 0.5, 0.1]]), np.array([0.5])
    expected = {"bbox": 0.5, "keypoint": 0.5, "bbox_rle": 0.5 + 0.5 + 0.9}
    assert {mode: instance_scores(keypoints, boxes, mode)[0] for mode in expected} == pytest.approx(expected)
    with pytest.raises(ConfigError, match="expected one of bbox, bbox_keypoint"):
        instance_scores(keypoints, boxes, "mean")


def test_soft_suppression_lowers_scores_and_keeps_the_twenty_best():
    person = np.random.default_rng(0).uniform(0, 100, (17, 2))
    # The second is the first one again: its score falls by exp(-1 / 0.9), below that of the third, which lies
    # elsewhere.
    keypoints = np.stack((person, person, person + 500))
    scores = np.array([0.9, 0.8, 0.8 * math.exp(-1 / 0.9) + 0.01])
    given = suppress(keypoints, np.full(3, 1e4), scores, SCHEMA.sigmas, "soft_oks")
    assert given.tolist() == [0, 2, 1]
    many = person + 500 * np.arange(30)[:, None, None]
    kept = suppress(many, np.full(30, 1e4), np.linspace(0, 1, 30), SCHEMA.sigmas, "soft_oks")
    assert kept.tolist() == list(range(29, 9, -1))


def test_no_suppression_keeps_all_in_their_order():
    assert suppress(np.zeros((3, 17, 2)), np.ones(3), np.arange(3.0), SCHEMA.sigmas, "none").tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="expected one of oks, soft_oks, none"):
        suppress(np.zeros((3, 17, 2)), np.ones(3), np.arange(3.0), SCHEMA.sigmas, "hard")


def test_results_get_other_scores():
    row = [5.0, 5.0, 0.5] * 17
    results = [
        {"image_id": 1, "keypoints": row, "score": 0.1, "bbox_score": 0.8, "bbox": None},
        {"image_id": 1, "keypoints": row, "score": 0.2, "bbox_score": 0.6, "bbox": None},
    ]
    assert [one["score"] for one in rescore(results, SCHEMA.sigmas, "bbox_keypoint", "none")] == [0.4, 0.3]
    assert [one["score"] for one in rescore(results, SCHEMA.sigmas, None, "oks")] == [0.2]
