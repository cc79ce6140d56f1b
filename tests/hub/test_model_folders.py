"""What a folder may not hold: code of its own, parts from elsewhere, absurd numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fake_conversion import safetensors_file
from hfpose.errors import CheckpointError
from hfpose.hub.model_folders import checked_folder

CODE = {"AutoBackbone": "evil.M"}


def folder_with(folder: Path, name: str, content: Any) -> Path:
    (folder / "config.json").write_text('{"model_type": "vitpose"}')
    (folder / "model.safetensors").write_bytes(safetensors_file(b"1234"))
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ({"backbone_config": {"model_type": "bert", "auto_map": CODE}}, "backbone_config.auto_map"),
        ({"a": [{"b": {"auto_map": CODE}}]}, "a.0.b.auto_map"),
        ({"backbone": "evil/model"}, "backbone"),
        ({"backbone_config": {"backbone": "hf-hub:evil/model"}}, "backbone_config.backbone"),
        ({"attn_implementation": "evil/kernel"}, "attn_implementation"),
        ({"attn_implementation": {"backbone_config": "evil/kernel"}}, "attn_implementation.backbone_config"),
        ({"_experts_implementation": "evil/kernel@main"}, "_experts_implementation"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_code_and_parts_from_elsewhere_are_refused(tmp_path: Path, name: str, config: Any, setting: str) -> None:
    with pytest.raises(CheckpointError, match=f"by its setting '{setting}'.*was not loaded"):
        checked_folder(folder_with(tmp_path, name, config))


@pytest.mark.parametrize(
    "config",
    [{"auto_map": CODE}, {"backbone": "resnet50"}, {"attn_implementation": "sdpa"}, {"id2label": {"0": "a/b"}}],
)
def test_what_asks_for_nothing_is_taken(tmp_path: Path, config: Any) -> None:
    folder = folder_with(tmp_path, "config.json", config)
    assert checked_folder(folder) == folder


@pytest.mark.parametrize(
    "config",
    [
        {"num_labels": 10**9},
        {"backbone_config": {"num_hidden_layers": 10**9}},
        {"a": [{"num_heads": 1e30}]},
        [1],
        "[" * 10**5,
        "",
    ],
)
def test_absurd_numbers_and_other_files_are_refused(tmp_path: Path, config: Any) -> None:
    with pytest.raises(CheckpointError, match="is no configuration of a model") as error:
        checked_folder(folder_with(tmp_path, "config.json", config))
    assert "\n" not in str(error.value)
