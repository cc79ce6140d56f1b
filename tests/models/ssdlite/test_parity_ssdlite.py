"""SSDLite computes what the reference computes."""

from __future__ import annotations

import torch

from golden import Golden, unmatched_boxes
from hfpose.media.images import load_image

NAME = "ssdlite_mobilenetv2_scratch_600e_onehand"


def test_raw_outputs_equal_the_reference():
    golden = Golden("detect", NAME)
    model = golden.model()
    width, height = golden.spec["resize_wh"]
    with torch.inference_mode():
        logits, boxes = model.head(model.neck(model.backbone(golden.network_input(1, 3, height, width)).feature_maps))
    assert golden.level_error("out.0", logits) < 1e-4
    assert golden.level_error("out.1", boxes) < 1e-4


def test_boxes_equal_the_reference(shared):
    golden = Golden("detect", NAME)
    model, processor = golden.model(), golden.image_processor()
    image = load_image(shared / "images" / golden.spec["image"])
    with torch.inference_mode():
        outputs = model(**processor(image, return_tensors="pt"))
    found = processor.post_process_object_detection(outputs, target_sizes=[image.shape[:2]])[0]
    assert len(found["boxes"]) == len(golden.arrays["e2e/boxes"])
    assert unmatched_boxes(found, golden.arrays) == 0
