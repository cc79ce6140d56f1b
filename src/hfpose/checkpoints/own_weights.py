"""Models of ours, made of the weights in their folder without the renaming that other models of transformers need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers.utils import SAFE_WEIGHTS_NAME

from hfpose.ops.garbage import without_garbage_collection

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@without_garbage_collection()
def model_with_own_weights(build: Callable[[], PreTrainedModel], folder: Path) -> PreTrainedModel | None:
    """A model in float32 with weights that are mapped from their file, not read.

    `from_pretrained` compiles patterns to look at the names of all weights, which takes longer than all else.

    Returns:
        None for a model that is not of ours, or where the names or shapes of the file are not the model's.
    """
    path = folder / SAFE_WEIGHTS_NAME
    if not path.is_file():
        return None
    with torch.device("meta"):
        model = build()
    if not type(model).__module__.startswith("hfpose."):
        return None
    try:
        weights = load_file(path)
    except (OSError, SafetensorError):  # which `from_pretrained` explains
        return None
    expected = model.state_dict()
    if _shapes(weights) != _shapes(expected):
        return None
    model.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in weights.items()}, assign=True)
    fill_buffers(model)
    return model


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def fill_buffers(model: PreTrainedModel) -> None:
    """Compute the buffers that no file holds, which networks of transformers leave empty on the meta device."""
    from transformers import PreTrainedModel

    networks = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    for module in model.modules():
        empty = {name: buffer for name, buffer in module.named_buffers(recurse=False) if buffer.is_meta}
        for name, buffer in empty.items():
            module.register_buffer(name, torch.empty_like(buffer, device="cpu"), persistent=False)
        for parameter in module.parameters(recurse=False) if empty else ():
            parameter._is_hf_initialized = True  # type: ignore[attr-defined]  # it stays as it was loaded
        for network in networks if empty else ():
            network._init_weights(module)
