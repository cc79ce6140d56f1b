"""CID's centers and instances."""

from __future__ import annotations

import torch

from hfpose.models.cid.modeling_cid import _features_at
from small_bottom_up import small_model


def test_centers_are_smoothed_peaks_best_first() -> None:
    model, _ = small_model("cid", num_queries=2)
    heatmap = torch.zeros(1, 1, 16, 20)
    heatmap[0, 0, 5, 7], heatmap[0, 0, 12, 3] = 0.5, 0.8
    centers, scores = model._centers(heatmap)
    assert centers.tolist() == [[[3, 12], [7, 5]]]
    torch.testing.assert_close(scores, torch.tensor([[0.8, 0.5]]) * (1 + 1 / 9) / 2)


def test_features_are_those_of_the_cells() -> None:
    features = torch.randn(2, 5, 4, 6)
    cells = torch.tensor([[[1, 2], [5, 3]], [[0, 0], [2, 1]]])
    found = _features_at(features, cells)
    torch.testing.assert_close(found[0, 1], features[0, :, 3, 5])
    torch.testing.assert_close(found[1, 1], features[1, :, 1, 2])


def test_an_instance_does_not_depend_on_the_others() -> None:
    head = small_model("cid")[0].head.instances
    features, centers = torch.randn(2, 40, 8, 8), torch.randint(0, 8, (2, 3, 2))
    with torch.no_grad():
        together = head(features, _features_at(features, centers), centers)
        alone = head(features[1:], _features_at(features[1:], centers[1:, 2:]), centers[1:, 2:])
    assert together.shape == (2, 3, 3, 8, 8)
    torch.testing.assert_close(together[1:, 2:], alone)


def test_every_parameter_reaches_the_outputs() -> None:
    model, _ = small_model("cid")
    outputs = model(torch.randn(2, 3, 64, 64))
    (outputs.heatmaps.square().sum() + outputs.center_scores.sum()).backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.abs().any()] == []
