"""What all backbones have in common."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoBackbone, AutoConfig

from hfpose.errors import ConfigError
from hfpose.models.backbones import BACKBONES, backbone_from_reference
from networks import with_checkpointing
from small_backbones import SMALL_BACKBONES, small_backbone

WIDE = ("cpm", "hourglass")  # some of their layers have hundreds of channels whatever the configuration says


@pytest.mark.parametrize("name", SMALL_BACKBONES)
def test_feature_maps_have_the_strides_and_channels_that_are_stated(name: str) -> None:
    model, strides = small_backbone(name), SMALL_BACKBONES[name][1]
    with torch.no_grad():
        output = model(torch.randn(1, 3, 64, 96), output_hidden_states=True)
        (maps,) = model(torch.randn(1, 3, 64, 96), return_dict=False)
    expected = [(1, width, 64 // by, 96 // by) for width, by in zip(model.channels, strides, strict=True)]
    assert [tuple(each.shape) for each in output.feature_maps] == [tuple(each.shape) for each in maps] == expected
    assert len(output.hidden_states) >= len(maps)


# The variants of a family have the same stages.
@pytest.mark.parametrize(
    "name", {make().model_type: name for name, (make, _) in reversed(SMALL_BACKBONES.items())}.values()
)
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    plain = small_backbone(name).train()
    saving = with_checkpointing(copy.deepcopy(plain))
    side = 32 if name in WIDE else 64
    pixel_values = torch.randn(2, 3, side, side)
    for model in (plain, saving):
        torch.manual_seed(1)
        sum(each.square().sum() for each in model(pixel_values).feature_maps).backward()
    for (parameter, expected), given in zip(plain.named_parameters(), saving.parameters(), strict=True):
        if parameter.startswith("swin.layernorm."):  # transformers' last normalization, whose result no backbone gives
            continue
        assert given.grad is not None, parameter
        torch.testing.assert_close(given.grad, expected.grad, msg=parameter)


@pytest.mark.parametrize("name", SMALL_BACKBONES)
def test_saved_backbones_compute_the_same_and_auto_classes_know_them(name: str, tmp_path: Path) -> None:
    model = small_backbone(name)
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert config.out_features == model.out_features
    assert type(AutoBackbone.from_config(config)) is type(model)
    loaded = type(model).from_pretrained(tmp_path)
    side = 32 if name in WIDE else 64
    pixel_values = torch.randn(1, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values).feature_maps, model(pixel_values).feature_maps)


def test_every_family_of_ours_is_tested_and_registered() -> None:
    tested = {make().model_type for make, _ in SMALL_BACKBONES.values()}
    assert tested == {family.model_type for family in BACKBONES}
    for family in BACKBONES:
        if family.classes:
            assert family.load("configuration").model_type == family.model_type
            assert family.load("modeling").config_class is family.load("configuration")


def test_unknown_backbones_are_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"RegNet is not supported; known ones are .*ResNet"):
        backbone_from_reference({"type": "RegNet"})
