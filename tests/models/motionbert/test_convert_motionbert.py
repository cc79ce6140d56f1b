from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.convert_motionbert import (
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

REFERENCE: dict[str, Any] = get_entry("human3d").reference


def test_published_settings_are_the_defaults() -> None:
    assert config_from_reference(REFERENCE).to_diff_dict() == MotionBertConfig().to_diff_dict()


def test_processor_zeroes_the_root_where_the_codec_says_so() -> None:
    assert image_processor_from_reference(REFERENCE).zero_root
    reference = copy.deepcopy(REFERENCE)
    reference["head"]["decoder"]["rootrel"] = False
    assert not image_processor_from_reference(reference).zero_root


def test_unknown_names_stay_as_they_are() -> None:
    names = convert_state_dict({"traj_head.fc.weight": torch.zeros(1)}, config_from_reference(REFERENCE))
    assert list(names) == ["traj_head.fc.weight"]


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("backbone", "qk_scale", 0.5),
        ("head", "out_channels", 4),
        ("head", "in_channels", 256),
        ("head", "embedding_size", 0),
    ],
)
def test_unsupported_settings_are_named(part: str, setting: str, value: object) -> None:
    reference = copy.deepcopy(REFERENCE)
    reference[part][setting] = value
    with pytest.raises(ConfigError, match=setting):
        config_from_reference(reference)


@pytest.mark.parametrize("settings", [{"remove_root": True}, {"save_index": True}, {"mode": "train"}])
def test_settings_of_the_codec_that_change_no_result_are_taken(settings: dict[str, Any]) -> None:
    reference = copy.deepcopy(REFERENCE)
    reference["head"]["decoder"] |= settings
    assert image_processor_from_reference(reference).to_dict() == image_processor_from_reference(REFERENCE).to_dict()


def test_a_flip_test_about_another_axis_is_refused() -> None:
    with pytest.raises(ConfigError, match="shift_coords=False"):
        image_processor_from_reference(REFERENCE | {"test_cfg": {"flip_test": True, "shift_coords": False}})
