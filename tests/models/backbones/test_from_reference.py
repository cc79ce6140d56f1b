"""The reference's settings of backbones beyond those of the published models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoBackbone

from hfpose.errors import ConfigError
from hfpose.models.backbones import backbone_from_reference, convert_backbone
from hfpose.models.shared.convolution import scaled_channels


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"type": "MobileNetV2", "widen_factor": 0.5, "out_indices": [1, 7]}, {"out_indices": [2, 8]}),
        ({"type": "ShuffleNetV1", "groups": 8, "widen_factor": 2.0}, {"groups": 8, "width_multiplier": 2.0}),
        ({"type": "ShuffleNetV2", "widen_factor": 1.5}, {"hidden_sizes": (176, 352, 704, 1024)}),
        ({"type": "SwinTransformer", "depths": [2, 2], "num_heads": [2, 4]}, {"out_indices": [1, 2]}),
        ({"type": "PyramidVisionTransformer", "use_abs_pos_embed": False}, {"has_position_embeddings": False}),
        ({"type": "VGG", "depth": 11, "with_last_pool": False}, {"has_norms": False, "last_pooling": False}),
        ({"type": "VGG", "depth": 19, "norm_cfg": {"type": "BN", "eps": 1e-3}}, {"batch_norm_eps": 1e-3}),
        ({"type": "ViPNAS_ResNet", "depth": 50, "wid": [8, 16, 32, 64, 64]}, {"hidden_sizes": [8, 16, 32, 64, 64]}),
        (
            {"type": "ViPNAS_MobileNetV3", "act": ["HSwish", *["ReLU"] * 6], "expan": [None, 1, 2, 2, 2, 2, 2]}
            | {"group": [None, *[8] * 6]},
            {"stage_acts": ["hardswish", *["relu"] * 6], "expansions": [1, 2, 2, 2, 2, 2]},
        ),
    ],
)
def test_settings_are_kept(settings: dict[str, Any], expected: dict[str, Any]) -> None:
    config = backbone_from_reference(settings)
    assert {name: getattr(config, name) for name in expected} == expected
    with torch.device("meta"):
        AutoBackbone.from_config(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "SwinTransformer", "use_abs_pos_embed": True}, "use_abs_pos_embed"),
        ({"type": "SwinTransformer", "norm_cfg": {"type": "BN"}}, "BN"),
        ({"type": "PyramidVisionTransformer", "drop_rate": 0.1}, "drop_rate"),
        ({"type": "VGG", "depth": 12}, "depth 12"),
        ({"type": "VGG", "depth": 16, "num_classes": 10}, "num_classes"),
        ({"type": "AlexNet", "num_classes": 10}, "num_classes"),
        ({"type": "ShuffleNetV1", "groups": 5}, "5 groups"),
        ({"type": "ShuffleNetV2", "widen_factor": 3}, "widen_factor=3"),
        ({"type": "MobileNetV2", "act_cfg": {"type": "Mish"}}, "Mish"),
        ({"type": "ViPNAS_ResNet", "depth": 50, "deep_stem": True}, "deep_stem"),
        ({"type": "ViPNAS_MobileNetV3", "norm_cfg": {"type": "GN"}}, "GN"),
    ],
)
def test_unsupported_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbone_from_reference(settings)


def test_vgg_without_normalizations_keeps_its_places() -> None:
    """The reference counts eight convolutions and five poolings in one row."""
    config = backbone_from_reference({"type": "VGG", "depth": 11})
    numbers = (0, 2, 4, 5, 7, 8, 10, 11)
    names = [f"backbone.features.{number}.conv.{part}" for number in numbers for part in ("weight", "bias")]
    converted = convert_backbone({name: torch.empty(0) for name in names}, config)
    with torch.device("meta"):
        expected = AutoBackbone.from_config(config).state_dict()
    assert set(converted) == {f"backbone.{name}" for name in expected}


def test_names_that_no_rule_knows_stay() -> None:
    for settings in ({"type": "VGG", "depth": 11}, {"type": "ViPNAS_MobileNetV3"}, {"type": "ResNet", "depth": 50}):
        config = backbone_from_reference(settings)
        names = ["backbone.fc.weight", "backbone.features.99.conv.weight", "backbone.layer99.x"]
        assert "backbone.fc.weight" in convert_backbone({name: torch.empty(0) for name in names}, config)


@pytest.mark.parametrize(
    ("channels", "factor", "expected"), [(32, 1.0, 32), (24, 0.5, 16), (16, 0.25, 8), (24, 0.25, 8), (32, 1.4, 48)]
)
def test_channels_are_multiples_of_eight(channels: int, factor: float, expected: int) -> None:
    assert scaled_channels(channels, factor) == expected
