"""Detectors with suppression inside, as MMDeploy writes and rtmlib reads them."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from hfpose.backends.onnx_graphs import example_inputs
from hfpose.errors import ConfigError
from hfpose.export.detections import export_detections
from small_models import small_model


@pytest.mark.parametrize("name", ["rtmdet", "yolox", "ssdlite"])
def test_the_boxes_are_those_of_the_image_processor(name, tmp_path):
    model, processor = small_model(name)
    path = tmp_path / "end2end.onnx"
    assert export_detections(model, processor, path) > 0.95
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["input"]
    pixel_values = example_inputs(model, processor, 2, seed=3)["pixel_values"]
    dets, labels = session.run(["dets", "labels"], {"input": pixel_values.numpy()})
    with torch.inference_mode():
        expected = processor.post_process_object_detection(model(pixel_values=pixel_values), threshold=0.05)
    for boxes, classes, found in zip(dets, labels, expected, strict=True):
        count = min(len(found["scores"]), 20)
        assert count > 0
        assert (np.diff(boxes[:, 4]) <= 0).all()
        np.testing.assert_allclose(boxes[:count, 4], found["scores"][:count], atol=1e-4)
        assert (boxes[classes < 0] == 0).all()


def test_a_pose_model_has_no_boxes_to_suppress(tmp_path):
    model, processor = small_model("rtmpose")
    with pytest.raises(ConfigError, match="finds no boxes"):
        export_detections(model, processor, tmp_path / "end2end.onnx")


def test_rtmlib_finds_what_we_find(person_detector, photo, tmp_path):
    rtmlib = pytest.importorskip("rtmlib")
    import cv2

    from hfpose.pipelines.detection_stage import BoxDetector
    from hfpose.pipelines.stage import load_stage

    stage = load_stage(person_detector, "detector")
    path = tmp_path / "end2end.onnx"
    export_detections(stage.model, stage.image_processor, path)
    image = cv2.imread(str(photo))
    theirs = rtmlib.RTMDet(str(path), model_input_size=(320, 320))(image)
    boxes = BoxDetector(stage)
    (ours, _), *_ = boxes.select(boxes.detections([image[..., ::-1].copy()], 0.3), 0.6)
    assert len(theirs) == len(ours) == 4
    assert np.abs(theirs - ours).max() < 3  # it rounds the size of the resized image otherwise
