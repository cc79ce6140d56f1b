"""ONNX files of models that a pipeline runs, written at their first use and kept in our cache."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from hfpose.backends.graph_files import graph_metadata, in_cache, noted_hash, write_description
from hfpose.backends.onnx_graphs import DEFAULT_OPSET, SessionMaker, exact_copy, export_graph
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.hub.downloads import cache_dir
from hfpose.hub.model_folders import GRAPH_NAME

logger = logging.getLogger(__name__)

# Folders of our package whose code decides what is in a file.
_CODE_FOLDERS = ("backends", "models")


def cached_graph(
    model: PreTrainedModel,
    image_processor: Any,
    opset: int = DEFAULT_OPSET,
    session: SessionMaker = OnnxSession,
    weights: Path | None = None,
) -> Path:
    """ONNX file of a model, written if the cache has no intact one of the same weights, settings, code and opset.

    Of several processes one writes it and the others wait.

    Args:
        model: of a family of ours, or transformers' ViTPose.
        session: runs the file to compare it with torch.
        weights: file that holds the model's, which are then not read from the model, where they would stay in memory.

    Raises:
        ConfigError: for a model that cannot be exported, if a package is missing, or if the cache cannot be written.
        CheckpointError: if the file does not compute what torch computes.
    """
    network = exact_copy(model)
    folder = onnx_cache_dir() / f"{model.config.model_type}-{_key(network, image_processor, opset, weights)[:24]}"
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    with in_cache(folder, "The ONNX file of the model") as is_there:
        if is_there:
            return folder / GRAPH_NAME
        for remains in (folder, unfinished):  # damaged, or of a run that was killed
            shutil.rmtree(remains, ignore_errors=True)
        unfinished.mkdir()
        logger.info("Writing a graph of the %s to %s, once.", type(model).__name__, folder)
        try:
            export_graph(network, image_processor, unfinished / GRAPH_NAME, opset, session)
            write_description(unfinished, unfinished.iterdir(), graph_metadata(model, image_processor))
            unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder / GRAPH_NAME


def onnx_cache_dir() -> Path:
    """Folder of the cache for ONNX files."""
    return cache_dir() / "onnx"


def compiled_cache(graph: Path, backend: str, settings: str) -> Path:
    """Folder of the cache for what a backend compiles of a graph file, whichever folder that lies in."""
    key = noted_hash(graph)[:24]
    return cache_dir() / backend / f"{key}-{settings}"


def _key(network: PreTrainedModel, image_processor: Any, opset: int, weights: Path | None) -> str:
    """Hash of all that a file depends on."""
    config = {name: value for name, value in network.config.to_dict().items() if name != "_name_or_path"}
    settings = [config, getattr(image_processor, "size", None), opset, _code()]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    tensors = network.state_dict() if weights is None else load_file(weights)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().reshape(-1).view(torch.uint8).numpy().data)  # numpy has no bfloat16
    return digest.hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """Hash of the code that makes a file: ours, and the versions of what it calls."""
    digest = hashlib.sha256(f"{torch.__version__} {version('transformers')} {version('onnx')}".encode())
    package = Path(__file__).parents[1]
    for folder in _CODE_FOLDERS:
        for path in sorted((package / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()
