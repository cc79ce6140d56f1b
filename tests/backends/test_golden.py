"""No backend moves a keypoint by more than 0.1 px or changes a score by more than 1e-3, on the reference's goldens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from golden import Golden
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry
from hfpose.media.images import load_image
from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor
from hfpose.pipelines.detection_stage import BoxDetector
from hfpose.pipelines.stage import load_stage
from hfpose.pipelines.top_down_stage import TopDownEstimator

BACKENDS = ("onnxruntime", "openvino", "compile")
POSE = (
    "rtmpose-m_8xb256-420e_body8-256x192",
    "rtmpose-m_8xb512-700e_body8-halpe26-256x192",
    "rtmpose-m_8xb64-210e_ap10k-256x256",
    "rtmpose-m_8xb256-120e_face6-256x256",
    "rtmpose-m_8xb256-210e_hand5-256x256",
    "rtmpose-m_8xb64-270e_coco-wholebody-256x192",
    "td-hm_hrnet-w32_8xb64-210e_coco-256x192",
    "td-hm_ViTPose-small-simple_8xb64-210e_coco-256x192",
    "td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192",
    "td-hm_ViTPose-large-simple_8xb64-210e_coco-256x192",
    "td-hm_ViTPose-huge-simple_8xb64-210e_coco-256x192",
)
DETECTORS = (
    "rtmdet_nano_320-8xb32_hand",
    "rtmdet_m_640-8xb32_coco-person",
    "rtmdet_m_8xb32-300e_coco",
    "ssdlite_mobilenetv2_scratch_600e_onehand",
    "yolox-s_8xb8-300e_coco-face",
    "yolox_l_8xb8-300e_coco",
)
# Small networks of every family are compared in test_onnx_graphs.py.
QUICK = {("onnxruntime", POSE[0]), ("onnxruntime", DETECTORS[0])}


def cases(names: tuple[str, ...]) -> list[Any]:
    """Every name with every backend; what takes long behind the marker."""
    return [
        pytest.param(name, backend, marks=() if (backend, name) in QUICK else pytest.mark.slow)
        for name in names
        for backend in BACKENDS
    ]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, backend):
    if backend == "openvino":
        pytest.importorskip("openvino")
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))


def near_ties(estimate: TopDownEstimator, outputs: Any) -> np.ndarray:
    """Which keypoints (N, K) have two bins of SimCC that rounding can put in another order."""
    if not isinstance(estimate.stage.image_processor, RTMPoseImageProcessor):
        return np.zeros(outputs["heatmaps"].shape[:2], bool)
    tied = []
    for responses in (outputs["simcc_x"], outputs["simcc_y"]):
        best = responses.topk(2).values
        tied.append(best[..., 0] - best[..., 1] < 1e-4 * best[..., 0].abs())
    return (tied[0] | tied[1]).numpy()


@pytest.mark.parametrize(("name", "backend"), cases(POSE))
def test_keypoints_stay_where_they_are(name, backend, shared):
    golden = Golden("pose2d", name)
    model, processor = golden.model(), golden.image_processor()
    image, boxes = load_image(shared / "images" / golden.spec["image"]), golden.arrays["e2e/boxes"]
    stage = load_stage(model, "pose", processor, backend=backend)
    with torch.inference_mode():
        pixel_values = processor(image, boxes=[boxes], return_tensors="pt")["pixel_values"]
        plain, other = model(pixel_values), stage.run(pixel_values=pixel_values)
    (expected, expected_scores), (found, scores) = (processor.decode(outputs, boxes) for outputs in (plain, other))
    distances = np.linalg.norm(found - expected, axis=-1)
    assert distances[~near_ties(TopDownEstimator(stage), plain)].max() <= 0.1
    assert np.mean(distances <= 0.1) >= 0.99
    # Seeded weights give HRNet scores of 3e7, of which float32 has no thousandths.
    assert np.abs(scores - expected_scores).max() <= 1e-3 * max(1, np.abs(expected_scores).max())


@pytest.mark.parametrize(("name", "backend"), cases(DETECTORS))
def test_boxes_stay_where_they_are(name, backend, shared):
    golden = Golden("detect", name)
    model, processor = golden.model(), golden.image_processor()
    image = load_image(shared / "images" / golden.spec["image"])
    detectors = [BoxDetector(load_stage(model, "detector", processor, backend=each)) for each in ("torch", backend)]
    (expected, expected_scores), (found, scores) = (
        detector.select(detector.detections([image], 0.3), 0.3)[0] for detector in detectors
    )
    assert len(found) == len(expected)
    for box, score in zip(expected, expected_scores, strict=True):  # equal scores come in any order
        close = (np.abs(found - box).max(1) <= 0.1) & (np.abs(scores - score) <= 1e-3)
        assert close.any()


def pose3d(name: str) -> tuple[Golden, Any, Any]:
    golden, source = Golden("pose3d", name), ModelSource.from_entry(get_entry(name))
    model = build_model(source, golden.state_dict(), name)
    return golden, model.eval(), source.conversion.image_processor_from_reference(get_entry(name).reference)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_lifted_keypoints_stay_where_they_are(backend):
    golden, model, processor = pose3d("motionbert_dstformer-ft-243frm_8xb32-120e_h36m")
    stage = load_stage(model, "lifter", processor, backend=backend)
    for frames in (1, 27, 243):
        clips = golden.network_input(2, frames, 17, 3)
        with torch.inference_mode():
            expected, found = model(keypoints_2d=clips), stage.run(keypoints_2d=clips)
        # Outputs are in units of half an image's width; this is 0.1 px of 1920.
        torch.testing.assert_close(found.keypoints_3d, expected.keypoints_3d, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_hands_stay_where_they_are(backend, shared):
    golden, model, processor = pose3d("internet_res50_4xb16-20e_interhand3d-256x256")
    stage = load_stage(model, "pose", processor, backend=backend)
    pixel_values, boxes = golden.network_input(2, 3, 256, 256), np.array([[0, 0, 256, 256]] * 2, np.float32)
    with torch.inference_mode():
        plain, other = model(pixel_values=pixel_values), stage.run(pixel_values=pixel_values)
    (expected, expected_scores), (found, scores) = (processor.decode(outputs, boxes) for outputs in (plain, other))
    assert np.mean(np.linalg.norm(found - expected, axis=-1) <= 0.1) >= 0.99  # the rest are ties between cells
    assert np.abs(scores - expected_scores).max() <= 1e-3 * max(1, np.abs(expected_scores).max())
    for expected_field, field in zip(processor.decode_hands(plain), processor.decode_hands(other), strict=True):
        np.testing.assert_allclose(field, expected_field, atol=0.1)
