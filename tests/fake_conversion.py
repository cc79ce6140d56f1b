"""Stands in for the conversion of checkpoints, for tests of what is around it; light, for tests of many processes."""

from __future__ import annotations

import json
from pathlib import Path


def safetensors_file(data: bytes) -> bytes:
    """A safetensors file with one tensor of bytes."""
    header = json.dumps({"weights": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}).encode()
    return len(header).to_bytes(8, "little") + header + data


def convert(name: str, checkpoint: Path, folder: Path) -> None:
    """Write a model folder whose weights are the checkpoint's bytes."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "vitpose", "name": name}))
    (folder / "model.safetensors").write_bytes(safetensors_file(checkpoint.read_bytes()))


def converted_weights(folder: Path) -> bytes:
    """The checkpoint that `convert` was given."""
    data = (folder / "model.safetensors").read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]
