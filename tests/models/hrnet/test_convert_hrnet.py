from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from golden import Golden
from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.keypoints import load_schema
from hfpose.models.hrnet.configuration_hrnet import HRNetConfig
from hfpose.models.hrnet.convert_hrnet import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)
from hfpose.models.hrnet.modeling_hrnet import HRNetForPoseEstimation

NAMES = [entry.name for entry in list_entries("pose") if entry.family == "hrnet"]


@pytest.mark.parametrize("name", NAMES)
def test_zoo_models_have_the_published_size(name: str) -> None:
    config = config_from_reference(get_entry(name).reference, load_schema("coco"))
    with torch.device("meta"):
        model = MODEL_CLASS(config)
    millions = {"w32": 28.536113, "w48": 63.595745}[re.search(r"w\d\d", name).group()]  # type: ignore[union-attr]
    assert sum(parameter.numel() for parameter in model.parameters()) == round(millions * 1e6)
    height, width = map(int, re.search(r"(\d+)x(\d+)$", name).groups())  # type: ignore[union-attr]
    assert tuple(config.image_size) == (height, width)
    assert config.id2label[0] == "nose"
    assert config.keypoint_schema["name"] == "coco"
    assert image_processor_from_reference(get_entry(name).reference).size == {"height": height, "width": width}


def test_every_tensor_of_the_reference_has_its_place() -> None:
    golden = Golden("pose2d", "td-hm_hrnet-w32_8xb64-210e_coco-256x192")
    shapes = {name: torch.empty(shape, device="meta") for name, shape in golden.spec["state_dict"].items()}
    config = config_from_reference(golden.entry.reference, None)
    with torch.device("meta"):
        expected = MODEL_CLASS(config).state_dict()
    converted = convert_state_dict(shapes, config)
    assert {name: tensor.shape for name, tensor in converted.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }


def test_published_settings_are_the_defaults() -> None:
    config = config_from_reference(get_entry(NAMES[0]).reference, None)
    default = HRNetConfig().to_dict()
    assert {key: as_tuples(value) for key, value in config.to_dict().items()} == {
        key: as_tuples(value) for key, value in default.items()
    }


def as_tuples(value: Any) -> Any:
    return tuple(as_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def test_custom_settings_are_kept(small_reference: dict[str, Any]) -> None:
    small_reference["backbone"]["norm_cfg"] = {"type": "SyncBN", "eps": 1e-3}
    small_reference["head"] |= {"final_layer": {"kernel_size": 3, "padding": 1}}
    config = config_from_reference(small_reference, None)
    assert config.batch_norm_eps == 1e-3
    assert config.final_kernel_size == 3
    assert config.num_labels == 5
    assert as_tuples(config.stage_blocks) == ((1,), (1, 2), (1, 1, 1), (1, 1, 1, 1))
    assert as_tuples(config.stage_block_types) == ("bottleneck", "basic", "basic", "basic")


def test_custom_heads_compute_what_the_reference_computes(
    small_reference: dict[str, Any], make_model: Callable[..., HRNetForPoseEstimation]
) -> None:
    """The reference's head is these layers in a row, under these numbers."""
    head = {
        "deconv_layers": nn.Sequential(
            nn.ConvTranspose2d(4, 6, 4, 2, 1, bias=False), nn.BatchNorm2d(6), nn.ReLU(),
            nn.ConvTranspose2d(6, 8, 3, 2, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
        ),
        "conv_layers": nn.Sequential(nn.Conv2d(8, 7, 5, padding=2), nn.BatchNorm2d(7), nn.ReLU()),
        "final_layer": nn.Conv2d(7, 5, 1),
    }  # fmt: skip
    small_reference["head"] |= {
        "deconv_out_channels": [6, 8],
        "deconv_kernel_sizes": [4, 3],
        "conv_out_channels": [7],
        "conv_kernel_sizes": [5],
    }
    config = config_from_reference(small_reference, None)
    model = make_model(
        **{key: value for key, value in config.to_dict().items() if key.startswith(("deconv", "conv_"))}
    )
    names = {f"head.{name}": tensor for name, tensor in nn.ModuleDict(head).state_dict().items()}
    loaded = model.load_state_dict(convert_state_dict(names, config), strict=False)
    assert loaded.unexpected_keys == []
    assert not any(key.startswith("head.") for key in loaded.missing_keys)
    features = torch.randn(2, 4, 16, 16)
    with torch.no_grad():
        expected = features
        for layers in head.values():
            expected = layers.eval()(expected)
        torch.testing.assert_close(model.head(features), expected)


def test_heads_have_three_deconvolutions_unless_told_otherwise(small_reference: dict[str, Any]) -> None:
    """As in the reference."""
    del small_reference["head"]["deconv_out_channels"]
    assert as_tuples(config_from_reference(small_reference, None).deconv_channels) == (256, 256, 256)


def test_tensors_without_a_place_keep_their_names() -> None:
    converted = convert_state_dict({"loss_module.weight": torch.ones(1)}, HRNetConfig())
    assert list(converted) == ["loss_module.weight"]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("neck", {"type": "FeatureMapProcessor"}, "neck"),
        ("head", {"type": "CIDHead"}, "CIDHead"),
        ("head", {"final_layer": {"kernel_size": 3}}, r"padding=0 is not supported, only padding=1"),
        ("head", {"deconv_out_channels": [8], "deconv_kernel_sizes": [5]}, r"\[5\]; only 2, 3 and 4"),
        ("head", {"conv_out_channels": [8, 8], "conv_kernel_sizes": [3]}, "2 conv_out_channels but 1"),
        ("backbone", {"type": "ResNet"}, "ResNet"),
        ("backbone", {"norm_cfg": {"type": "GN"}}, "GN"),
        ("backbone", {"conv_cfg": {"type": "DCNv2"}}, "DCNv2"),
    ],
)
def test_unsupported_settings_are_named(
    part: str, change: dict[str, Any], message: str, small_reference: dict[str, Any]
) -> None:
    small_reference[part] = small_reference.get(part, {}) | change
    with pytest.raises(ConfigError, match=message):
        config_from_reference(small_reference, None)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("stage3", "block"), "RESNEXT", "resnext"),
        (("stage4", "multiscale_output"), True, "multiscale_output"),
        (("stage1", "num_branches"), 2, "num_branches"),
        (("upsample", "mode"), "bilinear", "bilinear"),
    ],
)
def test_unsupported_stages_are_named(
    place: tuple[str, str], value: Any, message: str, small_reference: dict[str, Any]
) -> None:
    small_reference["backbone"]["extra"].setdefault(place[0], {})[place[1]] = value
    with pytest.raises(ConfigError, match=message):
        config_from_reference(small_reference, None)


def test_schema_of_another_size_is_refused(small_reference: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="5 keypoints"):
        config_from_reference(small_reference, load_schema("coco"))
