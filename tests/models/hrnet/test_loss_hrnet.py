"""HRNet learns: labels in, loss out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from hfpose.models.hrnet.configuration_hrnet import HRNetConfig
from hfpose.models.hrnet.convert_hrnet import config_from_reference
from hfpose.models.hrnet.modeling_hrnet import HRNetForPoseEstimation
from hfpose.models.shared.losses import heatmap_loss, heatmap_targets

MakeModel = Callable[..., HRNetForPoseEstimation]


def test_no_labels_no_loss(make_model: MakeModel) -> None:
    assert make_model()(torch.zeros(1, 3, 64, 64)).loss is None


@pytest.mark.parametrize("encoding", ["quarter", "dark", "udp"])
def test_the_loss_is_that_of_the_heatmaps_with_the_settings_of_the_configuration(
    make_model: MakeModel, encoding: str
) -> None:
    model = make_model(heatmap_sigma=1.5, heatmap_encoding=encoding)
    labels, weights = torch.rand(2, 5, 2) * 64, torch.rand(2, 5)
    output = model(torch.rand(2, 3, 64, 64), labels=labels, keypoint_weights=weights)
    settings = {"image_size": (64, 64), "sigma": 1.5, "encoding": encoding}
    torch.testing.assert_close(output.loss, heatmap_loss(output.heatmaps, labels, weights, **settings))


def test_a_few_steps_on_eight_samples_drive_the_loss_to_near_zero() -> None:
    torch.manual_seed(0)
    model = HRNetForPoseEstimation(
        HRNetConfig(
            image_size=(32, 32),
            stem_channels=16,
            stage_modules=(1, 1),
            stage_blocks=((1,), (1, 1)),
            stage_channels=((8,), (16, 16)),
            stage_block_types=("bottleneck", "basic"),
            heatmap_sigma=1.0,
            num_labels=3,
        )
    )
    labels = torch.randint(3, 29, (8, 3, 2)).float()
    crops = 3 * heatmap_targets(labels, (32, 32), (32, 32), 2.0, "dark")[0]  # a spot where each keypoint is
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(50):
        loss = model(crops, labels=labels).loss
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.03 * losses[0]  # a fresh model answers nothing, so the first loss is that of empty heatmaps


def test_targets_are_drawn_as_the_codec_of_the_reference_does(small_reference: dict) -> None:
    assert config_from_reference(small_reference, None).heatmap_encoding == "quarter"
    small_reference["head"]["decoder"]["unbiased"] = True
    assert config_from_reference(small_reference, None).heatmap_encoding == "dark"
    small_reference["head"]["decoder"] = {"type": "UDPHeatmap", "input_size": [64, 64], "sigma": 3}
    config = config_from_reference(small_reference, None)
    assert (config.heatmap_encoding, config.heatmap_sigma) == ("udp", 3)
