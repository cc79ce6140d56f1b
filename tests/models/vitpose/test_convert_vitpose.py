from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoImageProcessor, AutoModelForPoseEstimation, VitPoseForPoseEstimation

from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.keypoints import load_schema
from hfpose.models.vitpose.convert_vitpose import (
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)
from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

NAMES = [entry.name for entry in list_entries("pose") if entry.family == "vitpose"]
SPECS = [name for name in NAMES if "simple" in name]

# Millions of parameters.
SIZES = {"small": 21.722513, "base": 85.912337, "large": 303.453201, "huge": 631.107857}


@pytest.mark.parametrize("name", NAMES)
def test_zoo_models_are_built(name: str) -> None:
    entry = get_entry(name)
    schema = load_schema(entry.schema)
    config = config_from_reference(entry.reference, schema)
    with torch.device("meta"):
        model = VitPoseForPoseEstimation(config)
    assert config.use_simple_decoder == ("simple" in name)
    assert config.keypoint_schema["name"] == ("humanart" if "humanart" in name else "coco")
    assert config.id2label == dict(enumerate(schema.keypoint_names))
    size = next(size for size in SIZES if size in name)
    count = sum(parameter.numel() for parameter in model.backbone.parameters())
    head = sum(parameter.numel() for parameter in model.head.parameters())
    assert count + 9 * 17 * config.backbone_config.hidden_size + 17 == round(SIZES[size] * 1e6)
    hidden = config.backbone_config.hidden_size
    classic = hidden * 256 * 16 + 256 * 256 * 16 + 2 * 2 * 256 + 256 * 17 + 17
    assert head == (9 * 17 * hidden + 17 if config.use_simple_decoder else classic)


def random_tensors(reference: dict[str, Any]) -> dict[str, Tensor]:
    """A small checkpoint under the reference's names."""
    torch.manual_seed(0)
    arch = reference["backbone"]["arch"]
    size, wide = arch["embed_dims"], arch["feedforward_channels"]
    tensors = {"backbone.pos_embed": torch.randn(1, 12, size)}

    def layer(name: str, *shape: int) -> None:
        scale = 0.1 if len(shape) > 1 else 1.0
        tensors[f"{name}.weight"] = torch.randn(shape) * scale
        tensors[f"{name}.bias"] = torch.randn(shape[0])

    layer("backbone.patch_embed.projection", size, 3, 16, 16)
    for i in range(arch["num_layers"]):
        layer(f"backbone.layers.{i}.ln1", size)
        layer(f"backbone.layers.{i}.attn.qkv", 3 * size, size)
        layer(f"backbone.layers.{i}.attn.proj", size, size)
        layer(f"backbone.layers.{i}.ln2", size)
        layer(f"backbone.layers.{i}.ffn.layers.0.0", wide, size)
        layer(f"backbone.layers.{i}.ffn.layers.1", size, wide)
    layer("backbone.ln1", size)
    if "neck" in reference:
        layer("head.final_layer", 5, size, 3, 3)
        return tensors
    for index, channels in ((0, size), (3, 256)):
        tensors[f"head.deconv_layers.{index}.weight"] = torch.randn(channels, 256, 4, 4) * 0.02
        norm = nn.BatchNorm2d(256)
        nn.init.normal_(norm.weight), nn.init.normal_(norm.running_mean)
        tensors |= {f"head.deconv_layers.{index + 1}.{key}": value for key, value in norm.state_dict().items()}
    layer("head.final_layer", 5, 256, 1, 1)
    return tensors


def reference_heatmaps(pixel_values: Tensor, tensors: dict[str, Tensor], heads: int) -> Tensor:
    """What `mmpretrain.VisionTransformer` and `HeatmapHead` compute, with these tensors."""

    def linear(hidden: Tensor, name: str) -> Tensor:
        return F.linear(hidden, tensors[f"{name}.weight"], tensors[f"{name}.bias"])

    def norm(hidden: Tensor, name: str) -> Tensor:
        return F.layer_norm(hidden, hidden.shape[-1:], tensors[f"{name}.weight"], tensors[f"{name}.bias"], 1e-6)

    name = "backbone.patch_embed.projection"
    patches = F.conv2d(pixel_values, tensors[f"{name}.weight"], tensors[f"{name}.bias"], stride=16, padding=2)
    count, channels, height, width = patches.shape
    hidden = patches.flatten(2).transpose(1, 2) + tensors["backbone.pos_embed"]
    for layer in ("backbone.layers.0", "backbone.layers.1"):
        mixed = linear(norm(hidden, f"{layer}.ln1"), f"{layer}.attn.qkv").view(count, -1, 3, heads, channels // heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        hidden = hidden + linear(attended, f"{layer}.attn.proj")
        wide = F.gelu(linear(norm(hidden, f"{layer}.ln2"), f"{layer}.ffn.layers.0.0"))
        hidden = hidden + linear(wide, f"{layer}.ffn.layers.1")
    features = norm(hidden, "backbone.ln1").transpose(1, 2).reshape(count, channels, height, width)
    if "head.deconv_layers.0.weight" not in tensors:
        features = F.interpolate(features.relu(), scale_factor=4.0, mode="bilinear")
        return F.conv2d(features, tensors["head.final_layer.weight"], tensors["head.final_layer.bias"], padding=1)
    for index in (0, 3):
        features = F.conv_transpose2d(features, tensors[f"head.deconv_layers.{index}.weight"], stride=2, padding=1)
        keys = ("running_mean", "running_var", "weight", "bias")
        features = F.batch_norm(features, *(tensors[f"head.deconv_layers.{index + 1}.{key}"] for key in keys)).relu()
    return F.conv2d(features, tensors["head.final_layer.weight"], tensors["head.final_layer.bias"])


@pytest.mark.parametrize("head", ["simple", "classic"])
def test_converted_models_compute_what_the_reference_computes(head: str, request: pytest.FixtureRequest) -> None:
    reference = request.getfixturevalue("reference" if head == "simple" else "classic_reference")
    tensors = random_tensors(reference)
    config = config_from_reference(reference, None)
    model = VitPoseForPoseEstimation(config).eval()
    model.load_state_dict(convert_state_dict(tensors, config))
    pixel_values = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(
            model(pixel_values).heatmaps, reference_heatmaps(pixel_values, tensors, heads=4), rtol=1e-4, atol=1e-4
        )


def test_transformers_loads_what_we_save(reference: dict[str, Any], tmp_path: Path) -> None:
    tensors = random_tensors(reference)
    config = config_from_reference(reference, None)
    model = VitPoseForPoseEstimation(config).eval()
    model.load_state_dict(convert_state_dict(tensors, config))
    model.save_pretrained(tmp_path)
    image_processor_from_reference(reference).save_pretrained(tmp_path)

    loaded, info = AutoModelForPoseEstimation.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())
    pixel_values = torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        torch.testing.assert_close(loaded(pixel_values).heatmaps, model(pixel_values).heatmaps)
    theirs = AutoImageProcessor.from_pretrained(tmp_path)
    assert type(theirs).__module__.startswith("transformers.")
    assert dict(theirs.size) == {"height": 64, "width": 48}
    assert list(theirs.image_mean) == [0.485, 0.456, 0.406]
    assert theirs.do_affine_transform
    ours = ViTPoseImageProcessor.from_pretrained(tmp_path)
    assert ours.to_dict() == image_processor_from_reference(reference).to_dict()


def test_schema_travels_with_the_configuration(reference: dict[str, Any], tmp_path: Path) -> None:
    reference["head"]["out_channels"] = 17
    config_from_reference(reference, load_schema("coco")).save_pretrained(tmp_path)
    loaded = type(config_from_reference(reference, None)).from_pretrained(tmp_path)
    assert loaded.keypoint_schema == load_schema("coco").to_dict()
    assert loaded.id2label[16] == "right_ankle"


def test_class_slot_of_a_checkpoint_is_dropped(reference: dict[str, Any]) -> None:
    """As the reference does where the network has no class token."""
    config = config_from_reference(reference, None)
    positions = torch.randn(1, 13, 32)
    converted = convert_state_dict({"backbone.pos_embed": positions}, config)
    (embeddings,) = converted.values()
    torch.testing.assert_close(embeddings[:, 1:], positions[:, 1:])
    assert not embeddings[:, 0].any()


def test_tensors_of_other_models_are_left_for_the_loader_to_name(reference: dict[str, Any]) -> None:
    given = {
        "backbone.pos_embed": torch.zeros(1, 197, 32),
        "backbone.layers.0.attn.qkv.weight": torch.zeros(4, 4),
        "backbone.cls_token": torch.zeros(1, 1, 32),
    }
    converted = convert_state_dict(given, config_from_reference(reference, None))
    assert converted["backbone.embeddings.position_embeddings"].shape == (1, 197, 32)
    assert set(converted) >= {"backbone.encoder.layer.0.attn.qkv.weight", "backbone.cls_token"}


def test_architectures_by_name(reference: dict[str, Any]) -> None:
    reference["backbone"]["arch"] = "l"
    backbone = config_from_reference(reference, None).backbone_config
    assert (backbone.hidden_size, backbone.num_hidden_layers, backbone.num_attention_heads) == (1024, 24, 16)
    assert backbone.out_indices == [24]
    assert backbone.layer_norm_eps == 1e-6


def test_settings_of_earlier_versions(reference: dict[str, Any]) -> None:
    backbone = reference["backbone"] | {"type": "mmcls.VisionTransformer", "output_cls_token": False}
    del backbone["out_type"]
    config = config_from_reference(reference | {"backbone": backbone}, None)
    assert config.to_dict() == config_from_reference(reference, None).to_dict()


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("neck", {"apply_relu": False}, "apply_relu"),
        ("neck", {"scale_factor": 2.5}, "2.5"),
        ("head", {"type": "CPMHead"}, "CPMHead"),
        ("head", {"deconv_out_channels": [256, 256]}, "deconv_out_channels"),
        ("head", {"final_layer": {"kernel_size": 1}}, "kernel_size"),
        ("head", {"final_layer": None}, "kernel_size=0"),
        ("backbone", {"type": "mmpretrain.SwinTransformer"}, "SwinTransformer"),
        ("backbone", {"arch": "eva-g"}, "eva-g"),
        ("backbone", {"arch": {"embed_dims": 32}}, "num_layers, num_heads, feedforward_channels"),
        ("backbone", {"arch": {"embed_dims": 32, "num_layers": 1, "num_heads": 1, "feedforward_channels": 48}}, "48"),
        ("backbone", {"with_cls_token": True}, "with_cls_token"),
        ("backbone", {"out_type": "raw"}, "raw"),
        ("backbone", {"img_size": 224}, r"\(224, 224\)"),
        ("backbone", {"patch_cfg": {}}, "padding"),
        ("backbone", {"norm_cfg": {"type": "BN"}}, "BN"),
    ],
)
def test_unsupported_settings_are_named(
    part: str, change: dict[str, Any], message: str, reference: dict[str, Any]
) -> None:
    reference[part] = reference[part] | change
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, None)


@pytest.mark.parametrize(
    "change",
    [{"deconv_out_channels": [256, 128]}, {"deconv_kernel_sizes": [4, 3]}, {"deconv_out_channels": []}],
)
def test_unsupported_classic_heads_are_named(change: dict[str, Any], classic_reference: dict[str, Any]) -> None:
    classic_reference["head"] |= change
    with pytest.raises(ConfigError, match=next(iter(change))):
        config_from_reference(classic_reference, None)
