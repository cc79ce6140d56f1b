from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hfpose.models.hrnet.configuration_hrnet import HRNetConfig
from hfpose.models.hrnet.modeling_hrnet import HRNetForPoseEstimation

MakeModel = Callable[..., HRNetForPoseEstimation]


def test_heatmaps_have_a_quarter_of_the_size_of_the_crops(make_model: MakeModel) -> None:
    with torch.no_grad():
        output = make_model()(torch.randn(2, 3, 64, 96), output_hidden_states=True)
    assert output.heatmaps.shape == (2, 5, 16, 24)
    assert [tuple(feature_map.shape) for feature_map in output.hidden_states] == [
        (2, 16, 16, 24),  # bottleneck blocks have four times the channels
        *[(2, 4, 16, 24)] * 3,
    ]


def test_hidden_states_only_where_asked_for(make_model: MakeModel) -> None:
    with torch.no_grad():
        assert make_model()(torch.randn(1, 3, 64, 64)).hidden_states is None
        (heatmaps,) = make_model()(torch.randn(1, 3, 64, 64), return_dict=False)
    assert heatmaps.shape == (1, 5, 16, 16)


def test_every_branch_reaches_the_heatmaps(make_model: MakeModel) -> None:
    model = make_model()
    model(torch.randn(2, 3, 64, 64)).heatmaps.square().sum().backward()
    idle = [name for name, parameter in model.named_parameters() if not parameter.grad.abs().any()]
    assert idle == []


@pytest.mark.parametrize(("kernel", "size"), [(2, 32), (3, 32), (4, 32)])
def test_deconvolutions_double_the_resolution(kernel: int, size: int, make_model: MakeModel) -> None:
    model = make_model(
        deconv_channels=[6, 8], deconv_kernel_sizes=[kernel, 4], conv_channels=[7], conv_kernel_sizes=[3]
    )
    with torch.no_grad():
        heatmaps = model(torch.randn(1, 3, 64, 64)).heatmaps
    assert heatmaps.shape == (1, 5, 2 * size, 2 * size)


def test_gradient_checkpointing_changes_no_gradient(make_model: MakeModel) -> None:
    pixel_values = torch.randn(2, 3, 64, 64)
    plain = make_model().train()
    saving = copy.deepcopy(plain)
    saving.activation_checkpointing_enable()
    for model in (plain, saving):
        model(pixel_values).heatmaps.square().sum().backward()
    for (name, expected), given in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert given.grad is not None, name
        torch.testing.assert_close(given.grad, expected.grad, msg=name)


def test_saved_model_computes_the_same(make_model: MakeModel, tmp_path: Path) -> None:
    model = make_model(conv_channels=(6,), conv_kernel_sizes=(3,))
    model.save_pretrained(tmp_path)
    loaded, info = HRNetForPoseEstimation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    pixel_values = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values).heatmaps, model(pixel_values).heatmaps)
    assert loaded.config.to_diff_dict() == loaded.config.to_diff_dict() | {
        key: value for key, value in model.config.to_diff_dict().items() if not key.startswith(("_", "dtype"))
    }


def test_fresh_models_answer_little() -> None:
    """Small weights, as the reference initializes them."""
    torch.manual_seed(0)
    model = HRNetForPoseEstimation(
        HRNetConfig(stage_modules=(1, 1, 1, 1), stage_blocks=((1,), (1,) * 2, (1,) * 3, (1,) * 4))
    )
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    assert all(abs(conv.weight.std().item() - 1e-3) < 2e-4 for conv in convolutions)
    assert model.config.num_labels == 17
