"""Heatmap estimators learn: labels in, loss out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from hfpose.hub.zoo import find_entry
from hfpose.models.backbones.mspn import MSPNBackboneConfig
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.heatmap.convert_heatmap import config_from_reference
from hfpose.models.heatmap.modeling_heatmap import HeatmapForPoseEstimation
from hfpose.models.shared.losses import combined_heatmap_loss, heatmap_loss, heatmap_targets
from networks import losses_of_steps

ALL_STAGES: dict[str, Any] = {"out_indices": [1, 2, 3, 4]}
MakeModel = Callable[..., HeatmapForPoseEstimation]


def test_no_labels_no_loss(make_model: MakeModel) -> None:
    assert make_model()(torch.zeros(1, 3, 64, 64)).loss is None


@pytest.mark.parametrize("encoding", ["quarter", "dark", "udp", "megvii"])
def test_the_loss_is_that_of_the_heatmaps_with_the_settings_of_the_configuration(
    make_model: MakeModel, encoding: str
) -> None:
    model = make_model(heatmap_sigma=1.5, heatmap_encoding=encoding, heatmap_kernel_size=7)
    labels, weights = torch.rand(2, 5, 2) * 64, torch.rand(2, 5)
    output = model(torch.rand(2, 3, 64, 64), labels=labels, keypoint_weights=weights)
    settings: dict[str, Any] = {"image_size": (64, 64), "sigma": 1.5, "encoding": encoding, "kernel_size": 7}
    torch.testing.assert_close(output.loss, heatmap_loss(output.heatmaps, labels, weights, **settings))


def test_the_loss_of_offsets(make_model: MakeModel) -> None:
    model = make_model(heatmap_encoding="udp_combined", heatmap_radius_factor=0.1)
    labels, weights = torch.rand(2, 5, 2) * 64, torch.rand(2, 5)
    output = model(torch.rand(2, 3, 64, 64), labels=labels, keypoint_weights=weights)
    assert output.heatmaps.shape == (2, 15, 16, 16)
    expected = combined_heatmap_loss(output.heatmaps, labels, weights, image_size=(64, 64), radius_factor=0.1)
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("encoding", ["quarter", "udp_combined"])
def test_a_few_steps_on_eight_samples_drive_the_loss_to_near_zero(encoding: str) -> None:
    torch.manual_seed(0)
    backbone = ResNetBackboneConfig(
        stem_channels=16, base_channels=16, depths=(1, 1), strides=(1, 2), block_type="basic"
    )
    model = HeatmapForPoseEstimation(
        HeatmapConfig(
            backbone_config=backbone, image_size=(32, 32), deconv_channels=(16,), deconv_kernel_sizes=(4,),
            heatmap_sigma=1.0, heatmap_encoding=encoding, heatmap_radius_factor=0.3, num_labels=3,
        )
    )  # fmt: skip
    labels = torch.randint(3, 29, (8, 3, 2)).float()
    crops = 3 * heatmap_targets(labels, (32, 32), (32, 32), 2.0, "dark")[0]  # a spot where each keypoint is
    losses = losses_of_steps(model, 60, 1e-2, pixel_values=crops, labels=labels)
    assert losses[-1] < 0.15 * losses[0]


def test_targets_are_drawn_as_the_codec_of_the_reference_does(small_reference: dict[str, Any]) -> None:
    head = small_reference["head"]
    assert config_from_reference(small_reference, None).heatmap_encoding == "quarter"
    head["decoder"]["unbiased"] = True
    assert config_from_reference(small_reference, None).heatmap_encoding == "dark"
    head["decoder"] = {"type": "UDPHeatmap", "input_size": [64, 64], "sigma": 3}
    config = config_from_reference(small_reference, None)
    assert (config.heatmap_encoding, config.heatmap_sigma) == ("udp", 3)
    head["decoder"] = {"type": "MegviiHeatmap", "input_size": [64, 64], "kernel_size": 15}
    config = config_from_reference(small_reference, None)
    assert (config.heatmap_encoding, config.heatmap_kernel_size) == ("megvii", 15)
    head["decoder"] = {"type": "UDPHeatmap", "input_size": [64, 64], "heatmap_type": "combined", "radius_factor": 0.1}
    config = config_from_reference(small_reference | {"head": head | {"out_channels": 15}}, None)
    assert (config.heatmap_encoding, config.heatmap_radius_factor, config.num_labels) == ("udp_combined", 0.1, 5)


def test_only_hard_keypoints_count() -> None:
    heatmaps = torch.zeros(2, 3, 8, 8)
    heatmaps[:, 1] = 2.0
    heatmaps[1, 2] = 1.0
    labels = torch.full((2, 3, 2), 16.0)
    settings: dict[str, Any] = {"image_size": (32, 32), "sigma": 2.0, "encoding": "quarter"}
    each = torch.stack(
        [heatmap_loss(heatmaps[:, [k]], labels[:, [k]], torch.ones(2, 1), **settings) for k in range(3)]
    )
    assert each.argmax() == 1
    torch.testing.assert_close(heatmap_loss(heatmaps, labels, torch.ones(2, 3), **settings, hard_keypoints=1), each[1])
    everything = heatmap_loss(heatmaps, labels, torch.ones(2, 3), **settings, hard_keypoints=8)
    torch.testing.assert_close(everything, each.mean())


def test_hard_keypoints_of_mspn_are_mined_at_the_end_of_each_stage() -> None:
    entry = find_entry("td-hm_2xmspn50_8xb32-210e_coco-256x192", "pose")
    assert entry is not None
    config = config_from_reference(entry.reference, None)
    assert config.stage_loss_weights == [0.25, 0.25, 0.25, 1.0] * 2
    assert config.stage_hard_keypoints == [0, 0, 0, 8] * 2


@pytest.mark.parametrize("head_type", ["stagewise", "mspn"])
def test_all_stages_learn(head_type: str) -> None:
    torch.manual_seed(0)
    backbone = MSPNBackboneConfig(num_networks=2, depths=(1, 1), stem_channels=4, feature_channels=4, **ALL_STAGES)
    config = HeatmapConfig(
        backbone_config=backbone, image_size=(64, 64), deconv_channels=(), deconv_kernel_sizes=(), num_labels=3,
        head_type=head_type,
    )  # fmt: skip
    model = HeatmapForPoseEstimation(config)
    output = model(torch.randn(2, 3, 64, 64), labels=torch.rand(2, 3, 2) * 64)
    output.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
