"""What stands in a loaded checkpoint for objects of classes that are not built, and the plain values made of it."""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from hfpose.checkpoints.pickle_check import FormatError

_MAX_VALUES = 200_000
_MAX_DEPTH = 100
_MAX_DIMENSIONS = 32
_MAX_EMPTY = 2**16  # length of a dimension of an array without numbers
_MAX_CHARACTER = 0x10FFFF
# Numbers, and text of fixed width. Arrays of objects, structures and dates are not built.
_DTYPE_CODES = re.compile(r"b1|[iu][1248]|f[248]|c(?:8|16)|[SU]\d{1,4}")


class StandIn:
    """Stands for a class or function that a checkpoint names, and its instances for what a call of it gives.

    Attributes:
        name: dotted name in the checkpoint.
        args: arguments of the call.
        state: what the object's state would have been set to, or None.
    """

    name = ""
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any) -> Any:
        instance = super().__new__(cls)
        instance.args = args
        return instance

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return f"<{self.name[:200]!r} object of the checkpoint, not built>"


class _DictStandIn(StandIn):
    """For classes of dicts, whose items are set one by one: torch sets items on its own kinds of dict alone."""

    def __new__(cls, *args: Any) -> Any:
        return OrderedDict()


class _ListStandIn(StandIn):
    def __new__(cls, *args: Any) -> Any:
        return []


_CLASSES = {"dict": _DictStandIn, "list": _ListStandIn, None: StandIn}


def make_stand_in(name: str, container: str | None) -> type[StandIn]:
    """A class that stands for the global `name`; `container` is "dict" or "list" where its objects are filled."""
    return type("StandIn", (_CLASSES[container],), {"name": name})


def as_mapping(value: Any) -> dict[Any, Any] | None:
    """`value` as a dict where it is one, or was made by an unknown class of one dict."""
    if isinstance(value, StandIn) and len(value.args) == 1:
        value = value.args[0]
    # Not value.items(): a pickle can set attributes of an OrderedDict.
    return {key: item for key, item in dict.items(value)} if isinstance(value, dict) else None  # noqa: C416


def as_array(value: Any) -> np.ndarray | None:
    """The numpy array or scalar, shape (), that `value` stands for, or None if it is not one of numbers or text.

    Raises:
        FormatError: its bytes are not those of its shape and type.
    """
    if not isinstance(value, StandIn) or not value.name.startswith(
        ("numpy.core.multiarray.", "numpy._core.multiarray.")
    ):
        return None
    if value.name.endswith(".scalar") and len(value.args) == 2:
        (dtype, data), shape, order = value.args, (), "C"
    elif value.name.endswith("._reconstruct") and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, is_fortran, data = value.state
        order = "F" if is_fortran else "C"
    else:
        return None
    if isinstance(data, StandIn) and data.name == "builtins.bytes" and not data.args:  # empty, in protocol 2
        data = b""
    elif isinstance(data, str):  # Python 2 pickled bytes as text
        data = data.encode("latin-1", "replace")
    numpy_dtype = _dtype(dtype)
    return None if numpy_dtype is None else _array(data, numpy_dtype, shape, order)


def _dtype(value: Any) -> np.dtype | None:
    if not isinstance(value, StandIn) or value.name != "numpy.dtype" or not value.args:
        return None
    code, state = value.args[0], value.state
    if not isinstance(code, str) or not _DTYPE_CODES.fullmatch(code):
        return None
    is_big_endian = isinstance(state, tuple) and len(state) > 1 and state[1] == ">"
    return np.dtype(code).newbyteorder(">" if is_big_endian else "<")


def _array(data: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    """A writable array of its own, from exactly the bytes that its shape and type ask for."""
    if (
        not isinstance(data, bytes)
        or not isinstance(shape, tuple)
        or len(shape) > _MAX_DIMENSIONS
        or not all(type(length) is int and 0 <= length <= max(len(data), _MAX_EMPTY) for length in shape)
        or len(data) != math.prod(shape) * dtype.itemsize
    ):
        raise FormatError(f"a numpy array in it does not have the bytes that its shape {str(shape)[:100]} asks for")
    if dtype.kind == "U" and data and np.any(np.frombuffer(data, f"{dtype.byteorder}u4") > _MAX_CHARACTER):
        raise FormatError("a numpy array in it has text that is no text")
    numbers = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    return numbers.reshape(shape, order="F" if order == "F" else "C").astype(dtype.newbyteorder("="))


class PlainValues:
    """Turns what a checkpoint says of itself into plain values: arrays for their stand-ins, all containers new."""

    def __init__(self, own: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.own = own
        self.values_left = _MAX_VALUES
        self.arrays: dict[int, Any] = {}

    def convert(self, value: Any, depth: int = 0) -> Any:
        """A copy of a value without stand-ins; raises FormatError if it nests or repeats without end."""
        self.values_left -= 1
        if self.values_left < 0 or depth > _MAX_DEPTH:
            raise FormatError("its meta data nests or repeats without end")
        if isinstance(value, Mapping):
            return {key: self.convert(item, depth + 1) for key, item in (as_mapping(value) or {}).items()}
        if isinstance(value, list) or type(value) is tuple:
            return type(value)(self.convert(item, depth + 1) for item in value)
        if isinstance(value, torch.Tensor):
            return self.own(value)
        if isinstance(value, type) and issubclass(value, StandIn):
            return object.__new__(value)
        if isinstance(value, StandIn):
            return self.of_stand_in(value, depth)
        return value

    def of_stand_in(self, value: StandIn, depth: int) -> Any:
        """The dict, array or number that a stand-in holds, else the stand-in itself."""
        mapping = as_mapping(value)
        if mapping is not None:
            return self.convert(mapping, depth)
        if id(value) not in self.arrays:
            array = as_array(value)
            self.arrays[id(value)] = value if array is None else array[()] if array.ndim == 0 else array
        return self.arrays[id(value)]
