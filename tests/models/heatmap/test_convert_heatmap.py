from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn

from golden import facts, source_from_facts
from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry
from hfpose.models.backbones import BACKBONES
from hfpose.models.heatmap.convert_heatmap import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

KNOWN_BACKBONES = {name for family in BACKBONES for name in family.reference_types}
HEADS = ("HeatmapHead", "ViPNASHead", "CPMHead", "MSPNHead")
NUM_TESTED = 205


def published_models() -> list[str]:
    """Names of the reference's models that are made of these heads and our backbones."""
    return [
        name
        for name, row in facts().items()
        if row["head"]["type"] in HEADS and row["backbone"]["type"] in KNOWN_BACKBONES
    ]


@pytest.mark.slow
def test_every_published_model_is_built() -> None:
    names = published_models()
    assert len(names) >= NUM_TESTED
    built = set()
    for name in names:
        source = source_from_facts(name)
        config = source.conversion.config_from_reference(source.reference, None)
        width, height = facts()[name]["input_size_wh"]
        assert tuple(config.image_size) == (height, width)
        assert source.conversion.image_processor_from_reference(source.reference).size == {
            "height": height,
            "width": width,
        }
        network = json.dumps([source.reference[part] for part in ("backbone", "neck", "head")], sort_keys=True)
        if network not in built:
            built.add(network)
            with torch.device("meta"):
                MODEL_CLASS(config)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("td-hm_rsn18_8xb32-210e_coco-256x192", [11, 9, 7, 5]),
        ("td-hm_2xmspn50_8xb32-210e_coco-256x192", [15, 11, 9, 7, 11, 9, 7, 5]),
    ],
)
def test_targets_of_the_last_stage_are_the_finest(name: str, sizes: list[int]) -> None:
    config = config_from_reference(get_entry(name).reference, None)
    assert list(config.stage_kernel_sizes) == sizes


def test_crops_are_those_of_the_published_configs() -> None:
    for name in published_models():
        given, expected = (
            image_processor_from_reference(row).to_dict() for row in (get_entry(name).reference, facts()[name])
        )
        assert given == expected, name


CUSTOM_HEAD: dict[str, Any] = {
    "deconv_out_channels": [6, 8],
    "deconv_kernel_sizes": [4, 3],
    "conv_out_channels": [7],
    "conv_kernel_sizes": [5],
}


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("groups", [1, 2])
def test_custom_heads_compute_what_the_reference_computes(
    groups: int, is_old: bool, small_reference: dict[str, Any]
) -> None:
    """The reference's head is these layers in a row, under these numbers; before version 1 under others."""
    deconvolutions = nn.Sequential(
        nn.ConvTranspose2d(32, 6, 4, 2, 1, groups=groups, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
        nn.ConvTranspose2d(6, 8, 3, 2, 1, 1, groups=groups, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
    )  # fmt: skip
    convolutions = nn.Sequential(nn.Conv2d(8, 7, 5, padding=2), nn.BatchNorm2d(7), nn.ReLU())
    final = nn.Conv2d(7, 5, 1)
    head = {"deconv_layers": deconvolutions, "conv_layers": convolutions, "final_layer": final}
    small_reference["head"] |= CUSTOM_HEAD
    if groups > 1:
        small_reference["head"] |= {"type": "ViPNASHead", "deconv_num_groups": [groups, groups]}
    config = config_from_reference(small_reference, None)
    model = MODEL_CLASS(config).eval()
    if is_old:
        old = {"deconv_layers": deconvolutions, "final_layer": nn.Sequential(*convolutions, final)}
        names = {f"keypoint_head.{name}": tensor for name, tensor in nn.ModuleDict(old).state_dict().items()}
    else:
        names = {f"head.{name}": tensor for name, tensor in nn.ModuleDict(head).state_dict().items()}
    loaded = model.load_state_dict(convert_state_dict(names, config), strict=False)
    assert loaded.unexpected_keys == []
    assert not any(key.startswith("head.") for key in loaded.missing_keys)
    features = torch.randn(2, 32, 4, 4)
    with torch.no_grad():
        expected = features
        for layers in head.values():
            expected = layers.eval()(expected)
        torch.testing.assert_close(model.head(features), expected)


def test_old_heads_without_convolutions(small_reference: dict[str, Any]) -> None:
    config = config_from_reference(small_reference, None)
    given = {"keypoint_head.final_layer.weight": torch.ones(1), "keypoint_head.deconv_layers.4.bias": torch.ones(1)}
    assert list(convert_state_dict(given, config)) == ["head.heatmaps.weight", "head.deconvolutions.1.norm.bias"]


def test_heads_have_the_layers_of_the_reference_unless_told_otherwise(small_reference: dict[str, Any]) -> None:
    del small_reference["head"]["deconv_out_channels"]
    config = config_from_reference(small_reference, None)
    assert (list(config.deconv_channels), list(config.deconv_groups)) == ([256] * 3, [])
    small_reference["head"]["type"] = "ViPNASHead"
    config = config_from_reference(small_reference, None)
    assert (list(config.deconv_channels), list(config.deconv_groups)) == ([144] * 3, [16] * 3)


def test_necks(small_reference: dict[str, Any]) -> None:
    small_reference["neck"] = {"type": "FeatureMapProcessor", "select_index": 3}
    assert list(config_from_reference(small_reference, None).feature_map_indices) == [3]
    small_reference["neck"] = {"type": "FeatureMapProcessor", "concat": True, "scale_factor": 4.0, "apply_relu": True}
    config = config_from_reference(small_reference, None)
    assert (config.concatenate_feature_maps, config.feature_map_scale, config.feature_map_relu) == (True, 4.0, True)


def test_flip_tests_and_codecs_of_the_processor(small_reference: dict[str, Any]) -> None:
    processor = image_processor_from_reference(small_reference)
    assert (processor.heatmap_decoding, processor.shift_flipped_heatmaps) == ("quarter", True)
    small_reference["head"]["decoder"] |= {"type": "UDPHeatmap", "heatmap_type": "combined", "radius_factor": 0.1}
    small_reference["test_cfg"] = {"flip_test": True, "flip_mode": "udp_combined", "shift_heatmap": False}
    processor = image_processor_from_reference(small_reference)
    assert (processor.heatmap_decoding, processor.offset_radius_factor) == ("udp_combined", 0.1)
    assert not processor.shift_flipped_heatmaps


def test_the_test_pipeline_alone_says_how_crops_are_cut(small_reference: dict[str, Any]) -> None:
    """The reference trained some models with the UDP codec on crops that are cut without UDP."""
    small_reference["head"]["decoder"] |= {"type": "UDPHeatmap"}
    assert not image_processor_from_reference(small_reference).use_udp
    affine = {"type": "TopdownAffine", "input_size": [64, 64]}
    for step, expected in ((affine, False), (affine | {"use_udp": True}, True)):
        small_reference["test_pipeline"] = [step]
        assert image_processor_from_reference(small_reference).use_udp is expected


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("neck", {"type": "GlobalAveragePooling"}, "GlobalAveragePooling"),
        ("neck", {"type": "FeatureMapProcessor", "align_corners": True}, "align_corners"),
        ("head", {"type": "CIDHead"}, "CIDHead"),
        ("head", {"final_layer": {"kernel_size": 3}}, r"padding=0 is not supported, only padding=1"),
        ("head", {"deconv_out_channels": [8], "deconv_kernel_sizes": [5]}, r"\[5\]; only 2, 3 and 4"),
        ("head", {"conv_out_channels": [8, 8], "conv_kernel_sizes": [3]}, "2 conv_out_channels but 1"),
        ("head", {"type": "ViPNASHead", "deconv_num_groups": [2]}, "3 deconv_out_channels but 1 deconv_num_groups"),
        ("head", {"decoder": {"type": "SPR", "input_size": [64, 64]}}, "SPR"),
        ("head", {"decoder": {"type": "UDPHeatmap", "input_size": [64, 64], "heatmap_type": "other"}}, "other"),
        ("backbone", {"type": "RegNet"}, "RegNet"),
    ],
)
def test_unsupported_settings_are_named(
    part: str, change: dict[str, Any], message: str, small_reference: dict[str, Any]
) -> None:
    small_reference[part] = (small_reference.get(part) or {}) | change
    with pytest.raises(ConfigError, match=message):
        config_from_reference(small_reference, None)


def test_a_head_that_tells_visibilities_holds_the_one_of_heatmaps(small_reference: dict[str, Any]) -> None:
    plain = config_from_reference(small_reference, None)
    loss = {"type": "BCELoss", "use_sigmoid": True, "loss_weight": 0.25}
    reference = small_reference | {
        "head": {"type": "VisPredictHead", "pose_cfg": small_reference["head"], "loss": loss}
    }
    config = config_from_reference(reference, None)
    assert config.predicts_visibility and config.visibility_loss_weight == 0.25
    assert config.deconv_channels == plain.deconv_channels and config.num_labels == plain.num_labels
    assert image_processor_from_reference(reference).size == {"height": 64, "width": 64}
    names = ("head.pose_head.final_layer.bias", "head.vis_head.2.weight")
    converted = convert_state_dict({name: torch.zeros(1) for name in names}, config)
    assert converted.keys() == {"head.heatmaps.bias", "visibility.weight"}
    with pytest.raises(ConfigError, match="use_sigmoid=False"):
        config_from_reference(reference | {"head": reference["head"] | {"loss": {"type": "BCELoss"}}}, None)
