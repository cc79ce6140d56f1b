from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import torch

from golden import Golden
from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry
from hfpose.models.internet.configuration_internet import InterNetConfig
from hfpose.models.internet.convert_internet import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

REFERENCE: dict[str, Any] = get_entry("hand3d").reference


@pytest.mark.parametrize("prefix", ["head.", "keypoint_head."])
def test_every_tensor_of_the_reference_has_its_place(prefix: str, golden: Golden) -> None:
    tensors = {
        re.sub("^head.", prefix, name): torch.empty(shape, device="meta")
        for name, shape in golden.spec["state_dict"].items()
    }
    config = config_from_reference(REFERENCE, None)
    with torch.device("meta"):
        expected = MODEL_CLASS(config).state_dict()
    converted = convert_state_dict(tensors, config)
    assert {name: tensor.shape for name, tensor in converted.items()} == {
        name: tensor.shape for name, tensor in expected.items()
    }


def test_published_settings_are_the_defaults() -> None:
    assert config_from_reference(REFERENCE, None).to_diff_dict() == InterNetConfig().to_diff_dict()


def test_processor_has_the_settings_of_the_codec() -> None:
    reference = copy.deepcopy(REFERENCE)
    reference["head"]["decoder"] |= {"root_depth_bound": 300, "heatmap3d_depth_bound": 200, "image_size": [128, 64]}
    processor = image_processor_from_reference(reference)
    assert (processor.root_depth_bound, processor.depth_bound) == (300, 200)
    assert dict(processor.size) == {"height": 64, "width": 128}
    assert not processor.flip_test


def test_unknown_names_stay_as_they_are() -> None:
    names = convert_state_dict({"rootnet.fc.weight": torch.zeros(1)}, config_from_reference(REFERENCE, None))
    assert list(names) == ["rootnet.fc.weight"]


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [("backbone", "depth", 77), ("backbone", "style", "caffe"), ("head", "type", "HeatmapHead")],
)
def test_unsupported_settings_are_named(part: str, setting: str, value: object) -> None:
    reference = copy.deepcopy(REFERENCE)
    reference[part][setting] = value
    with pytest.raises(ConfigError, match=setting):
        config_from_reference(reference, None)
