"""Copies of models for inference."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from hfpose import RTMDetConfig, RTMDetForObjectDetection
from hfpose.backends import fuse
from hfpose.backends.fuse import PackedConv2d, fold_batch_norms, folded_convolution, inference_copy
from hfpose.backends.onnx_graphs import example_inputs
from hfpose.models.shared.convolution import ConvNormAct
from networks import settle_normalizations
from small_models import small_model


def trained_norm(channels: int, affine: bool = True) -> nn.BatchNorm2d:
    """A normalization whose every number matters."""
    norm = nn.BatchNorm2d(channels, affine=affine).eval()
    for tensor in (norm.running_mean, norm.running_var, *norm.parameters()):
        tensor.data.uniform_(0.5, 2.0)
    return norm


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(8, 12, 3, bias=False),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4),
        nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1, bias=False),
        nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1, groups=2),
    ],
    ids=["plain", "groups", "transposed", "transposed groups"],
)
def test_a_folded_convolution_is_the_convolution_and_its_normalization(conv, affine):
    norm, x = trained_norm(12, affine), torch.randn(2, 8, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(folded_convolution(conv, norm)(x), norm(conv(x)), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("act", ["silu", "swish", "relu", "relu6", "hardswish", None])
def test_a_packed_convolution_computes_its_activation(act):
    block = ConvNormAct(8, 16, 3, hidden_act=act).eval()
    block.norm = trained_norm(16)
    fast = inference_copy(nn.Sequential(block))
    for size in (2, 1, 5):  # packed for the first, used for all
        x = torch.randn(size, 8, 12, 12)
        with torch.inference_mode():
            torch.testing.assert_close(fast(x), block(x), rtol=1e-5, atol=1e-5)


def test_normalizations_in_a_plain_sequence_are_folded():
    norms = trained_norm(6), trained_norm(6)
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv2d(3, 6, 1), norms[0], relu, nn.Conv2d(6, 6, 1), relu, norms[1]).eval()
    folded, x = fold_batch_norms(model), torch.randn(1, 3, 4, 4)
    assert [type(layer) for layer in folded[1::4]] == [nn.Identity, nn.BatchNorm2d]  # the second follows an activation
    with torch.no_grad():
        for fast in (folded, inference_copy(model)):
            torch.testing.assert_close(fast(x), model(x), rtol=1e-5, atol=1e-5)


def test_the_model_itself_stays_as_it_is_and_shares_what_is_the_same():
    model = nn.Sequential(ConvNormAct(4, 4, 3), nn.Flatten(), nn.Linear(16, 2)).eval()
    before = copy.deepcopy(model.state_dict())
    fast = inference_copy(model)
    fast(torch.randn(1, 4, 2, 2))
    assert model.state_dict().keys() == before.keys()
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert isinstance(model[0].norm, nn.BatchNorm2d)
    assert fast[2].weight is model[2].weight


def test_a_model_in_training_gives_a_copy_in_evaluation():
    model = nn.Sequential(ConvNormAct(4, 4, 3))
    assert not fold_batch_norms(model).training
    assert model.training


def test_convolutions_with_one_set_of_weights_for_several_normalizations_are_folded_one_by_one():
    torch.manual_seed(0)
    config = RTMDetConfig(depth_multiplier=0.167, width_multiplier=0.125, neck_size=16, share_head_convolutions=True)
    model, x = RTMDetForObjectDetection(config), torch.randn(8, 3, 128, 128)
    settle_normalizations(model, x)
    fast = inference_copy(model)
    assert not any(isinstance(module, (nn.BatchNorm2d, nn.Conv2d)) for module in fast.modules())
    with torch.inference_mode():
        expected, given = model(x), fast(x)
    torch.testing.assert_close(given.logits, expected.logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(given.pred_boxes, expected.pred_boxes, rtol=1e-4, atol=1e-3)


def test_convolutions_that_are_not_plain_are_not_packed():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    model = nn.Sequential(Doubled(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")).eval()
    fast, x = inference_copy(model), torch.randn(1, 3, 6, 6)
    assert not any(isinstance(module, PackedConv2d) for module in fast.modules())
    with torch.no_grad():
        torch.testing.assert_close(fast(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("inner_dtype", [None, torch.bfloat16])
def test_a_cpu_whose_onednn_knows_no_bfloat16_computes_in_it_unfused(monkeypatch, inner_dtype):
    model, processor = small_model("rtmpose")
    monkeypatch.setattr(fuse, "_is_fused_in", lambda dtype: dtype == torch.float32)
    model = model if inner_dtype else copy.deepcopy(model).bfloat16()
    fast, pixels = inference_copy(model, inner_dtype), example_inputs(model, processor, 2)["pixel_values"]
    packed = [module for module in fast.modules() if isinstance(module, PackedConv2d)]
    assert {module.weight.dtype for module in packed} == ({torch.float32} if inner_dtype else set())
    with torch.inference_mode():
        assert fast(pixel_values=pixels.to(model.dtype)).simcc_x.dtype == model.dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_float16_holds_pixels_and_bfloat16_does_not(dtype):
    """So the first convolution computes in float16 too, in which accelerators are much faster than in float32."""
    model, _ = small_model("rtmpose")
    fast = inference_copy(model, dtype)
    first = next(module for module in fast.modules() if isinstance(module, (nn.Conv2d, PackedConv2d)))
    assert first.weight.dtype == (torch.float16 if dtype == torch.float16 else torch.float32)
    assert {parameter.dtype for parameter in fast.head.parameters()} == {torch.float32}


def test_half_precision_is_folded_without_packing():
    block = ConvNormAct(8, 16, 3).eval().bfloat16()
    x = torch.randn(1, 8, 6, 6).bfloat16()
    fast = inference_copy(nn.Sequential(block))
    assert fast[0].conv.weight.dtype == torch.bfloat16
    with torch.no_grad():
        torch.testing.assert_close(fast(x).float(), block(x).float(), rtol=0.05, atol=0.05)
