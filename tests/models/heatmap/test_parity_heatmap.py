"""Heatmap estimators compute what the reference computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from golden import Golden, pose_errors

# A model of every backbone; those whose codec or flip test differs are compared in their keypoints too.
NAMES = (
    "td-hm_resnetv1d50_8xb64-210e_coco-256x192",
    "td-hm_seresnet50_8xb64-210e_coco-256x192",
    "td-hm_resnext50_8xb64-210e_coco-256x192",
    "td-hm_resnest50_8xb64-210e_coco-256x192",
    "td-hm_scnet50_8xb64-210e_coco-256x192",
    "td-hm_alexnet_8xb64-210e_coco-256x192",
    "td-hm_mobilenetv2_8xb64-210e_coco-256x192",
    "td-hm_shufflenetv1_8xb64-210e_coco-256x192",
    "td-hm_shufflenetv2_8xb64-210e_coco-256x192",
    "td-hm_vgg16-bn_8xb64-210e_coco-256x192",
    "td-hm_vipnas-res50_8xb64-210e_coco-256x192",
    "td-hm_vipnas-mbv3_8xb64-210e_coco-256x192",
)
NAMES_OF_CODECS = (
    "td-hm_res50_8xb64-210e_coco-256x192",
    "td-hm_res50_dark-8xb64-210e_coco-256x192",
)


@pytest.mark.parametrize("name", NAMES)
def test_raw_outputs(name: str) -> None:
    golden = Golden("pose2d", name)
    assert raw_error(golden, golden.model()) < 1e-4


@pytest.mark.parametrize("name", NAMES_OF_CODECS)
def test_raw_outputs_and_keypoints(name: str, shared: Path) -> None:
    golden = Golden("pose2d", name)
    model = golden.model()
    assert raw_error(golden, model) < 1e-4
    errors, score_error = pose_errors(golden, model, golden.image_processor(), shared)
    assert (errors <= 0.05).mean() >= 0.99
    assert score_error < 1e-4


def raw_error(golden: Golden, model: torch.nn.Module) -> float:
    """Relative error of the heatmaps of one of the two inputs, for the time it takes."""
    width, height = golden.spec["input_size_wh"]
    with torch.inference_mode():
        return golden.raw_error(model(golden.network_input(2, 3, height, width)[:1]).heatmaps)
