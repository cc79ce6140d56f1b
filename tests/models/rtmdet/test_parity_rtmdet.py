"""RTMDet computes what the reference computes."""

from __future__ import annotations

import pytest
import torch

from golden import Golden, unmatched_boxes
from hfpose.media.images import load_image

NAMES = ("rtmdet_nano_320-8xb32_hand", "rtmdet_m_640-8xb32_coco-person", "rtmdet_m_8xb32-300e_coco")


def check_raw(golden: Golden, model: torch.nn.Module) -> None:
    width, height = golden.spec["resize_wh"]
    with torch.inference_mode():
        features = model.neck(model.backbone(golden.network_input(1, 3, height, width)).feature_maps)
        logits, distances = model.head(features)
    assert golden.level_error("out.0", logits) < 1e-4
    assert golden.level_error("out.1", distances) < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_the_reference(name, shared):
    golden = Golden("detect", name)
    model, processor = golden.model(), golden.image_processor()
    check_raw(golden, model)
    image = load_image(shared / "images" / golden.spec["image"])
    with torch.inference_mode():
        outputs = model(**processor(image, return_tensors="pt"))
    found = processor.post_process_object_detection(outputs, target_sizes=[image.shape[:2]])[0]
    assert len(found["boxes"]) == len(golden.arrays["e2e/boxes"])
    assert unmatched_boxes(found, golden.arrays) == 0


def test_raw_outputs_without_the_shared_folder():
    golden = Golden("detect", NAMES[0])
    check_raw(golden, golden.model())
