"""Regression estimators: every published one is built, decoding, and they learn."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch

import hfpose
from golden import facts, source_from_facts
from hfpose.errors import ConfigError, InputError
from hfpose.hub.zoo import get_entry
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.regression.convert_regression import MODEL_CLASS, config_from_reference, convert_state_dict
from hfpose.models.regression.modeling_regression import ErrorFlow, RegressionOutput, rle_loss
from hfpose.models.shared.losses import coordinate_loss, distribution_loss, visible_coordinates
from networks import losses_of_steps

HEADS = ("RegressionHead", "RLEHead", "IntegralRegressionHead", "DSNTHead")


def published_models() -> list[str]:
    return [name for name, row in facts().items() if row["head"]["type"] in HEADS]


def small_model(head_type: str, **settings: Any) -> hfpose.RegressionForPoseEstimation:
    torch.manual_seed(0)
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    sizes: dict[str, Any] = {"image_size": (64, 64), "feature_map_size": (2, 2), "num_labels": 5}
    sizes |= {"deconv_channels": (8, 8), "deconv_kernel_sizes": (4, 4), "head_type": head_type}
    return hfpose.RegressionForPoseEstimation(hfpose.RegressionConfig(backbone_config=backbone, **sizes | settings))


def test_every_published_model_is_built() -> None:
    names = published_models()
    assert len(names) == 20
    for name in names:
        source = source_from_facts(name)
        config = source.conversion.config_from_reference(source.reference, None)
        with torch.device("meta"):
            MODEL_CLASS(config)
        assert config.num_labels == facts()[name]["head"]["num_joints"]
        assert source.conversion.image_processor_from_reference(source.reference).shift_flipped_coordinates


def test_settings_reach_the_configuration() -> None:
    row: dict[str, Any] = json.loads(json.dumps(facts()["ipr_res50_8xb64-210e_coco-256x256"]))
    row["head"] |= {"type": "IntegralRegressionHead", "beta": 10.0, "debias": True, "deconv_out_channels": None}
    config = config_from_reference(row, None)
    assert (config.head_type, config.softmax_beta, config.use_debiasing) == ("integral", 10.0, True)
    assert list(config.deconv_channels) == []
    row["head"]["type"] = "Other"
    with pytest.raises(ConfigError, match="The head Other is not supported"):
        config_from_reference(row, None)


@pytest.mark.parametrize(("name", "loss_type"), [("ipr_res50_8xb64", "mse"), ("ipr_res50_dsnt-8xb64", "divergence")])
def test_heatmaps_are_trained_as_they_were(name: str, loss_type: str) -> None:
    config = config_from_reference(get_entry(f"{name}-210e_coco-256x256").reference, None)
    assert (config.head_type, config.heatmap_loss_type) == ("dsnt", loss_type)


def test_squared_difference_of_heatmaps_by_hand() -> None:
    heatmaps = torch.zeros(1, 2, 4, 4)
    labels, weights = torch.tensor([[[1.0, 2.0], [3.0, 3.0]]]), torch.tensor([[1.0, 0.0]])
    loss = distribution_loss(heatmaps, labels, weights, image_size=(4, 4), sigma=0.1, loss_type="mse")
    assert float(loss) == pytest.approx(1 / (2 * 4 * 4))  # a single cell of the labeled keypoint is 1


def test_heads_without_pooling_see_every_cell() -> None:
    row: dict[str, Any] = json.loads(json.dumps(facts()["td-reg_res50_8xb64-210e_coco-256x192"]))
    row |= {"neck": None, "head": {**row["head"], "in_channels": 2048 * 48}}
    config = config_from_reference(row, None)
    with torch.device("meta"):
        assert MODEL_CLASS(config).head.projection.in_features == 2048 * 48
    model = small_model("coordinates", use_average_pooling=False).eval()
    assert model(torch.randn(2, 3, 64, 64)).coordinates.shape == (2, 5, 2)
    row["head"]["in_channels"] = 2047
    with pytest.raises(ConfigError, match="takes 2047 values"):
        config_from_reference(row, None)


def test_flows_of_old_checkpoints_have_their_place_and_constants_are_left_out() -> None:
    names = (
        "keypoint_head.loss.flow_model.s.0.0.weight",
        "head.loss_module.flow_model.t.5.4.bias",
        "head.loss_module.flow_model.mask",
    )
    given = {name: torch.ones(1) for name in names}
    config = hfpose.RegressionConfig(head_type="rle")
    assert sorted(convert_state_dict(given, config)) == [
        "head.flow.scales.0.0.weight",
        "head.flow.translations.5.4.bias",
    ]


def test_coordinates_become_pixels_and_mirrored_ones_are_averaged() -> None:
    processor = hfpose.RegressionImageProcessor(size={"height": 100, "width": 50})
    outputs = RegressionOutput(coordinates=torch.tensor([[[0.5, 0.25], [0.1, 0.2]]]))
    keypoints, scores = processor.decode_crops(outputs)
    torch.testing.assert_close(keypoints, torch.tensor([[[25.0, 25.0], [5.0, 20.0]]]))
    assert scores.tolist() == [[1, 1]]
    flipped = RegressionOutput(coordinates=torch.tensor([[[0.88, 0.4], [0.48, 0.25]]]))
    merged = processor.merge_flipped(outputs, flipped, (1, 0))
    torch.testing.assert_close(merged.coordinates, torch.tensor([[[0.5, 0.25], [0.1, 0.3]]]))
    processor = hfpose.RegressionImageProcessor(size={"height": 100, "width": 50}, shift_flipped_coordinates=False)
    assert math.isclose(
        processor.merge_flipped(outputs, flipped, (1, 0)).coordinates[0, 0, 0].item(), 0.51, rel_tol=1e-5
    )


def test_small_deviations_are_high_scores_and_missing_heatmaps_are_explained() -> None:
    processor = hfpose.RegressionImageProcessor()
    outputs = RegressionOutput(coordinates=torch.zeros(1, 1, 2), sigmas=torch.tensor([[[0.2, 0.4]]]))
    np.testing.assert_allclose(processor.decode_crops(outputs)[1], [[0.7]], rtol=1e-6)
    merged = processor.merge_flipped(
        outputs, RegressionOutput(outputs.loss, outputs.coordinates, outputs.sigmas * 2), [0]
    )
    torch.testing.assert_close(merged.sigmas, torch.tensor([[[0.3, 0.6]]]))
    with pytest.raises(InputError, match="without heatmaps"):
        processor.heatmaps(outputs)


def test_debiasing_takes_the_rest_of_the_softmax_out_of_the_means() -> None:
    model, other = (small_model("integral", use_debiasing=flag).eval() for flag in (False, True))
    crops = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = model.head.maps(model.backbone(crops).feature_maps[-1])
        total = maps.flatten(2).exp().sum(-1)[..., None]
        expected = total / (total - 1) * (model(crops).coordinates - 1 / (2 * total))
        torch.testing.assert_close(other(crops).coordinates, expected)


@pytest.mark.parametrize("head_type", ["coordinates", "rle", "integral", "dsnt"])
def test_the_loss_is_that_of_the_outputs_and_falls(head_type: str) -> None:
    model = small_model(head_type).train()
    torch.manual_seed(1)
    crops, labels, weights = torch.randn(4, 3, 64, 64), torch.rand(4, 5, 2) * 60, torch.ones(4, 5)
    output = model(crops, labels=labels, keypoint_weights=weights)
    targets, inside = visible_coordinates(labels, weights, (64, 64))
    if head_type == "rle":
        assert isinstance(model.head.flow, ErrorFlow)
        expected = rle_loss(model.head.flow, output.coordinates, output.sigmas, targets, inside)
    else:
        expected = coordinate_loss(output.coordinates, targets, inside)
        if head_type == "dsnt":
            expected = expected + distribution_loss(output.heatmaps, labels, inside, image_size=(64, 64), sigma=2.0)
    torch.testing.assert_close(output.loss, expected)
    losses = losses_of_steps(model, 16, 3e-3, pixel_values=crops, labels=labels)
    assert losses[-1] < losses[0]


def test_keypoints_outside_or_of_weight_zero_teach_nothing() -> None:
    labels = torch.tensor([[[5.0, 5.0], [-1.0, 5.0], [5.0, 64.0], [6.0, 6.0]]])
    _, weights = visible_coordinates(labels, torch.tensor([[1.0, 1, 1, 0]]), (64, 64))
    assert weights.tolist() == [[1, 0, 0, 0]]


def test_the_flow_is_a_density() -> None:
    """Its integral over a wide square is 1, whatever its weights are."""
    torch.manual_seed(0)
    flow = ErrorFlow()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    axis = torch.linspace(-12, 12, 201)
    points = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        integral = flow(points).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(integral.item() - 1) < 1e-2
