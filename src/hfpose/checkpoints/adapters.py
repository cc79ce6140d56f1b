"""LoRA adapters in folders of peft, merged into the model that they are for.

Such a folder holds `adapter_config.json` and, as safetensors, two matrices for each layer that was adapted: W becomes
W + s B A, with s = alpha / r, or alpha / sqrt(r) with `use_rslora` (Hu et al., LoRA, 2021; Kalajdzievski, 2023). It is
read here, as data, so that peft is not needed and a merged model runs in every backend.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hfpose.errors import CheckpointError, ConfigError
from hfpose.hub.model_folders import ADAPTER_CONFIG, ADAPTER_WEIGHTS, is_adapter

_MATRIX = re.compile(r"(?P<module>.+)\.lora_(?P<matrix>[AB])\.weight")
# Settings that make something else of the matrices than their product, by what they are without effect.
_PLAIN: Mapping[str, Any] = {
    "use_dora": False, "fan_in_fan_out": False, "lora_bias": False, "alpha_pattern": {}, "layer_replication": None,
}  # fmt: skip


def base_of_adapter(folder: Path) -> str | None:
    """Name or path of the model that a folder of peft adapts; None for a folder of another kind.

    Raises:
        ConfigError: for an adapter of another kind than LoRA, or one that names no model.
    """
    if not is_adapter(folder):
        return None
    config = _read_config(folder)
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise ConfigError(
            f"{folder / ADAPTER_CONFIG} does not say what model it adapts. Set `base_model_name_or_path` in it to a "
            "folder or name, or load both with peft, merge them and give the object."
        )
    return base


def merge_adapter(model: torch.nn.Module, folder: Path) -> None:
    """Add what the LoRA adapter in `folder` has learned to the weights of its model.

    Raises:
        ConfigError: for an adapter of another kind than LoRA.
        CheckpointError: if it does not fit the model.
    """
    config = _read_config(folder)
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise ConfigError(f"lora_alpha of the adapter is {alpha!r}; expected a finite number.")
    try:
        stored = load_file(folder / ADAPTER_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"The adapter in {folder} has no {ADAPTER_WEIGHTS} that can be read: {error}."
        ) from error
    tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in stored.items()}
    parameters = dict(model.named_parameters())
    matrices: dict[str, dict[str, Tensor]] = {}
    with torch.no_grad():
        for name, tensor in tensors.items():
            found = _MATRIX.fullmatch(name)
            if found is None:  # of a layer that was trained as a whole (`modules_to_save`)
                _fitting(parameters.get(name), tensor.shape, name, folder).copy_(tensor)
            else:
                matrices.setdefault(found["module"], {})[found["matrix"]] = tensor
        for module, pair in matrices.items():
            if len(pair) != 2:
                raise CheckpointError(
                    f"The adapter in {folder} has one of two matrices of {module}: it is incomplete."
                )
            rank = len(pair["A"])
            change = _product(pair["B"], pair["A"]) * alpha / (rank**0.5 if config.get("use_rslora") else rank)
            weight = _fitting(parameters.get(f"{module}.weight"), change.shape, module, folder)
            weight.add_(change.to(weight))


def _read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    kind = config.get("peft_type")
    odd = [name for name, plain in _PLAIN.items() if config.get(name) not in (plain, None)]
    if kind != "LORA" or odd:
        what = f"of the kind {kind}" if kind != "LORA" else f"with {' and '.join(odd)}"
        raise ConfigError(
            f"The adapter in {folder} is one {what}; plain LoRA is supported. Load model and adapter with peft, call "
            "merge_and_unload(), and give the object, or the folder that its save_pretrained writes."
        )
    return config


def _product(b: Tensor, a: Tensor) -> Tensor:
    """B A of a linear layer, (out, r) and (r, in), or of a convolution, (out, r, 1, 1) and (r, in, h, w)."""
    if b.ndim != a.ndim or b[0].numel() != len(a):
        raise CheckpointError(f"The matrices of an adapter have the shapes {tuple(b.shape)} and {tuple(a.shape)}.")
    return (b.flatten(1).float() @ a.flatten(1).float()).reshape(len(b), *a.shape[1:])


def _fitting(parameter: Tensor | None, shape: torch.Size, name: str, folder: Path) -> Tensor:
    """The parameter that a change is for."""
    if parameter is None or parameter.shape != shape:
        found = "the model has no such layer" if parameter is None else f"{tuple(parameter.shape)} in the model"
        raise CheckpointError(
            f"The adapter in {folder} does not fit its model: {name} is {tuple(shape)} in the adapter, {found}."
        )
    return parameter
