"""HRNet computes what the reference computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from golden import Golden, pose_errors, relative_error

NAME = "td-hm_hrnet-w32_8xb64-210e_coco-256x192"


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden("pose2d", NAME)


@pytest.fixture(scope="module")
def model(golden: Golden) -> torch.nn.Module:
    return golden.model()


def test_raw_outputs(golden: Golden, model: torch.nn.Module) -> None:
    with torch.inference_mode():
        heatmaps = model(golden.network_input(2, 3, 256, 192)[:1]).heatmaps  # one of the two, for the time it takes
    assert relative_error(heatmaps, golden.arrays["raw/out"][:1]) < 1e-4


def test_keypoints_with_and_without_flip_test(golden: Golden, model: torch.nn.Module, shared: Path) -> None:
    errors, score_error = pose_errors(golden, model, golden.image_processor(), shared)
    assert (errors <= 0.05).mean() >= 0.99
    assert score_error < 1e-4
