"""Images for SSDLite, and boxes from its outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hfpose.errors import InputError
from hfpose.models.ssdlite.image_processing_ssdlite import SSDLiteImageProcessor
from hfpose.models.ssdlite.modeling_ssdlite import SSDLiteObjectDetectionOutput


def outputs_for(boxes: list[list[float]], probabilities: list[list[float]]) -> SSDLiteObjectDetectionOutput:
    """Outputs for one image, given boxes and probabilities of the classes and the background by anchor."""
    return SSDLiteObjectDetectionOutput(
        logits=torch.tensor([probabilities]).log() + 3.0, pred_boxes=torch.tensor([boxes])
    )


def test_images_are_stretched_to_the_size_of_the_network_and_normalized_in_rgb():
    image = np.zeros((100, 50, 3), dtype=np.uint8)
    image[...] = (124, 116, 104)
    pixel_values = SSDLiteImageProcessor()(image, return_tensors="pt").pixel_values
    assert pixel_values.shape == (1, 3, 320, 320)
    expected = (np.array([124, 116, 104]) - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]
    assert pixel_values[0, :, 319, 319].numpy() == pytest.approx(expected, abs=1e-5)


def test_scores_are_shares_beside_the_background():
    outputs = outputs_for([[0.0, 0.0, 10.0, 10.0]], [[0.5, 0.3, 0.2]])
    found = SSDLiteImageProcessor().post_process_object_detection(outputs, threshold=0.1)[0]
    assert found["scores"].tolist() == pytest.approx([0.5, 0.3])
    assert found["labels"].tolist() == [0, 1]  # one box may be found as several classes, as in the reference


def test_the_background_is_never_found():
    outputs = outputs_for([[0.0, 0.0, 10.0, 10.0]], [[0.005, 0.005, 0.99]])
    assert len(SSDLiteImageProcessor().post_process_object_detection(outputs)[0]["scores"]) == 0


def test_boxes_end_at_the_image_and_come_in_its_pixels():
    outputs = outputs_for([[-5.0, 160.0, 160.0, 400.0]], [[0.9, 0.1]])
    found = SSDLiteImageProcessor().post_process_object_detection(outputs, 0.5, target_sizes=[(320, 640)])[0]
    assert found["boxes"].tolist() == [[0, 160, 320, 320]]


def test_only_the_best_candidates_of_each_level_are_kept():
    """Two levels of one place with two and three anchors: the best of each level, not the best two of all."""
    processor = SSDLiteImageProcessor(
        size={"height": 16, "width": 16},
        strides=(16, 32),
        anchors_per_place=(2, 3),
        max_candidates=1,
        nms_threshold=None,
    )
    boxes = [[float(i), 0.0, float(i) + 1, 1.0] for i in range(5)]
    outputs = outputs_for(boxes, [[p, 1 - p] for p in (0.9, 0.8, 0.3, 0.2, 0.4)])
    found = processor.post_process_object_detection(outputs)[0]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.4])
    assert found["boxes"][:, 0].tolist() == [0, 4]


def test_outputs_for_another_size_are_refused():
    processor = SSDLiteImageProcessor(
        size={"height": 16, "width": 16}, strides=(16,), anchors_per_place=(2,), max_candidates=1
    )
    outputs = outputs_for([[0.0, 0.0, 1.0, 1.0]] * 3, [[0.9, 0.1]] * 3)
    with pytest.raises(InputError, match="3 boxes, but for images of 16x16 pixels there are 2"):
        processor.post_process_object_detection(outputs)


def test_saving_and_loading_keep_every_setting(tmp_path):
    processor = SSDLiteImageProcessor(anchors_per_place=(4, 6, 6, 6, 4, 4), score_threshold=0.2, max_detections=5)
    processor.save_pretrained(tmp_path)
    assert SSDLiteImageProcessor.from_pretrained(tmp_path).to_dict() == processor.to_dict()
