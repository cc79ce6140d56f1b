"""Regression estimators compute what the reference computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from golden import Golden, allowed_errors, pose_errors, relative_error

NAMES = (
    "td-reg_res50_8xb64-210e_coco-256x192",
    pytest.param("td-reg_res50_rle-8xb64-210e_coco-256x192", marks=pytest.mark.slow),  # as the next
    "td-reg_mobilenetv2_rle-pretrained-8xb64-210e_coco-256x192",
    "ipr_res50_8xb64-210e_coco-256x256",
    pytest.param("ipr_res50_dsnt-8xb64-210e_coco-256x256", marks=pytest.mark.slow),  # differs in its loss alone
)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_keypoints(name: str, shared: Path) -> None:
    golden = Golden("pose2d", name)
    model, processor = golden.model(), golden.image_processor()
    width, height = golden.spec["input_size_wh"]
    with torch.inference_mode():
        outputs = model(golden.network_input(2, 3, height, width)[:1])
    if outputs.heatmaps is None:
        expected = torch.from_numpy(golden.arrays["raw/out"][:1])
        assert relative_error(outputs.coordinates, expected[..., :2].numpy()) < 1e-4
        if outputs.sigmas is not None:
            torch.testing.assert_close(outputs.sigmas, expected[..., 2:].sigmoid(), atol=1e-5, rtol=1e-4)
    else:
        assert golden.raw_error(outputs.coordinates, "out.0") < 1e-4
        assert golden.raw_error(outputs.heatmaps, "out.1") < 1e-4
    errors, score_error = pose_errors(golden, model, processor, shared)
    assert (errors <= allowed_errors(golden)).mean() >= 0.99
    assert score_error < 1e-4 or outputs.sigmas is None  # all scores are 1
