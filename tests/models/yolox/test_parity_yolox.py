"""YOLOX computes what the reference computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden, unmatched_boxes

FACE = "yolox-s_8xb8-300e_coco-face"


@pytest.mark.parametrize("name", [FACE, pytest.param("yolox_l_8xb8-300e_coco", marks=pytest.mark.slow)])
def test_raw_outputs_equal_the_reference(name):
    assert Golden("detect", name).head_error() < 1e-4


def test_boxes_equal_the_reference(shared):
    golden = Golden("detect", FACE)
    found, (height, width) = golden.found_boxes(shared)
    expected = golden.arrays["e2e/boxes"]
    assert len(found["boxes"]) == len(expected)

    # One of the boxes is 50 000 px high, where float32 cannot tell 0.05 px through an exponential. So every box is
    # compared to 0.05 px within the image, and to a hundred thousandth of its size beyond it.
    corner = np.array([width, height, width, height], dtype=np.float32)
    inside = found | {"boxes": found["boxes"].clamp(min=0).minimum(torch.from_numpy(corner))}
    assert unmatched_boxes(inside, golden.arrays | {"e2e/boxes": expected.clip(0, corner)}) == 0
    sizes = (expected[:, 2:] - expected[:, :2]).max(1)
    order = np.lexsort(expected.T)
    given = found["boxes"].numpy()[np.lexsort(found["boxes"].numpy().T)]
    assert (np.abs(given - expected[order]).max(1) < 1e-5 * np.maximum(sizes[order], 1000)).all()
    assert given.min() < -10_000  # the reference does not clip
