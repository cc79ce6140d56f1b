"""What a configuration asks for is bounded by the weights that are there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch.nn.modules import module as torch_module

from hfpose.errors import CheckpointError

# A model has modules without weights of its own, and may share some or leave some out of the file.
_MODULES_PER_TENSOR = 20
_SPARE_MODULES = 1000


@contextmanager
def modules_bounded(num_tensors: int, config: str) -> Iterator[None]:
    """End the building of a model by an error once it has far more modules than there are tensors for it.

    A configuration can ask for a billion layers in a few bytes. As many modules as there are tensors, times a generous
    factor, may be made in this thread. Errors call the configuration `config`.

    Raises:
        CheckpointError: the configuration does not fit the weights.
    """
    left = _SPARE_MODULES + _MODULES_PER_TENSOR * num_tensors
    thread = threading.get_ident()

    def count(*_: Any) -> None:
        nonlocal left
        if threading.get_ident() != thread:
            return
        left -= 1
        if left < 0:
            raise CheckpointError(
                f"{config} asks for far more layers than the weights have tensors. It does not belong to these "
                "weights, or is there to do harm; the model was not built."
            )

    with ExitStack() as hooks:
        for register in (
            torch_module.register_module_module_registration_hook,
            torch_module.register_module_parameter_registration_hook,
        ):
            hooks.callback(register(count).remove)
        yield


@contextmanager
def loading_bounded(folder: str | Path) -> Iterator[None]:
    """While the model in `folder` is built and loaded, end what its configuration makes absurd with an error.

    What torch and transformers raise about sizes is explained as well.

    Raises:
        CheckpointError: the configuration does not fit the weights.
    """
    folder = Path(folder)
    num_tensors = sum(map(_num_tensors, folder.glob("*.safetensors")))
    try:
        with modules_bounded(num_tensors, f"The configuration in {folder}"):
            yield
    except CheckpointError:
        raise
    except (RuntimeError, MemoryError, OverflowError) as error:
        reason = "their sizes differ" if "ignore_mismatched_sizes" in str(error) else str(error)[:500]
        raise CheckpointError(
            f"The model in {folder} cannot be built from its configuration and weights: {reason}. Do both "
            "belong together? Download or convert the model again."
        ) from error


def _num_tensors(path: Path) -> int:
    with safe_open(path, framework="pt") as file:
        return len(file.keys())
