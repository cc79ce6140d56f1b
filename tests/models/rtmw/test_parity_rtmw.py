"""RTMW computes what the reference computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from golden import Golden, share_within
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.keypoints import load_schema
from hfpose.media.images import load_image
from hfpose.models.rtmw.configuration_rtmw import RTMWConfig
from hfpose.models.rtmw.image_processing_rtmw import RTMWImageProcessor
from hfpose.models.rtmw.modeling_rtmw import RTMWForPoseEstimation

NAMES = (
    "rtmw-m_8xb1024-270e_cocktail14-256x192",
    pytest.param("rtmw-l_8xb320-270e_cocktail14-384x288", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_the_reference(name: str, shared: Path) -> None:
    golden = Golden("pose2d", name)
    width, height = golden.spec["input_size_wh"]
    model, processor = golden.model(), golden.image_processor()
    expected = golden.arrays
    with torch.inference_mode():
        raw = model(golden.network_input(2, 3, height, width)[:1])
        assert golden.raw_error(raw.simcc_x, "out.0") < 1e-4
        assert golden.raw_error(raw.simcc_y, "out.1") < 1e-4

        image, boxes = load_image(shared / "images" / golden.spec["image"]), expected["e2e/boxes"]
        pixel_values = processor(image, boxes=[boxes], return_tensors="pt")["pixel_values"]
        plain, flipped = model(pixel_values), model(pixel_values.flip(-1))
    merged = processor.merge_flipped(plain, flipped, load_schema(golden.spec["dataset"]).flip_indices)
    for outputs, key in ((plain, "e2e/flip_false"), (merged, "e2e/flip_true")):
        keypoints, scores = processor.decode(outputs, boxes)
        assert share_within(keypoints, expected[f"{key}/keypoints"]) >= 0.99
        assert abs(scores - expected[f"{key}/scores"]).max() < 1e-3
    assert ("keypoints_visible" in processor.instance_fields(merged)) == ("384x288" in name)


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


def test_folder_gives_back_the_same_model(small_model: RTMWForPoseEstimation, tmp_path: Path) -> None:
    small_model.save_pretrained(tmp_path)
    again = RTMWForPoseEstimation.from_pretrained(tmp_path)
    pixels = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(again(pixels).simcc_x, small_model.eval()(pixels).simcc_x)


def test_keypoints_weigh_in_the_loss_as_the_config_says(small_model: RTMWForPoseEstimation) -> None:
    pixels, labels = torch.randn(2, 3, 64, 64), torch.rand(2, 5, 2) * 64
    small_model.eval()
    given = small_model(pixels, labels=labels, keypoint_weights=torch.tensor([[1.0, 1, 0.5, 1, 1]]).expand(2, 5)).loss
    small_model.config.keypoint_loss_weights = [1.0, 1.0, 0.5, 1.0, 1.0]
    torch.testing.assert_close(small_model(pixels, labels=labels).loss, given)
    small_model.config.keypoint_loss_weights = None


def test_loss_learns_two_crops_by_heart(small_model: RTMWForPoseEstimation) -> None:
    pixels, labels = torch.randn(2, 3, 64, 64), torch.rand(2, 5, 2) * 64
    optimizer = torch.optim.Adam(small_model.train().parameters(), lr=1e-2)
    losses = []
    for _ in range(15):
        loss = small_model(pixels, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


def test_mask_of_the_references_loss_becomes_weights() -> None:
    source = ModelSource.from_entry(get_entry(NAMES[0]))
    config = source.conversion.config_from_reference(source.reference, source.schema)
    assert config.keypoint_loss_weights[22:24] == [1.0, 0.5]
    assert sum(config.keypoint_loss_weights) == 133 - 34
