"""SimCC estimators compute what the reference computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from golden import Golden, allowed_errors, pose_errors

NAMES = (
    pytest.param("simcc_res50_8xb64-210e_coco-256x192", marks=pytest.mark.slow),  # ViPNAS has the same head
    "simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192",
    "simcc_vipnas-mbv3_8xb64-210e_coco-256x192",
)


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_keypoints(name: str, shared: Path) -> None:
    golden = Golden("pose2d", name)
    model, processor = golden.model(), golden.image_processor()
    with torch.inference_mode():
        outputs = model(golden.network_input(2, 3, 256, 192)[:1])
    assert golden.raw_error(outputs.simcc_x, "out.0") < 1e-4
    assert golden.raw_error(outputs.simcc_y, "out.1") < 1e-4
    errors, score_error = pose_errors(golden, model, processor, shared)
    assert (errors <= allowed_errors(golden)).mean() >= 0.99
    assert score_error < 1e-4
