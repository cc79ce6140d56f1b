"""The greatest of several values."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def greatest(values: Tensor) -> tuple[Tensor, Tensor]:
    """The greatest of floating point `values` (..., N) and the first index at which it is, each (...).

    On the CPU numpy finds it: torch would wake all its threads even for few values, and then these wait actively on
    the cores that another backend computes on.
    """
    if values.device.type != "cpu":
        return values.max(-1)
    array = values.detach().numpy()
    index = array.argmax(-1, keepdims=True)
    best = np.take_along_axis(array, index, -1)
    return torch.from_numpy(best[..., 0]), torch.from_numpy(index[..., 0])
