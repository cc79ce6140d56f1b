"""Folders of models and pipelines: what they must hold to be loaded, and that it is safe to load.

No file of a folder is executed: weights are safetensors or ONNX, and a configuration that names code is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from huggingface_hub import constants
from safetensors import SafetensorError, safe_open

from hfpose.errors import CheckpointError, ConfigError, UnknownModelError
from hfpose.hub.zoo import TASKS

PIPELINE_INDEX = "pose_pipeline.json"
"""File that names the parts of a saved pipeline, each in a folder of its own."""

GRAPH_NAME, OPENVINO_NAME = "model.onnx", "model.xml"
"""The network of an exported folder, as ONNX or in OpenVINO's own format."""


ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""What peft writes of an adapter, which has no configuration of a model beside it."""

_MAX_JSON_BYTES = 16 << 20
_MAX_COUNT = 1_000_000  # of labels, layers and the like


def child_path(folder: Path, name: str) -> Path:
    """Path of the file or folder that an index in ``folder`` calls ``name``.

    Raises:
        CheckpointError: the name would lead out of ``folder``.
    """
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    outside = not parts or ".." in parts or "\0" in name
    if outside or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise CheckpointError(
            f"A file in {folder} names '{name}' as its part, which lies outside of that folder. It is not opened: the "
            "folder was put together wrongly, or to do harm."
        )
    return folder / name


def has_config(folder: Path) -> bool:
    """Whether a folder says what it holds: a model or a pipeline."""
    return (folder / constants.CONFIG_NAME).is_file() or (folder / PIPELINE_INDEX).is_file()


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter of peft, and no model."""
    return (folder / ADAPTER_CONFIG).is_file() and not has_config(folder)


def checked_folder(folder: Path) -> Path:
    """The folder, if it holds a model or pipeline in a format that is safe to load."""
    check_configurations(folder)
    for index in folder.rglob("*.safetensors.index.json"):
        for shard in _shards(index):
            child_path(index.parent, shard)
    weights = list(folder.rglob("*.safetensors"))
    if not weights and not any(any(folder.rglob(name)) for name in (GRAPH_NAME, OPENVINO_NAME)):
        raise CheckpointError(
            f"'{folder}' has no weights as safetensors and no graph ({GRAPH_NAME} or {OPENVINO_NAME}). Other formats "
            "(.bin, .pth, .pt2) can run code when they are loaded and are not. Convert them: `hfpose convert` for "
            "checkpoints of the zoo's models, https://huggingface.co/spaces/safetensors/convert for hub repositories; "
            "export with --format onnx or openvino what is to run in a pipeline."
        )
    for path in weights:
        if (error := _weights_error(path)) is not None:
            raise CheckpointError(
                f"{path} is cut off or damaged, or no safetensors file: {error}. Download or write it again."
            )
    return folder


def check_configurations(folder: Path) -> None:
    """Refuse a folder without a configuration, or with one that is none or not safe to load."""
    if not has_config(folder) and not is_adapter(folder):
        raise UnknownModelError(
            f"'{folder}' holds neither a model nor a pipeline: it has no {constants.CONFIG_NAME} and no "
            f"{PIPELINE_INDEX}."
        )
    if (folder / PIPELINE_INDEX).is_file():
        _check_index(folder)
    for path in folder.rglob("*config.json"):
        _check_config(path)


def _check_config(path: Path) -> None:
    """Refuse a configuration that is none, that could fill the memory before a model is built, or that names code."""
    try:
        config = read_json(path)
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}")
        settings = list(_settings(config))
        for place, value in settings:
            is_odd = isinstance(value, str) or (isinstance(value, (int, float)) and value > _MAX_COUNT)
            if place.rpartition(".")[2].startswith("num_") and is_odd:
                raise ValueError(f"{place} is {str(value)[:100]!r}")
        elsewhere = next((place for place, value in settings if _is_elsewhere(place, value)), None)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is no configuration of a model: {error}.") from error
    if elsewhere is not None:
        raise CheckpointError(
            f"{path} names code or a model elsewhere by its setting {elsewhere[:200]!r}. hfpose runs no code that "
            "comes with a model, and takes a model whole from one place: the model was not loaded."
        )


def _settings(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """All settings, nested ones by names with dots."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        place = f"{where}.{key}" if where else str(key)
        yield place, item
        yield from _settings(item, place)


def _is_elsewhere(place: str, value: Any) -> bool:
    """Whether transformers asks for a setting if it may run code, or fetches a part of the model or a kernel.

    An `auto_map` of the whole does neither: all is loaded by classes that are known, without a question.
    """
    fetches = place.endswith("backbone") or "_implementation" in place
    return place.endswith(".auto_map") or (fetches and isinstance(value, str) and not {"/", ":"}.isdisjoint(value))


def _check_index(folder: Path) -> None:
    """Refuse a pipeline's index that is none, or that names a part outside of its folder."""
    path = folder / PIPELINE_INDEX
    try:
        parts = dict(read_json(path))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path} is no index of a pipeline: {error}") from error
    for part in TASKS:
        if isinstance(parts.get(part), str):
            child_path(folder, parts[part])


def read_json(path: Path) -> Any:
    """What a JSON file holds. It is opened again only when it has changed, so what is returned must not be changed.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no JSON, or too large for a configuration.
    """
    status = path.stat()
    if status.st_size > _MAX_JSON_BYTES:
        raise ValueError(f"more than {_MAX_JSON_BYTES} bytes")
    return _parsed(path, (status.st_ino, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=32)
def _parsed(path: Path, version: tuple[int, int, int]) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _shards(index: Path) -> set[str]:
    """Names of the weight files that a ``model.safetensors.index.json`` lists."""
    try:
        names = set(read_json(index)["weight_map"].values())
        if not all(isinstance(name, str) for name in names):
            raise ValueError("file names that are not text")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} is no index of weight files: {error}") from error
    return names


def is_whole(folder: Path) -> bool:
    """Whether ``folder`` holds a model whose weight files have the length that their headers say."""
    weights = list(folder.glob("*.safetensors"))
    if not weights or not (folder / constants.CONFIG_NAME).is_file():
        return False
    return all(_weights_error(path) is None for path in weights)


def _weights_error(path: Path) -> Exception | None:
    """What is wrong with the header of a safetensors file, which says how long each tensor and the whole file are."""
    try:
        with safe_open(path, framework="np"):
            return None
    except (SafetensorError, OSError) as error:
        return error
