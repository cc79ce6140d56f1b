"""RTMO computes what the reference computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden
from hfpose.media.images import load_image

NAMES = (
    "rtmo-t_8xb32-600e_body7-416x416",
    pytest.param("rtmo-s_8xb32-600e_coco-640x640", marks=pytest.mark.slow),
)
OUTPUTS = {"out.0": "logits", "out.1": "boxes", "out.3": "visibilities", "out.4": "poses"}


@pytest.mark.parametrize("name", NAMES)
def test_outputs_of_the_head_equal_the_reference(name):
    golden = Golden("one_stage", name)
    width, height = golden.spec["input_size_wh"]
    model = golden.model()
    with torch.inference_mode():
        levels = model.head(model.encoder(model.backbone(golden.network_input(1, 3, height, width)).feature_maps))
    for kind, output in OUTPUTS.items():
        assert golden.level_error(kind, levels[output]) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_instances_equal_the_reference(name, shared):
    """The golden's 64 seeded periods of the bins' sines are as short as 1.5e-4 pixels, where the reference has them
    from 1 to 274: a box that is rounded otherwise, by one unit in the last place, moves some keypoints by pixels. They
    tell nothing, so that only those are compared that stay when boxes are moved by so much.
    """
    golden = Golden("one_stage", name)
    model, processor, expected = golden.model(), golden.image_processor(), golden.arrays
    image = load_image(shared / "images" / golden.spec["image"])
    size = [image.shape[:2]]
    with torch.inference_mode():
        pixel_values = processor(image, return_tensors="pt")["pixel_values"]
        features = model.backbone(pixel_values)
        model.backbone.forward = lambda *_, **__: features  # they are the same every time
        (found,) = processor.instances(model(pixel_values=pixel_values), size)
        moved = []
        for factor in (1 - 2**-23, 1 + 2**-23):
            with_moved_boxes(model, factor)
            (other,) = processor.instances(model(pixel_values=pixel_values), size)
            moved.append(np.linalg.norm(other.keypoints[:60] - found.keypoints[:60], axis=-1))
    np.testing.assert_allclose(found.boxes[:60], expected["e2e/bboxes"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(found.box_scores[:60], expected["e2e/bbox_scores"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found.keypoint_scores[:60], expected["e2e/keypoint_scores"], rtol=0, atol=1e-4)
    stays = np.max(moved, axis=0) < 0.02
    assert stays.mean() > 0.4
    distances = np.linalg.norm(found.keypoints[:60] - expected["e2e/keypoints"], axis=-1)
    limits = 0.05 + 1e-4 * np.abs(expected["e2e/keypoints"]).max(-1)
    assert (distances <= limits)[stays].mean() >= 0.99


def with_moved_boxes(model, factor):
    """From here on the coordinate classifier sees boxes that are a little larger or smaller."""
    classifier = type(model.classifier).forward
    model.classifier.forward = lambda vectors, boxes, points: classifier(
        model.classifier, vectors, boxes * factor, points
    )
