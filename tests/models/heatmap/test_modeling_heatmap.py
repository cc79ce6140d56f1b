from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hfpose.models.backbones.resnet import ResNetBackbone
from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.heatmap.image_processing_heatmap import HeatmapImageProcessor
from hfpose.models.heatmap.modeling_heatmap import HeatmapForPoseEstimation

MakeModel = Callable[..., HeatmapForPoseEstimation]


def test_three_deconvolutions_lead_from_stride_32_to_4(make_model: MakeModel) -> None:
    with torch.no_grad():
        output = make_model()(torch.randn(2, 3, 64, 96), output_hidden_states=True)
    assert output.heatmaps.shape == (2, 5, 16, 24)
    assert [state.shape[-1] for state in output.hidden_states] == [24, 24, 12, 6, 3]


def test_hidden_states_only_where_asked_for(make_model: MakeModel) -> None:
    with torch.no_grad():
        assert make_model()(torch.randn(1, 3, 64, 64)).hidden_states is None
        (heatmaps,) = make_model()(torch.randn(1, 3, 64, 64), return_dict=False)
    assert heatmaps.shape == (1, 5, 16, 16)


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_every_layer_of_the_head_reaches_the_heatmaps(kernel: int, make_model: MakeModel) -> None:
    model = make_model(
        deconv_channels=[6, 8], deconv_kernel_sizes=[kernel, 4], deconv_groups=[2, 2], conv_channels=[7],
        conv_kernel_sizes=[3], final_kernel_size=3,
    )  # fmt: skip
    heatmaps = model(torch.randn(2, 3, 64, 64)).heatmaps
    assert heatmaps.shape == (2, 5, 8, 8)
    heatmaps.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if not parameter.grad.abs().any()] == []


def test_a_head_may_end_with_its_convolutions(make_model: MakeModel) -> None:
    model = make_model(conv_channels=[5], conv_kernel_sizes=[1], final_kernel_size=0)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 64, 64)).heatmaps.shape == (1, 5, 16, 16)


def test_feature_maps_are_selected_joined_and_resized(make_model: MakeModel) -> None:
    settings: dict[str, Any] = {
        "deconv_channels": (),
        "deconv_kernel_sizes": (),
        "backbone": {"out_indices": [1, 2, 4]},
    }
    pixel_values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        model = make_model(**settings, feature_map_indices=[0, 2], concatenate_feature_maps=True, feature_map_scale=2)
        fine, _, coarse = model.backbone(pixel_values).feature_maps
        joined = torch.cat((fine, F.interpolate(coarse, size=fine.shape[2:], mode="bilinear")), 1)
        expected = model.head(F.interpolate(joined, scale_factor=2, mode="bilinear"))
        torch.testing.assert_close(model(pixel_values).heatmaps, expected)
        model = make_model(**settings, feature_map_indices=[1], feature_map_relu=True)
        features = model.backbone(pixel_values).feature_maps[1]
        torch.testing.assert_close(model(pixel_values).heatmaps, model.head(features.relu()))


def test_a_backbone_is_loaded_out_of_a_saved_model(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model()
    model.save_pretrained(tmp_path)
    backbone = ResNetBackbone.from_pretrained(tmp_path, config=model.config.backbone_config)
    pixel_values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = model.backbone(pixel_values).feature_maps
        torch.testing.assert_close(backbone(pixel_values).feature_maps, expected)


def test_fresh_heads_answer_little() -> None:
    """Small weights, as the reference initializes them."""
    torch.manual_seed(0)
    head = HeatmapForPoseEstimation(HeatmapConfig()).head
    weights = [head.heatmaps.weight, *(layer.conv.weight for layer in head.deconvolutions)]
    assert all(abs(weight.std().item() - 1e-3) < 2e-4 for weight in weights)


@torch.no_grad()
def test_visibilities_of_keypoints_are_told_learned_and_averaged_over_the_flipped_crop(make_model: MakeModel) -> None:
    model, crops = make_model(predicts_visibility=True, visibility_loss_weight=0.5), torch.randn(2, 3, 64, 64)
    labels, weights = torch.rand(2, 5, 2) * 64, torch.tensor([[1.0, 0, 1, 1, 0]] * 2)
    output = model(crops, labels=labels, keypoint_weights=weights)
    without = HeatmapForPoseEstimation(
        HeatmapConfig.from_dict(model.config.to_dict() | {"predicts_visibility": False})
    )
    without.load_state_dict(model.state_dict(), strict=False)
    plain = without.eval()(crops, labels=labels, keypoint_weights=weights).loss
    entropy = torch.nn.functional.binary_cross_entropy(output.visibilities, weights)
    torch.testing.assert_close(output.loss, plain + 0.5 * entropy)
    processor, flip_indices = HeatmapImageProcessor(), [1, 0, 2, 3, 4]
    merged = processor.merge_flipped(output, model(crops.flip(-1)), flip_indices)
    visible = processor.instance_fields(merged)["keypoints_visible"]
    expected = (output.visibilities + model(crops.flip(-1)).visibilities[:, flip_indices]) / 2
    torch.testing.assert_close(torch.from_numpy(visible), expected)
    assert processor.instance_fields(without(crops)) == {}
