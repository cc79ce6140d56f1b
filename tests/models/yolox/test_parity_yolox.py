"""YOLOX computes what the reference computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden, unmatched_boxes
from hfpose.media.images import load_image

FACE = "yolox-s_8xb8-300e_coco-face"


@pytest.mark.parametrize("name", [FACE, pytest.param("yolox_l_8xb8-300e_coco", marks=pytest.mark.slow)])
def test_raw_outputs_equal_the_reference(name):
    golden = Golden("detect", name)
    model = golden.model()
    width, height = golden.spec["resize_wh"]
    with torch.inference_mode():
        features = model.neck(model.backbone(golden.network_input(1, 3, height, width)).feature_maps)
        logits, boxes, objectness = model.head(features)
    assert golden.level_error("out.0", logits) < 1e-4
    assert golden.level_error("out.1", boxes) < 1e-4
    assert golden.level_error("out.2", objectness) < 1e-4


def test_boxes_equal_the_reference(shared):
    golden = Golden("detect", FACE)
    model, processor = golden.model(), golden.image_processor()
    image = load_image(shared / "images" / golden.spec["image"])
    with torch.inference_mode():
        outputs = model(**processor(image, return_tensors="pt"))
    found = processor.post_process_object_detection(outputs, target_sizes=[image.shape[:2]])[0]
    expected = golden.arrays["e2e/boxes"]
    assert len(found["boxes"]) == len(expected)

    # One of the boxes is 50 000 px high, where float32 cannot tell 0.05 px through an exponential. So every box is
    # compared to 0.05 px within the image, and to a hundred thousandth of its size beyond it.
    height, width = image.shape[:2]
    corner = np.array([width, height, width, height], dtype=np.float32)
    inside = found | {"boxes": found["boxes"].clamp(min=0).minimum(torch.from_numpy(corner))}
    assert unmatched_boxes(inside, golden.arrays | {"e2e/boxes": expected.clip(0, corner)}) == 0
    sizes = (expected[:, 2:] - expected[:, :2]).max(1)
    order = np.lexsort(expected.T)
    given = found["boxes"].numpy()[np.lexsort(found["boxes"].numpy().T)]
    assert (np.abs(given - expected[order]).max(1) < 1e-5 * np.maximum(sizes[order], 1000)).all()
    assert given.min() < -10_000  # the reference does not clip
