"""Which places learn which instance, and the losses, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hfpose.errors import InputError
from hfpose.models.rtmo.head_rtmo import CoordinateDistributions
from hfpose.models.rtmo.loss_rtmo import coordinate_loss
from hfpose.models.shared.dense_prediction import decode_center_boxes
from hfpose.models.shared.one_stage_losses import (
    InstancePredictions,
    InstanceTargets,
    assign_instances,
    box_l1_loss,
    box_loss,
    oks_loss,
    read_targets,
    similarity,
    varifocal_loss,
)

SIGMAS = torch.tensor([0.5, 0.5])


def target(box: list[float], keypoints: list[list[float]], weights: list[float], area: float) -> InstanceTargets:
    return InstanceTargets(
        torch.tensor([box]), torch.tensor([keypoints]), torch.tensor([weights]), torch.tensor([area])
    )


def test_a_keypoint_that_is_not_finite_weighs_nothing():
    label = {"boxes": torch.rand(1, 4), "keypoints": torch.tensor([[[1.0, 2], [torch.nan, 3]]])}
    (found,) = read_targets([label | {"keypoint_weights": torch.ones(1, 2), "areas": torch.ones(1)}], 2, SIGMAS.device)
    assert found.keypoints.tolist() == [[[1, 2], [0, 0]]]
    assert found.weights.tolist() == [[1, 0]]


def test_similarity_falls_by_a_gaussian_of_the_distance_in_units_of_size_and_sigma():
    found = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])
    value = similarity(found, torch.zeros(1, 2, 2), torch.ones(1, 2), torch.tensor([25.0]), SIGMAS)
    # 0 px, and 5 px in an instance whose area has a root of 5 px: one standard deviation.
    torch.testing.assert_close(value, torch.tensor([[1.0, math.exp(-0.5)]]))


def test_oks_loss_by_labeled_and_by_all_keypoints():
    found, truth = torch.tensor([[[0.0, 0.0], [5.0, 0.0]]]), torch.zeros(1, 2, 2)
    areas, weights = torch.tensor([25.0]), torch.tensor([[0.0, 1.0]])
    by_labeled = oks_loss(found, truth, weights, areas, SIGMAS, by_labeled=True)
    assert by_labeled.item() == pytest.approx(1 - math.exp(-0.5))
    by_all = oks_loss(found, truth, weights, areas, SIGMAS, by_labeled=False)
    assert by_all.item() == pytest.approx(1 - math.exp(-0.5) / 2)
    assert oks_loss(found[:0], truth[:0], weights[:0], areas[:0], SIGMAS, by_labeled=True).item() == 0


def test_box_loss_is_one_less_the_square_of_the_overlap():
    boxes, others = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 4, 4]]), torch.tensor([[0.0, 0, 10, 5], [0.0, 0, 4, 4]])
    assert box_loss(boxes, others).item() == pytest.approx(1 - 0.25)


def test_l1_loss_is_in_what_the_network_regresses():
    regressions, points, strides = torch.zeros(1, 4), torch.tensor([[8.0, 8.0]]), torch.tensor([8.0])
    boxes = torch.tensor([[8.0, 4.0, 24.0, 12.0]])  # center (16, 8), 16 x 8: one stride to the right, twice as wide
    assert box_l1_loss(regressions, boxes, points, strides).item() == pytest.approx(1 + math.log(2), rel=1e-5)
    decoded = decode_center_boxes(torch.tensor([[[1.0, 0.0, math.log(2), 0.0]]]), points, strides)
    torch.testing.assert_close(decoded[0], boxes)


def test_varifocal_loss_weighs_background_by_its_score_and_instances_by_their_quality():
    logits, targets = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, 0.5])
    background = 0.75 * 0.5**2 * math.log(2)
    instance = 0.5 * (-0.5 * math.log(0.75) - 0.5 * math.log(0.25))
    assert varifocal_loss(logits, targets).item() == pytest.approx(background + instance)


def test_coordinate_loss_is_the_likelihood_under_laplacians():
    half = torch.tensor([[[0.5, 0.5]]])
    bins = torch.tensor([[0.0, 4.0]])
    found = CoordinateDistributions(torch.zeros(1, 1, 2), half, half, bins, bins)
    loss = coordinate_loss(found, torch.tensor([[0.5]]), torch.zeros(1, 1, 2), torch.ones(1, 1), torch.tensor([16.0]))
    # Distances 0 and 4 px are 0 and 1 in units of the size 4, 0 and 2 in units of the spread 0.5.
    along = 0.5 * (1 + math.exp(-1)) / 0.5
    assert loss.item() == pytest.approx(-math.log(along**2 + 1e-4), rel=1e-5)
    nothing = coordinate_loss(
        found, torch.tensor([[0.5]]), torch.zeros(1, 1, 2), torch.zeros(1, 1), torch.tensor([16.0])
    )
    assert nothing.item() == 0


@pytest.fixture
def grid() -> tuple[Tensor, Tensor]:
    """A row of eight places, 8 px apart."""
    return torch.stack((torch.arange(8) * 8.0 + 4, torch.full((8,), 4.0)), -1), torch.full((8,), 8.0)


def predictions(points: Tensor, keypoints: Tensor, scores: float = 0.5) -> InstancePredictions:
    boxes = torch.cat((points - 8, points + 8), -1)
    return InstancePredictions(torch.full((len(points),), scores), boxes, keypoints)


def test_an_instance_takes_as_many_places_as_predict_it_well(grid):
    points, strides = grid
    wanted = target([0, 0, 40, 8], [[20, 4], [20, 4]], [1, 1], 64)
    # The places at x = 12, 20 and 28 predict it exactly, all others nothing like it: the sum of the best is 3.
    keypoints = torch.full((8, 2, 2), 1000.0)
    keypoints[1:4] = torch.tensor([20.0, 4.0])
    found = assign_instances([predictions(points, keypoints)], [wanted], points, strides, SIGMAS)
    assert found.is_positive[0].tolist() == [False, True, True, True, False, False, False, False]
    torch.testing.assert_close(found.similarities, torch.ones(3))
    assert found.targets.areas.tolist() == [64, 64, 64]
    assert found.points[:, 0].tolist() == [12, 20, 28]


def test_an_instance_that_is_not_predicted_takes_the_place_in_its_middle(grid):
    points, strides = grid
    wanted = target([0, 0, 64, 8], [[44, 4], [44, 4]], [1, 0], 64)
    given = predictions(points, torch.full((8, 2, 2), 1000.0))
    by_box = assign_instances([given], [wanted], points, strides, SIGMAS)
    assert by_box.is_positive.sum() == 1
    assert 12 < by_box.points[0, 0] < 52  # within 2.5 strides of the middle, 32
    by_keypoints = assign_instances([given], [wanted], points, strides, SIGMAS, by_keypoints=True)
    assert 24 < by_keypoints.points[0, 0] < 64  # of the only labeled keypoint, 44


def test_a_place_that_two_want_goes_to_the_cheaper(grid):
    points, strides = grid
    wanted = InstanceTargets(
        torch.tensor([[0.0, 0, 24, 8], [0.0, 0, 24, 8]]),
        torch.tensor([[[12.0, 4], [12, 4]], [[16.0, 4], [16, 4]]]),
        torch.ones(2, 2),
        torch.tensor([64.0, 64.0]),
    )
    keypoints = torch.full((8, 2, 2), 1000.0)
    keypoints[1] = torch.tensor([12.0, 4.0])
    found = assign_instances([predictions(points, keypoints)], [wanted], points, strides, SIGMAS)
    owner = found.targets.keypoints[found.points[:, 0] == 12]
    assert owner[0, 0].tolist() == [12, 4]


def test_images_without_instances_learn_nothing(grid):
    points, strides = grid
    nothing = InstanceTargets(torch.zeros(0, 4), torch.zeros(0, 2, 2), torch.zeros(0, 2), torch.zeros(0))
    found = assign_instances([predictions(points, torch.zeros(8, 2, 2))] * 2, [nothing] * 2, points, strides, SIGMAS)
    assert not found.is_positive.any()
    assert found.targets.boxes.shape == (0, 4)


def test_labels_that_lack_something_are_named():
    label = {"boxes": torch.zeros(1, 4), "keypoints": torch.zeros(1, 2, 2)}
    with pytest.raises(InputError, match="lack keypoint_weights, areas"):
        read_targets([label], 2, torch.device("cpu"))
    label |= {"keypoint_weights": torch.zeros(1, 2), "areas": torch.zeros(1)}
    with pytest.raises(InputError, match=r"expected \(n, 3, 2\)"):
        read_targets([label], 3, torch.device("cpu"))
