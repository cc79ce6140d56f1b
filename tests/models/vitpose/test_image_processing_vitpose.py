"""Our image processor agrees with the one that transformers ships."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from transformers import VitPoseForPoseEstimation
from transformers.models.vitpose import image_processing_pil_vitpose as theirs
from transformers.models.vitpose.modeling_vitpose import VitPoseEstimatorOutput

from hfpose.keypoints import schema_for_config
from hfpose.models.shared.top_down import crop_matrices
from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

BOXES = np.array([[120, 60, 260, 420], [220, 90, 420, 250.5], [200, 200, 290, 330]], np.float32)


def as_xywh(boxes: np.ndarray) -> list[list[list[float]]]:
    return [np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).tolist()]


@pytest.fixture
def photo() -> np.ndarray:
    """A smooth image (480, 640, 3)."""
    noise = np.random.default_rng(0).uniform(0, 255, (480, 640, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (61, 61), 10)
    return cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def test_crops_have_the_same_geometry() -> None:
    processor = ViTPoseImageProcessor()
    centers, scales = processor.centers_and_scales(BOXES)
    matrices = crop_matrices(centers, scales, (192, 256), processor.use_udp)
    for box, matrix, center, scale in zip(as_xywh(BOXES)[0], matrices, centers, scales, strict=True):
        their_center, their_scale = theirs.box_to_center_and_scale(box, 192, 256)
        np.testing.assert_allclose(center, their_center, rtol=1e-6)
        np.testing.assert_allclose(scale, their_scale * 200, rtol=1e-6)
        target = np.array([192, 256]) - 1.0
        expected = theirs.get_warp_matrix(0, their_center * 2, target, their_scale * 200)
        np.testing.assert_allclose(matrix, expected, rtol=1e-5, atol=1e-3)


def test_crops_have_the_same_pixels(photo: np.ndarray) -> None:
    pytest.importorskip("scipy", reason="transformers' processor needs scipy")
    expected = theirs.VitPoseImageProcessorPil()(photo, boxes=as_xywh(BOXES), return_tensors="pt")["pixel_values"]
    given = ViTPoseImageProcessor()(photo, boxes=[BOXES], return_tensors="pt")["pixel_values"]
    assert given.shape == expected.shape == (3, 3, 256, 192)
    difference = (given - expected).abs() * 0.225 * 255
    assert difference.max() <= 2.5  # gray levels; both round, OpenCV its weights too
    assert difference.mean() < 0.5


def test_keypoints_of_gaussian_heatmaps_are_the_same() -> None:
    pytest.importorskip("scipy", reason="transformers' processor needs scipy")
    cells = np.random.default_rng(1).uniform((7, 7), (40, 56), (3, 17, 2))
    y, x = np.mgrid[:64, :48]
    squared = (x - cells[..., 0, None, None]) ** 2 + (y - cells[..., 1, None, None]) ** 2
    outputs = VitPoseEstimatorOutput(heatmaps=torch.from_numpy(np.exp(-squared / 8)).float())
    (expected,) = theirs.VitPoseImageProcessorPil().post_process_pose_estimation(outputs, boxes=as_xywh(BOXES))
    (given,) = ViTPoseImageProcessor().post_process_pose_estimation(outputs, boxes=[BOXES])
    for ours, reference in zip(given, expected, strict=True):
        assert (ours["keypoints"] - reference["keypoints"]).abs().max() < 0.1
        torch.testing.assert_close(ours["scores"], reference["scores"])
        torch.testing.assert_close(ours["labels"], reference["labels"])


def test_files_of_transformers_are_read(tmp_path: Path) -> None:
    theirs.VitPoseImageProcessorPil(size={"height": 128, "width": 96}, image_mean=[0.1, 0.2, 0.3]).save_pretrained(
        tmp_path
    )
    processor = ViTPoseImageProcessor.from_pretrained(tmp_path)
    assert processor._crop_size == (96, 128)
    assert processor.image_mean == [0.1, 0.2, 0.3]
    assert processor.use_udp
    assert processor.heatmap_decoding == "udp"
    assert not processor.shift_flipped_heatmaps
    assert processor(np.zeros((50, 50, 3), np.uint8), return_tensors="pt")["pixel_values"].shape == (1, 3, 128, 96)


def test_files_of_hub_repositories_are_read(tmp_path: Path) -> None:
    """What lies in `usyd-community/vitpose-base-simple`."""
    settings = {
        "do_affine_transform": True,
        "do_normalize": True,
        "do_rescale": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "VitPoseImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "normalize_factor": 200.0,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 256, "width": 192},
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    given, fresh = ViTPoseImageProcessor.from_pretrained(tmp_path), ViTPoseImageProcessor()
    assert given.to_dict() == fresh.to_dict() | settings


def test_files_name_the_class_of_transformers(tmp_path: Path) -> None:
    ViTPoseImageProcessor(box_padding=1.1).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert saved["image_processor_type"] == "VitPoseImageProcessor"
    assert ViTPoseImageProcessor.from_pretrained(tmp_path).box_padding == 1.1


def test_models_in_the_form_of_hub_repositories_predict(
    make_model: Callable[..., VitPoseForPoseEstimation], photo: np.ndarray, tmp_path: Path
) -> None:
    model = make_model()
    limbs = [f"{side}_{part}" for part in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for side in "LR"]
    model.config.id2label = dict(enumerate(["Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", *limbs]))
    model.save_pretrained(tmp_path)
    theirs.VitPoseImageProcessorPil(size={"height": 64, "width": 48}).save_pretrained(tmp_path)

    loaded: Any = VitPoseForPoseEstimation.from_pretrained(tmp_path).eval()
    processor = ViTPoseImageProcessor.from_pretrained(tmp_path)
    inputs = processor(photo, boxes=[BOXES], return_tensors="pt")
    with torch.no_grad():
        outputs, flipped = loaded(**inputs), loaded(inputs["pixel_values"].flip(-1))
    schema = schema_for_config(loaded.config)
    assert schema.name == "coco"
    merged = processor.merge_flipped(outputs, flipped, schema.flip_indices)
    assert isinstance(merged, VitPoseEstimatorOutput)
    (people,) = processor.post_process_pose_estimation(merged, boxes=[BOXES])
    assert len(people) == 3
    assert people[0]["keypoints"].shape == (17, 2)
    assert people[0]["keypoints"].isfinite().all()
