"""Tensors and arrays of a checkpoint: checked descriptions first, memory only for those that are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfpose.checkpoints.pickles import Builder, FormatError, Placeholder, Record, checked_key

_MAX_DIMENSIONS = 32
_MAX_LENGTH = 2**40  # of one dimension
_MAX_CHARACTER = 0x10FFFF
_MAX_REPEATED = 2**20  # numbers of a tensor that `expand` made larger than its storage

# PyTorch names the type of a storage by a class, newer files the type of a tensor by a dtype.
_STORAGE_DTYPES: dict[str, torch.dtype] = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_DTYPE_NAMES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
    "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2",
)  # fmt: skip
_TENSOR_DTYPES = {f"torch.{name}": getattr(torch, name) for name in _DTYPE_NAMES if hasattr(torch, name)}


@dataclass(frozen=True, eq=False)
class StorageRecord(Record):
    """A stretch of a stored block of numbers.

    Attributes:
        key: name of the block in the file.
        dtype: type that the numbers are stored as.
        numel: how many of them the whole block has, as the pickle says.
        start: first number of the stretch.
        length: how many numbers the stretch has.
    """

    key: str
    dtype: torch.dtype
    numel: int
    start: int
    length: int


@dataclass(frozen=True, eq=False)
class TensorRecord(Record):
    """A tensor of a checkpoint, known to lie inside its storage: `size`, `stride` and `offset` count numbers."""

    storage: StorageRecord
    dtype: torch.dtype
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        return math.prod(self.size) * self.dtype.itemsize

    def build(self, block: torch.Tensor) -> torch.Tensor:
        """The tensor as a view of its storage's block, a uint8 tensor (N,)."""
        storage = self.storage
        first, last = storage.start * storage.dtype.itemsize, (storage.start + storage.length) * storage.dtype.itemsize
        numbers = block[first : last - (last - first) % self.dtype.itemsize].view(self.dtype)
        return numbers.as_strided(self.size, self.stride, numbers.storage_offset() + self.offset)


class DTypeRecord(Record):
    """A numpy dtype, whose byte order comes with its state."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order = "="

    def set_state(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]

    def dtype(self) -> np.dtype:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class ArrayRecord(Record):
    """A numpy array, whose content comes with its state. `value` stays None where that is not plain numbers or text."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:  # a kind of array with a state of its own
            return
        _, shape, dtype, is_fortran, data = state
        if isinstance(dtype, DTypeRecord) and not isinstance(data, (list, Placeholder)):  # a list holds objects
            self.value = _array(data, dtype, shape, "F" if is_fortran else "C")


def parse_storage_id(persistent_id: Any) -> StorageRecord | Placeholder:
    """What a persistent id of PyTorch refers to: ("storage", type, key, location, numel[, view]) is a storage.

    `view` is None or (key of the view, first number, length): files of before version 1.6 have it.
    """
    if isinstance(persistent_id, tuple) and len(persistent_id) > 1 and persistent_id[0] == "module":
        # A whole pickled model: its class comes with the text of its source.
        return persistent_id[1] if isinstance(persistent_id[1], Placeholder) else Placeholder("torch.nn.Module")
    if not isinstance(persistent_id, tuple) or len(persistent_id) not in (5, 6) or persistent_id[0] != "storage":
        raise FormatError("its pickle refers to a storage in a way that PyTorch does not")
    _, kind, key, _, numel, *view = persistent_id
    if not isinstance(kind, Placeholder) or kind.name.rpartition(".")[0] not in (
        "torch",
        "torch.storage",
        "torch.cuda",
    ):
        raise FormatError("its pickle names a storage of a type that PyTorch does not have")
    type_name = kind.name.rpartition(".")[2]
    if type_name not in _STORAGE_DTYPES:
        raise FormatError(
            f"it holds a {type_name[:40]!r}, a type of storage that is not supported (quantized weights?)"
        )
    if not isinstance(key, (str, int)):
        raise FormatError("its pickle names a storage by something that is no text")
    start, length = 0, numel
    if view and view[0] is not None:
        if not isinstance(view[0], tuple) or len(view[0]) != 3:
            raise FormatError("its pickle describes a view of a storage in a way that PyTorch does not")
        _, start, length = view[0]
    if not (_is_count(numel) and _is_count(start) and _is_count(length) and start + length <= numel):
        raise FormatError(f"storage {str(key)[:40]!r} has an impossible size")
    return StorageRecord(str(key), _STORAGE_DTYPES[type_name], numel, start, length)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_LENGTH  # True and False are none


def _tensor(args: tuple) -> Any:
    """`_rebuild_tensor` and `_rebuild_tensor_v2`: storage, offset, size, stride[, requires_grad, hooks[, metadata]]."""
    if len(args) < 4:
        raise FormatError("a tensor in it has no size or stride")
    if len(args) > 6 and args[6]:  # lazily conjugated or negated: the stored numbers are not the values
        return Placeholder("torch._utils._rebuild_tensor_v2", args)
    return _checked_tensor(args[0], None, *args[1:4])


def _tensor_with_dtype(args: tuple) -> Any:
    """`_rebuild_tensor_v3`: storage, offset, size, stride, requires_grad, hooks, dtype[, metadata]."""
    if len(args) < 7 or not isinstance(args[6], Placeholder):
        raise FormatError("a tensor in it has no type")
    if args[6].name not in _TENSOR_DTYPES or (len(args) > 7 and args[7]):
        return Placeholder("torch._utils._rebuild_tensor_v3", args)
    return _checked_tensor(args[0], _TENSOR_DTYPES[args[6].name], *args[1:4])


def _checked_tensor(storage: Any, dtype: torch.dtype | None, offset: Any, size: Any, stride: Any) -> TensorRecord:
    if not isinstance(storage, StorageRecord):
        raise FormatError("a tensor in it has no storage")
    dtype = dtype or storage.dtype
    size, stride = _lengths(size), _lengths(stride)
    available = storage.length * storage.dtype.itemsize // dtype.itemsize
    described = f"size {size}, stride {stride} and offset {offset!r:.40} in a storage of {available} numbers"
    if not _is_count(offset) or len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise FormatError(f"a tensor in it is malformed: {described:.300}")
    numel = math.prod(size)
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if numel else 0
    if numel > max(available, _MAX_REPEATED) or (numel and last >= available):
        raise FormatError(f"a tensor in it reaches beyond its storage: {described:.300}")
    if numel == 0:
        offset = 0
    return TensorRecord(storage, dtype, offset, size, stride)


def _lengths(values: Any) -> tuple[int, ...]:
    if not isinstance(values, (tuple, list)) or not all(map(_is_count, values)):
        raise FormatError("a tensor in it has a size or stride that is not made of counts")
    return tuple(values)


def _parameter(args: tuple) -> Any:
    """`_rebuild_parameter` and its kind: the tensor is the first argument."""
    if not args or not isinstance(args[0], TensorRecord):
        return Placeholder("torch._utils._rebuild_parameter", args)
    return args[0]


def _tensor_with_attributes(args: tuple) -> Any:
    """`_rebuild_from_type_v2`: a function, the class, the function's arguments, the attributes."""
    builder = _TENSOR_BUILDERS.get(args[0].name) if len(args) == 4 and isinstance(args[0], Placeholder) else None
    if builder is None or not isinstance(args[2], tuple):
        return Placeholder("torch._tensor._rebuild_from_type_v2", args)
    return builder(args[2])


# Numbers, and text of fixed width. Objects, structures and dates are left as placeholders.
_DTYPE_CODES = re.compile(r"b1|[iu][1248]|f[248]|c(?:8|16)|[SU]\d{1,4}")


def _dtype(args: tuple) -> Any:
    code = args[0] if args else None
    if not isinstance(code, str) or not _DTYPE_CODES.fullmatch(code):
        return Placeholder("numpy.dtype", args)
    return DTypeRecord(code)


def _array(data: Any, dtype: DTypeRecord, shape: Any, order: Any) -> np.ndarray:
    """A writable array of its own, from exactly the bytes that its shape and type ask for."""
    if isinstance(data, str):  # bytes of a pickle that Python 2 wrote
        data = data.encode("latin-1")
    shape = _lengths(shape)
    actual = dtype.dtype()
    if not isinstance(data, (bytes, bytearray)) or len(data) != math.prod(shape) * actual.itemsize:
        raise FormatError(f"a numpy array in it does not have the bytes that its shape {str(shape)[:100]} asks for")
    if order not in ("C", "F") or len(shape) > _MAX_DIMENSIONS:
        raise FormatError("a numpy array in it has an impossible shape or order")
    if actual.kind == "U" and data and np.any(np.frombuffer(data, f"{actual.byteorder}u4") > _MAX_CHARACTER):
        raise FormatError("a numpy array in it has text that is no text")
    numbers = np.frombuffer(data, actual) if data else np.empty(0, actual)
    return numbers.reshape(shape, order=order).astype(actual.newbyteorder("="))


def _scalar(args: tuple) -> Any:
    if len(args) != 2 or not isinstance(args[0], DTypeRecord) or isinstance(args[1], Placeholder):
        return Placeholder("numpy._core.multiarray.scalar", args)
    return _array(args[1], args[0], (), "C")[()]


def _array_from_buffer(args: tuple) -> Any:
    """numpy's `_frombuffer`: data, dtype, shape, order."""
    if len(args) != 4 or not isinstance(args[1], DTypeRecord) or isinstance(args[0], Placeholder):
        return Placeholder("numpy._core.numeric._frombuffer", args)
    record = ArrayRecord()
    record.value = _array(*args)
    return record


def _encode(args: tuple) -> Any:
    """How protocol 2 spells bytes. No other codec is for data."""
    if len(args) != 2 or not isinstance(args[0], str) or args[1] not in ("latin1", "latin-1"):
        return Placeholder("_codecs.encode", args)
    return args[0].encode("latin-1")


def _bytes(args: tuple) -> Any:
    """Empty bytes in protocol 2, and a bytearray of bytes."""
    if len(args) > 1 or not all(isinstance(arg, bytes) for arg in args):
        return Placeholder("builtins.bytes", args)  # such as a number, which would be a length
    return args[0] if args else b""


def _dict(args: tuple) -> Any:
    """A dict, OrderedDict or Counter, from nothing, pairs or a dict."""
    pairs = args[0] if args else ()
    if isinstance(pairs, dict):
        return dict(pairs)
    if len(args) > 1 or not isinstance(pairs, (list, tuple)):
        return Placeholder("collections.OrderedDict", args)
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        return Placeholder("collections.OrderedDict", args)
    return {checked_key(key): value for key, value in pairs}


def _container(kind: type) -> Builder:
    def build(args: tuple) -> Any:
        values = args[0] if args else ()
        if len(args) > 1 or not isinstance(values, (list, tuple)):
            return Placeholder(f"builtins.{kind.__name__}", args)
        return kind(map(checked_key, values) if kind in (set, frozenset) else values)

    return build


_TENSOR_BUILDERS: dict[str, Callable[[tuple], Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
}
BUILDERS: dict[str, Builder] = {
    **_TENSOR_BUILDERS,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _tensor_with_attributes,
    "torch.Size": _container(tuple),
    "numpy.dtype": _dtype,
    "_codecs.encode": _encode,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": lambda args: {},
    "collections.Counter": _dict,
}
for _package in ("numpy.core", "numpy._core"):
    BUILDERS[f"{_package}.multiarray._reconstruct"] = lambda args: ArrayRecord()
    BUILDERS[f"{_package}.multiarray.scalar"] = _scalar
    BUILDERS[f"{_package}.numeric._frombuffer"] = _array_from_buffer
for _package in ("builtins", "__builtin__"):  # the second is Python 2's, which protocol 2 keeps
    BUILDERS |= {f"{_package}.{kind.__name__}": _container(kind) for kind in (set, frozenset, list, tuple)}
    BUILDERS[f"{_package}.dict"] = _dict
    BUILDERS[f"{_package}.bytes"] = _bytes
    BUILDERS[f"{_package}.bytearray"] = _bytes
