"""RTMW3D computes what the reference computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from golden import Golden, relative_error, share_within
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import InputError
from hfpose.hub.zoo import get_entry
from hfpose.media.images import load_image
from hfpose.models.rtmw3d.configuration_rtmw3d import RTMW3DConfig
from hfpose.models.rtmw3d.image_processing_rtmw3d import RTMW3DImageProcessor
from hfpose.models.rtmw3d.modeling_rtmw3d import RTMW3DForPoseEstimation

NAME = "rtmw3d-l_8xb64_cocktail14-384x288"


@pytest.mark.usefixtures("exact_convolutions")
def test_outputs_equal_the_reference(shared: Path) -> None:
    golden = Golden("pose3d", NAME)
    source = ModelSource.from_entry(get_entry(NAME))
    model: Any = build_model(source, golden.state_dict(), NAME)
    processor: Any = source.conversion.image_processor_from_reference(source.reference)
    expected = golden.arrays
    image, boxes = load_image(shared / "images" / golden.spec["image"]), expected["e2e/boxes"]
    with torch.inference_mode():
        raw = model(golden.network_input(2, 3, 384, 288)[:1])
        outputs = model(processor(image, boxes=[boxes], return_tensors="pt")["pixel_values"])
    for index, name in enumerate(("simcc_x", "simcc_y", "simcc_z")):
        assert relative_error(raw[name][..., ::4], expected[f"raw_stride4/out.{index}"][:1]) < 1e-4
    keypoints, scores = processor.decode(outputs, boxes)
    size = (image.shape[1], image.shape[0])
    assert size == tuple(golden.spec["image_size_wh"])
    for mode in ("3d", "vis", "2d"):
        given = processor.as_reference(keypoints, boxes, size, mode)
        bound = 3e-4 if mode == "3d" else 0.05
        assert share_within(given, expected[f"e2e/{mode}/keypoints"], bound) >= 0.99
        assert abs(scores - expected[f"e2e/{mode}/keypoint_scores"]).max() < 1e-3
    assert share_within(keypoints[..., :2], expected["e2e/3d/transformed_keypoints"]) >= 0.99


@pytest.fixture
def processor() -> RTMW3DImageProcessor:
    return RTMW3DImageProcessor(root_indices=[0, 1])


# Two hips left and right of the middle of an image, a point above them, and one nearer to the camera.
KEYPOINTS = np.array([[[310.0, 240, 0], [330, 240, 0], [320, 140, 0], [320, 240, -1]]], np.float32)


def test_meters_are_those_of_a_pinhole_camera(processor: RTMW3DImageProcessor) -> None:
    meters = processor.to_meters(
        KEYPOINTS, (640, 480), focal_length=500, root_depth=5, do_root_relative=False, axes="camera"
    )
    expected = [[[-0.1, 0, 5], [0.1, 0, 5], [0, -1, 5], [0, 0, 4]]]
    np.testing.assert_allclose(meters, expected, atol=1e-6)


def test_people_stand_upright_and_are_no_mirror_images(processor: RTMW3DImageProcessor) -> None:
    camera = processor.to_meters(KEYPOINTS, (640, 480), root_depth=5, axes="camera")
    upright = processor.to_meters(KEYPOINTS, (640, 480), root_depth=5, do_rebase_height=False)
    np.testing.assert_allclose(upright, -camera[..., [0, 2, 1]], atol=1e-6)
    assert upright[0, 2, 2] > 0.4  # above the hips
    assert upright[0, 3, 1] == pytest.approx(1.0)  # toward the camera
    turn = np.linalg.lstsq(camera[0], upright[0], rcond=None)[0]
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-4)
    rebased = processor.to_meters(KEYPOINTS, (640, 480), root_depth=5)
    assert rebased[..., 2].min() == 0


def test_center_is_the_middle_of_the_image_unlike_the_references(processor: RTMW3DImageProcessor) -> None:
    point = np.array([[[320.0, 240, 0]] * 4], np.float32)
    meters = processor.to_meters(point, (640, 480), do_root_relative=False, axes="camera")
    np.testing.assert_allclose(meters[0, 0, :2], 0, atol=1e-6)
    reference = processor.as_reference(point, np.array([[0, 0, 640, 480]], np.float32), (640, 480), "3d")
    assert abs(reference[0, 0, 0]) > 0.3


def test_field_of_view_gives_the_focal_length(processor: RTMW3DImageProcessor) -> None:
    wide = processor.to_meters(KEYPOINTS, (640, 480), field_of_view=90)
    np.testing.assert_allclose(wide, processor.to_meters(KEYPOINTS, (640, 480), focal_length=320), atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [{"focal_length": 0}, {"field_of_view": 180}, {"focal_length": 1, "field_of_view": 1}, {"root_depth": 0}],
)
def test_impossible_cameras_are_explained(options: dict[str, float], processor: RTMW3DImageProcessor) -> None:
    with pytest.raises(InputError, match="|".join(options)):
        processor.to_meters(KEYPOINTS, (640, 480), **options)


def small_model() -> RTMW3DForPoseEstimation:
    torch.manual_seed(0)
    backbone = {"model_type": "cspnext_backbone", "width_multiplier": 0.125, "depth_multiplier": 0.1}
    config = RTMW3DConfig(
        backbone_config={**backbone, "out_indices": [2, 3, 4]}, image_size=(64, 64), depth_size=64, num_neck_blocks=1,
        num_labels=5, hidden_size=16, attention_size=8, final_kernel_size=3,
    )  # fmt: skip
    return RTMW3DForPoseEstimation(config)


def test_depth_that_is_not_known_is_not_learned() -> None:
    model = small_model().eval()
    pixels, labels = torch.randn(2, 3, 64, 64), torch.rand(2, 5, 3)
    unknown = labels.clone()
    unknown[..., 2] = torch.nan
    known, without = model(pixels, labels=labels).loss, model(pixels, labels=unknown).loss
    assert torch.isfinite(without)
    assert known > without
    without.backward()
    assert model.head.classifiers["z"].weight.grad.abs().max() == 0
