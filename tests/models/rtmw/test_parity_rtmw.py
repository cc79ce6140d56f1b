"""RTMW computes what the reference computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from golden import Golden, pose_errors
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.models.rtmw.configuration_rtmw import RTMWConfig
from hfpose.models.rtmw.image_processing_rtmw import RTMWImageProcessor
from hfpose.models.rtmw.modeling_rtmw import RTMWForPoseEstimation
from networks import losses_of_steps

NAMES = (
    "rtmw-m_8xb1024-270e_cocktail14-256x192",
    pytest.param("rtmw-l_8xb320-270e_cocktail14-384x288", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("exact_convolutions")
def test_outputs_equal_the_reference(name: str, shared: Path) -> None:
    golden = Golden("pose2d", name)
    width, height = golden.spec["input_size_wh"]
    model, processor = golden.model(), golden.image_processor()
    with torch.inference_mode():
        raw = model(golden.network_input(2, 3, height, width)[:1])
    assert golden.raw_error(raw.simcc_x, "out.0") < 1e-4
    assert golden.raw_error(raw.simcc_y, "out.1") < 1e-4
    errors, score_error = pose_errors(golden, model, processor, shared)
    assert (errors <= 0.05).mean((1, 2)).min() >= 0.99
    assert score_error < 1e-4
    assert ("keypoints_visible" in processor.instance_fields(raw)) == ("384x288" in name)


@pytest.mark.parametrize(
    "entry", [entry for entry in list_entries("pose") if entry.family == "rtmw"], ids=lambda entry: entry.name
)
def test_every_published_model_builds(entry) -> None:  # type: ignore[no-untyped-def]
    source = ModelSource.from_entry(entry)
    with torch.device("meta"):
        model = source.conversion.MODEL_CLASS(source.conversion.config_from_reference(source.reference, source.schema))
    assert model.config.num_labels == 133
    assert model.head.coarse_tokens.keypoint_features.conv.weight.shape[1] == source.reference["head"]["in_channels"]


def test_visibility_is_how_narrow_the_distributions_are() -> None:
    """As `SimCCLabel.decode` has it: the lower of the two greatest probabilities."""
    processor = RTMWImageProcessor(decode_visibility=True, visibility_beta=2.0, simcc_sigma=(1.0, 3.0))
    x, y = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.0, 0.0, 0.5]]])
    visible = processor.instance_fields({"simcc_x": x, "simcc_y": y})["keypoints_visible"]
    expected = min(np.exp(2) / (1 + np.exp(2)), np.exp(3) / (2 + np.exp(3)))
    np.testing.assert_allclose(visible, [[expected]], rtol=1e-6)


@pytest.fixture(scope="module")
def small_model() -> RTMWForPoseEstimation:
    torch.manual_seed(0)
    backbone = {"model_type": "cspnext_backbone", "width_multiplier": 0.125, "depth_multiplier": 0.1}
    config = RTMWConfig(
        backbone_config={**backbone, "out_indices": [2, 3, 4]}, image_size=(64, 64), num_neck_blocks=1, num_labels=5,
        hidden_size=16, attention_size=8, final_kernel_size=3,
    )  # fmt: skip
    return RTMWForPoseEstimation(config)


def test_keypoints_weigh_in_the_loss_as_the_config_says(small_model: RTMWForPoseEstimation) -> None:
    pixels, labels = torch.randn(2, 3, 64, 64), torch.rand(2, 5, 2) * 64
    small_model.eval()
    given = small_model(pixels, labels=labels, keypoint_weights=torch.tensor([[1.0, 1, 0.5, 1, 1]]).expand(2, 5)).loss
    small_model.config.keypoint_loss_weights = [1.0, 1.0, 0.5, 1.0, 1.0]
    torch.testing.assert_close(small_model(pixels, labels=labels).loss, given)
    small_model.config.keypoint_loss_weights = None


def test_loss_learns_two_crops_by_heart(small_model: RTMWForPoseEstimation) -> None:
    pixels, labels = torch.randn(2, 3, 64, 64), torch.rand(2, 5, 2) * 64
    losses = losses_of_steps(small_model.train(), 15, 1e-2, pixel_values=pixels, labels=labels)
    assert losses[-1] < 0.8 * losses[0]


def test_mask_of_the_references_loss_becomes_weights() -> None:
    source = ModelSource.from_entry(get_entry(NAMES[0]))
    config = source.conversion.config_from_reference(source.reference, source.schema)
    assert config.keypoint_loss_weights[22:24] == [1.0, 0.5]
    assert sum(config.keypoint_loss_weights) == 133 - 34
