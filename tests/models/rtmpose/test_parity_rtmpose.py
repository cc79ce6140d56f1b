"""RTMPose computes what the reference computes."""

from __future__ import annotations

import pytest
import torch

from golden import Golden, share_within
from hfpose.keypoints import load_schema
from hfpose.media.images import load_image

NAMES = (
    "rtmpose-m_8xb256-420e_body8-256x192",
    pytest.param("rtmpose-m_8xb512-700e_body8-halpe26-256x192", marks=pytest.mark.slow),
    pytest.param("rtmpose-m_8xb64-210e_ap10k-256x256", marks=pytest.mark.slow),
    pytest.param("rtmpose-m_8xb256-120e_face6-256x256", marks=pytest.mark.slow),
    pytest.param("rtmpose-m_8xb256-210e_hand5-256x256", marks=pytest.mark.slow),
    pytest.param("rtmpose-m_8xb64-270e_coco-wholebody-256x192", marks=pytest.mark.slow),
)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_equal_the_reference(name, shared):
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


def test_crops_equal_the_reference_pixel_by_pixel(shared):
    golden = Golden("pose2d", NAMES[0])
    image = load_image(shared / "images" / golden.spec["image"])
    crops = golden.image_processor().crop([image], [golden.arrays["e2e/boxes"]])
    bgr = crops[1, ::4, ::4, ::-1].transpose(2, 0, 1)
    difference = abs(bgr.astype(int) - golden.arrays["e2e/crop_box1_bgr_uint8_stride4"])
    # OpenCV 4 gives the same pixels; OpenCV 5 rounds its interpolation differently.
    assert difference.max() <= 3
    assert difference.mean() < 0.15


def test_raw_outputs_without_the_shared_folder():
    golden = Golden("pose2d", NAMES[0])
    with torch.inference_mode():
        raw = golden.model()(golden.network_input(2, 3, 256, 192))
    assert golden.raw_error(raw.simcc_x, "out.0") < 1e-4
    assert golden.raw_error(raw.simcc_y, "out.1") < 1e-4
