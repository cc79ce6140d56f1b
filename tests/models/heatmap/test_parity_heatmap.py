"""Heatmap estimators compute what the reference computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from golden import Golden, allowed_errors, pose_errors

# A model of every backbone; those whose codec or flip test differs are compared in their keypoints too, further below.
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
    "td-hm_pvt-s_8xb64-210e_coco-256x192",
    "td-hm_pvtv2-b2_8xb64-210e_coco-256x192",
    "td-hm_swin-t-p4-w7_8xb32-210e_coco-256x192",
    "td-hm_hrformer-small_8xb32-210e_coco-256x192",
    "td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256",
)
NAMES_OF_CODECS = (
    pytest.param("td-hm_hrnet-w32_8xb64-210e_coco-256x192", marks=pytest.mark.slow),
    pytest.param(
        "td-hm_hrnet-w32_udp-8xb64-210e_coco-256x192", marks=pytest.mark.slow
    ),  # codec of CSPNeXt-tiny, network of the next
    "td-hm_hrnet-w32_udp-regress-8xb64-210e_coco-256x192",
    pytest.param("td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256", marks=pytest.mark.slow),
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
    assert (errors <= allowed_errors(golden)).mean() >= 0.99
    assert score_error < 1e-4


def test_keypoints_by_udp(shared: Path) -> None:
    golden = Golden("pose2d", "cspnext-tiny_udp_8xb256-210e_coco-256x192")
    errors, score_error = pose_errors(golden, golden.model(), golden.image_processor(), shared)
    assert (errors <= allowed_errors(golden)).mean() >= 0.99
    assert score_error < 1e-4


def test_raw_outputs_and_keypoints_with_and_without_dark(shared: Path) -> None:
    """Both have the same network, which computes once."""
    names = ("td-hm_res50_8xb64-210e_coco-256x192", "td-hm_res50_dark-8xb64-210e_coco-256x192")
    plain, dark = (Golden("pose2d", name) for name in names)
    assert plain.spec["state_dict"] == dark.spec["state_dict"]
    model = plain.model()
    assert raw_error(plain, model) < 1e-4
    known: dict[bytes, Any] = {}

    def outputs(pixel_values: torch.Tensor) -> Any:
        key = pixel_values.numpy().tobytes()
        if key not in known:
            known[key] = model(pixel_values)
        return known[key]

    for golden in (plain, dark):
        errors, score_error = pose_errors(golden, outputs, golden.image_processor(), shared)
        assert (errors <= allowed_errors(golden)).mean() >= 0.99
        assert score_error < 1e-4
    assert len(known) == 2


@pytest.mark.parametrize(
    "name",
    [
        "td-hm_cpm_8xb64-210e_coco-256x192",
        "td-hm_hourglass52_8xb32-210e_coco-256x256",
        pytest.param("td-hm_mspn50_8xb32-210e_coco-256x192", marks=pytest.mark.slow),
        "td-hm_2xmspn50_8xb32-210e_coco-256x192",
        "td-hm_rsn18_8xb32-210e_coco-256x192",
    ],
)
def test_raw_outputs_of_all_stages(name: str) -> None:
    golden = Golden("pose2d", name)
    model = golden.model()
    width, height = golden.spec["input_size_wh"]
    pixel_values = golden.network_input(2, 3, height, width)[:1]
    with torch.inference_mode():
        stages = model.head(model.backbone(pixel_values).feature_maps)
    assert max(golden.raw_error(stage, f"out.{index}") for index, stage in enumerate(stages)) < 1e-4


@pytest.mark.parametrize(
    "name",
    [pytest.param("hourglass52_8xb32-210e_coco-256x256", marks=pytest.mark.slow), "mspn50_8xb32-210e_coco-256x192"],
)
def test_keypoints_of_the_last_stage(name: str, shared: Path) -> None:
    golden = Golden("pose2d", f"td-hm_{name}")
    errors, score_error = pose_errors(golden, golden.model(), golden.image_processor(), shared)
    assert (errors <= allowed_errors(golden)).mean() >= 0.99
    assert score_error < 1e-3  # scores of MSPN are half the digits of float32 away from 0.5


def test_raw_outputs_of_a_network_that_amplifies_rounding() -> None:
    """Lite-HRNet's outputs move by 0.4 % with the number of threads: they are compared as they were computed."""
    golden, threads = Golden("pose2d", "td-hm_litehrnet-18_8xb64-210e_coco-256x192"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            assert golden.raw_error(golden.model()(golden.network_input(2, 3, 256, 192)).heatmaps) < 1e-4
    finally:
        torch.set_num_threads(threads)


def raw_error(golden: Golden, model: torch.nn.Module) -> float:
    """Relative error of the heatmaps of one of the two inputs, for the time it takes."""
    width, height = golden.spec["input_size_wh"]
    with torch.inference_mode():
        return golden.raw_error(model(golden.network_input(2, 3, height, width)[:1]).heatmaps)
