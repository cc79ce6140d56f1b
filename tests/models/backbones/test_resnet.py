from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from golden import Golden
from hfpose.errors import ConfigError
from hfpose.models.backbones import backbone_from_reference, convert_backbone
from hfpose.models.backbones.resnet import ResNetBackbone, ResNetBackboneConfig

# Golden of each type, with its depths beyond 50 and the blocks of their stages.
SPECS = {
    "ResNet": ("res50", {101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),
    "ResNetV1d": ("resnetv1d50", {101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),
    "SEResNet": ("seresnet50", {101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),
    "ResNeXt": ("resnext50", {101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}),
    "ResNeSt": ("resnest50", {101: (3, 4, 23, 3), 200: (3, 24, 36, 3), 269: (3, 30, 48, 8)}),
    "SCNet": ("scnet50", {101: (3, 4, 23, 3)}),
}


@pytest.mark.parametrize("kind", SPECS)
def test_every_tensor_of_every_depth_has_its_place(kind: str) -> None:
    name, deeper = SPECS[kind]
    spec = Golden("pose2d", f"td-hm_{name}_8xb64-210e_coco-256x192").spec["state_dict"]
    shapes = {key: shape for key, shape in spec.items() if key.startswith("backbone.")}
    for depth, blocks in {50: (3, 4, 6, 3), **deeper}.items():
        config = backbone_from_reference({"type": kind, "depth": depth})
        given = {key: torch.empty(shape, device="meta") for key, shape in with_blocks(shapes, blocks).items()}
        with torch.device("meta"):
            expected = ResNetBackbone(config).state_dict()
        converted = convert_backbone(given, config)
        assert {key: tensor.shape for key, tensor in converted.items()} == {
            f"backbone.{key}": tensor.shape for key, tensor in expected.items()
        }


def with_blocks(shapes: dict[str, list[int]], blocks: tuple[int, ...]) -> dict[str, list[int]]:
    """Names and shapes of a network with more blocks: all but the first of a stage are alike."""
    result = dict(shapes)
    for key, shape in shapes.items():
        if match := re.match(r"backbone\.layer(\d)\.1\.(.+)", key):
            stage = int(match[1])
            for block in range(2, blocks[stage - 1]):
                result[f"backbone.layer{stage}.{block}.{match[2]}"] = shape
    return result


def test_depths_of_basic_blocks() -> None:
    config = backbone_from_reference({"type": "ResNet", "depth": 34, "num_stages": 3, "strides": [1, 2, 2]})
    assert (config.block_type, tuple(config.depths)) == ("basic", (3, 4, 6))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"type": "ResNet", "depth": 77}, "depth 77"),
        ({"type": "ResNeXt", "depth": 18}, "only 50, 101, 152"),
        ({"type": "ResNet", "depth": 50, "style": "caffe"}, "caffe"),
        ({"type": "ResNet", "depth": 50, "dilations": [1, 1, 2, 4]}, "dilations"),
        ({"type": "ResNet", "depth": 50, "norm_cfg": {"type": "GN"}}, "GN"),
        ({"type": "RegNet"}, "RegNet is not supported"),
    ],
)
def test_unsupported_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        backbone_from_reference(settings)


@pytest.mark.parametrize("settings", [{"depths": [10**9]}, {"depths": [1] * 300}, {"base_channels": 10**9}])
def test_absurd_sizes_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ResNetBackboneConfig(**settings)
