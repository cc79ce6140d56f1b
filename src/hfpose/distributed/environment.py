"""What the launcher of several processes says in environment variables. Reading it imports nothing."""

from __future__ import annotations

import os

from hfpose.errors import InputError

_WORLD_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")


def world_size() -> int:
    """How many processes `accelerate launch`, `torchrun` or `mpirun` has started; 1 without them."""
    return max(whole_number(variable, 1) for variable in _WORLD_SIZES)


def is_distributed() -> bool:
    """Whether this is one of several processes."""
    return world_size() > 1


def was_restarted() -> bool:
    """Whether the launcher has started the processes anew after one of them had failed."""
    return whole_number("TORCHELASTIC_RESTART_COUNT", 0) > 0


def whole_number(variable: str, default: int) -> int:
    """The value of an environment variable.

    Raises:
        InputError: if it is no whole number.
    """
    text = os.environ.get(variable) or str(default)
    try:
        return int(text)
    except ValueError:
        raise InputError(f"The environment variable {variable} must be a whole number, but it is {text!r}.") from None


def quiet_store() -> None:
    """Keep torch from writing pages to stderr where another process has died, which is reported in one line.

    It has to be called before torch is imported.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
