"""Measures of keypoints by numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hfpose.evaluation.metrics import Metrics, auc, box_sizes, epe, keypoint_sizes, mpjpe, nme, pck, similarity_aligned

TARGET = np.zeros((2, 3, 2))
# Distances 5, 0, 10 and 1, 2, 100 of which the last does not count.
PREDICTED = np.array([[[3, 4], [0, 0], [0, 10]], [[1, 0], [0, 2], [100, 0]]], float)
MASK = np.array([[1, 1, 1], [1, 1, 0]], bool)


def test_epe_is_the_mean_distance_of_the_keypoints_that_count():
    assert epe(PREDICTED, TARGET, MASK) == pytest.approx((5 + 0 + 10 + 1 + 2) / 5)


def test_pck_is_averaged_over_keypoints():
    # Within 0.3 of sizes 10 and 10: keypoint 0 in one of two, keypoint 1 in two of two, keypoint 2 in none of one.
    assert pck(PREDICTED, TARGET, MASK, np.array([10, 10]), 0.3) == pytest.approx((0.5 + 1 + 0) / 3)


def test_pck_measures_each_instance_in_its_own_size_and_leaves_out_those_without():
    assert pck(PREDICTED, TARGET, MASK, np.array([100, 1]), 0.2) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert pck(PREDICTED, TARGET, MASK, np.array([100, 0]), 0.2) == 1


def test_a_keypoint_at_the_threshold_is_not_correct():
    assert pck(np.array([[[5.0, 0]]]), np.zeros((1, 1, 2)), np.ones((1, 1), bool), np.array([10]), 0.5) == 0


def test_auc_is_the_mean_over_thresholds():
    # One keypoint at distance 10 of 30: correct above the threshold 1/3, that is for 7/20 to 19/20.
    given = auc(np.array([[[10.0, 0]]]), np.zeros((1, 1, 2)), np.ones((1, 1), bool))
    assert given == pytest.approx(13 / 20)
    assert auc(PREDICTED[:1, 1:2], TARGET[:1, 1:2], MASK[:1, 1:2]) == pytest.approx(19 / 20)  # none is below 0


def test_nme_is_in_units_of_each_instance():
    given = nme(PREDICTED, TARGET, MASK, np.array([10, 2]))
    assert given == pytest.approx((0.5 + 0 + 1 + 0.5 + 1) / 5)
    assert nme(PREDICTED, TARGET, MASK, np.array([10, 0])) == pytest.approx(0.5)


def test_measures_of_nothing_are_nan():
    nothing = np.zeros_like(MASK)
    values = [epe(PREDICTED, TARGET, nothing), pck(PREDICTED, TARGET, nothing, np.ones(2))]
    assert all(math.isnan(value) for value in values)


def test_what_is_no_number_is_missing_with_the_reason():
    metrics, other = Metrics(notices=["uniform"]), Metrics()
    metrics.add("PCK", 0.5, "never")
    metrics.add("EPE", math.nan, "nobody")
    other.add("APL", -1.0, "nobody")
    other.left_out.add("no score", "result 1")
    metrics.include(other)
    assert metrics == {"PCK": 0.5}
    assert metrics.lines() == ["left out: 1 x no score: result 1", "uniform", "not measured: EPE, APL: nobody."]


def test_sizes():
    assert box_sizes(np.array([[0, 0, 3, 5], [1, 1, 9, 2]])).tolist() == [5, 8]
    assert keypoint_sizes(PREDICTED, 0, 1).tolist() == pytest.approx([5, math.sqrt(5)])


def rotation(axis: list[float], angle: float) -> np.ndarray:
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross


def test_mpjpe_with_and_without_alignment():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(4, 17, 3))
    mask = np.ones((4, 17), bool)
    assert mpjpe(target + np.array([3, 0, 4]), target, mask) == pytest.approx(5)
    assert mpjpe(target * 2, target, mask, "scale") == pytest.approx(0)
    moved = 0.3 * target @ rotation([1, 2, 3], 2.0) + [1, -2, 5]
    assert mpjpe(moved, target, mask, "scale") > 0.1
    assert mpjpe(moved, target, mask, "procrustes") == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="alignment is 'affine'"):
        mpjpe(target, target, mask, "affine")


def test_alignment_rotates_and_never_mirrors():
    target = np.random.default_rng(1).normal(size=(1, 8, 3))
    mirrored = target * [-1, 1, 1]
    aligned = similarity_aligned(mirrored, target)
    assert np.linalg.norm(aligned - target) > 0.5


def test_alignment_is_the_best_there_is():
    rng = np.random.default_rng(2)
    points, target = rng.normal(size=(1, 10, 3)), rng.normal(size=(1, 10, 3))
    best = np.square(similarity_aligned(points, target) - target).sum()
    aligned = similarity_aligned(points, target)
    center = aligned.mean(1, keepdims=True)
    for axis in np.eye(3):  # nothing near it is better
        for changed in (
            (aligned - center) @ rotation(axis, 0.01) + center,
            (aligned - center) @ rotation(axis, -0.01) + center,
            aligned + 0.01 * axis,
            (aligned - center) * 1.01 + center,
            (aligned - center) * 0.99 + center,
        ):
            assert np.square(changed - target).sum() > best


@pytest.mark.parametrize("alignment", ["scale", "procrustes"])
def test_points_in_one_place_are_measured_after_alignment_too(alignment):
    target = np.random.default_rng(0).normal(size=(2, 5, 3))
    target -= target.mean(1, keepdims=True)
    predicted = target * [[[1.0]], [[0.0]]]
    expected = np.linalg.norm(target[1], axis=-1).mean() / 2  # the second one is in the middle of its target
    assert mpjpe(predicted, target, np.ones((2, 5)), alignment) == pytest.approx(expected)
