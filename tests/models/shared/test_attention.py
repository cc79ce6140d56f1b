"""Networks with attention give its weights, and take transformers' implementations of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoBackbone

import hfpose
from small_backbones import SMALL_BACKBONES
from small_models import small_model


def backbone_and_input(name: str) -> tuple[Any, torch.Tensor]:
    make_config, _ = SMALL_BACKBONES[name]
    torch.manual_seed(0)
    return AutoBackbone.from_config(make_config()).eval(), torch.randn(2, 3, 64, 64)


@pytest.mark.parametrize("name", ["hrformer", "swin", "pvt"])
def test_backbones_give_weights_that_add_up_to_one(name):
    backbone, pixels = backbone_and_input(name)
    assert backbone(pixels).attentions is None
    backbone.set_attn_implementation("eager")
    with torch.no_grad():
        weights = backbone(pixels, output_attentions=True).attentions
    assert len(weights) > 1
    for some in weights:
        torch.testing.assert_close(some.sum(-1), torch.ones(some.shape[:-1]))


@pytest.mark.parametrize("name", ["hrformer", "swin", "pvt", "rtmo", "motionbert"])
def test_implementations_agree(name):
    if name in SMALL_BACKBONES:
        model, pixels = backbone_and_input(name)
    else:
        model = small_model(name)[0]
        pixels = torch.rand(1, 9, 17, 3) if name == "motionbert" else torch.rand(2, 3, 64, 64) * 255
    found = {}
    for implementation in ("sdpa", "eager"):
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            outputs = model(pixels, output_attentions=True)
        assert bool(outputs.attentions) == (implementation == "eager")
        found[implementation] = outputs.to_tuple()[0]
    torch.testing.assert_close(found["sdpa"], found["eager"], rtol=1e-4, atol=1e-5)


def test_estimators_give_those_of_their_backbone_or_head():
    make_config, _ = SMALL_BACKBONES["hrformer"]
    config = hfpose.HeatmapConfig(
        backbone_config=make_config(), deconv_channels=(), deconv_kernel_sizes=(), num_labels=5
    )
    pixels = torch.rand(1, 3, 64, 64)
    heatmap = hfpose.HeatmapForPoseEstimation._from_config(config, attn_implementation="eager").eval()
    assert heatmap(pixels).attentions is None
    assert heatmap(pixels, output_attentions=True).attentions
    rtmpose = small_model("rtmpose")[0]
    (weights,) = rtmpose(pixels, output_attentions=True).attentions
    assert weights.shape == (1, 17, 17)
    rtmo = small_model("rtmo")[0]
    rtmo.set_attn_implementation("eager")
    (weights,) = rtmo(pixels * 255, output_attentions=True).attentions
    assert weights.shape == (1, 2, 4, 4)
