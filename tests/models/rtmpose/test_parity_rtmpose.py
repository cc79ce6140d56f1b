"""RTMPose computes what the reference computes."""

from __future__ import annotations

import pytest
import torch

from golden import Golden, pose_errors
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

    with torch.inference_mode():
        raw = model(golden.network_input(2, 3, height, width)[:1])
    assert golden.raw_error(raw.simcc_x, "out.0") < 1e-4
    assert golden.raw_error(raw.simcc_y, "out.1") < 1e-4
    errors, score_error = pose_errors(golden, model, processor, shared)
    assert (errors <= 0.05).mean((1, 2)).min() >= 0.99
    assert score_error < 1e-4


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
