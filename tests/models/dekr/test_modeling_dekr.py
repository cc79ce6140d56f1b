"""DEKR's layers and poses, against the definitions they are taken from."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hfpose.errors import ConfigError
from hfpose.models.dekr.modeling_dekr import DEKRAdaptiveConv
from small_bottom_up import SCHEMA, small_model


def bilinear(channel: Tensor, y: float, x: float) -> float:
    """Value of a map (h, w) between its cells, 0 beyond."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < channel.shape[0] and 0 <= column < channel.shape[1]:
                total += float(channel[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def test_an_adaptive_convolution_looks_where_its_matrices_say() -> None:
    """Cell by cell and tap by tap: a deformable convolution whose offsets are A (dy, dx, 1)."""
    torch.manual_seed(0)
    layer = DEKRAdaptiveConv(4, 2).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    given = torch.randn(1, 4, 3, 5)
    with torch.no_grad():
        found, matrices = layer(given), layer.transform(given)[0].reshape(2, 2, 3, 3, 5)
        convolved = torch.zeros(4, 3, 5)
        for channel in range(4):
            group = channel // 2
            for y in range(3):
                for x in range(5):
                    for tap, (dy, dx) in enumerate((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
                        move = matrices[group, :, :, y, x] @ torch.tensor([dy, dx, 1.0])
                        place = y + dy + float(move[0]), x + dx + float(move[1])
                        for source in range(2):
                            weight = layer.conv.weight[channel, source].flatten()[tap]
                            convolved[channel, y, x] += weight * bilinear(given[0, 2 * group + source], *place)
        expected = (layer.norm(convolved[None]) + given).relu()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_poses_stand_around_the_peaks_of_the_last_heatmap() -> None:
    model, _ = small_model("dekr", num_queries=2)
    heatmaps, displacements = torch.zeros(1, 4, 16, 20), torch.zeros(1, 6, 16, 20)
    heatmaps[0, 3, 5, 7], heatmaps[0, 3, 12, 3] = 0.5, 0.8
    heatmaps[0, 3, 5, 8] = 0.4  # near a better one
    displacements[0, 0, 5, 7], displacements[0, 3, 12, 3] = 2.5, -4
    heatmaps[0, 1, 8:, :] = 0.7
    keypoints, scores, centers, places = model._poses(heatmaps, displacements)
    assert places.tolist() == [[12 * 20 + 3, 5 * 20 + 7]]
    torch.testing.assert_close(centers, torch.tensor([[0.8, 0.5]]))
    assert keypoints.tolist() == [[[[3, 12], [3, 8], [3, 12]], [[9.5, 5], [7, 5], [7, 5]]]]
    assert scores[0, 1].tolist() == [0, 0, 0]
    assert scores[0, 0, 1] > 0.3


def test_rescoring_knows_neither_place_nor_size() -> None:
    rescoring = small_model("dekr")[0].head.rescoring
    poses, scores = torch.rand(1, 4, 3, 2) * 100, torch.rand(1, 4, 3)
    with torch.no_grad():
        torch.testing.assert_close(rescoring(poses * 3 + 20, scores), rescoring(poses, scores))
        assert (rescoring(poses.flip(-1), scores) != rescoring(poses, scores)).all()


def test_a_model_without_rescoring_rates_all_poses_alike() -> None:
    model, _ = small_model("dekr", rescoring_size=0)
    with torch.no_grad():
        assert (model(torch.randn(1, 3, 64, 64)).pose_scores == 1).all()


def test_rescoring_needs_the_skeleton_it_was_trained_with() -> None:
    with pytest.raises(ConfigError, match="rescoring_size=0"):
        small_model("dekr", keypoint_schema={**SCHEMA.to_dict(), "skeleton": [], "skeleton_colors": []})


def test_every_parameter_reaches_the_outputs() -> None:
    model, _ = small_model("dekr")
    outputs = model(torch.randn(2, 3, 64, 64))
    (outputs.heatmaps.sum() + outputs.displacements.square().sum() + outputs.pose_scores.sum()).backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.abs().any()] == []
