"""Looks through the pickle of a checkpoint before `torch.load(weights_only=True)` reads it.

That function runs nothing that a file names, but it believes the sizes that a file states, and does its work as often
as the file says. Here each instruction is followed on descriptions of the values, nothing is built: what the pickle
names, which storages it claims, and that keys, copies and tensors stay within what real checkpoints have.
"""

from __future__ import annotations

import _compat_pickle
import itertools
import math
import pickletools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO, Any

import torch

# A checkpoint of a large model with its optimizer has some 150,000 instructions, and names a dozen classes.
MAX_INSTRUCTIONS = 500_000
_MAX_NAMES = 50
_SPARE_WORK = 2**20
_CHARACTERS_PER_WORK = 8
_MAX_DIMENSIONS = 32
_MAX_LENGTH = 2**40  # of a storage or of one dimension
_MAX_REPEATED = 2**20  # numbers of a tensor that `expand` made larger than its storage
# Python hashes a number to itself modulo 2**61 - 1, and a tuple by its numbers: larger ones could be chosen to collide
# by the thousand, which stalls a dict.
_MAX_INTEGER_KEY = 2**60
_MAX_INTEGER_IN_TUPLE_KEY = 2**31
_REFUSED_MODULES = {"os", "posix", "nt", "sys"}  # torch refuses them too

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
_TENSOR_BUILDERS = {f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")}
_PARAMETER_BUILDERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
_DICT_CLASSES = {"collections.OrderedDict", "collections.Counter"}
# What torch.load may call itself. It calls a stand-in for every name that it does not know.
CALLABLE = _TENSOR_BUILDERS | _PARAMETER_BUILDERS | _DICT_CLASSES
CALLABLE |= {"builtins.set", "_codecs.encode", "torch.Size", "torch.device"}


class FormatError(Exception):
    """The bytes are not what their format says. Becomes a `CheckpointError` that names the file."""


@dataclass(slots=True, eq=False)
class Value:
    """What is known of a value.

    Attributes:
        kind: "number", "constant" (None, True, False), "text", "bytes", "tuple", "list", "dict", "set", "global",
            "object", "storage" or "tensor".
        content: the number or text; the name of a global, or of an object's class; type and length of a storage.
        parts: values inside of a tuple, list or set; keys and values of a dict in turn.
        size: work that one copy of it takes: elements and pieces of text, as often as they appear.
    """

    kind: str
    content: Any = None
    parts: list[Value] = field(default_factory=list)
    size: int = 1

    def add(self, values: list[Value]) -> None:
        """Take over the sizes of values that were put inside."""
        self.parts.extend(values)
        self.size = min(self.size + sum(value.size for value in values), _MAX_LENGTH)


@dataclass(frozen=True)
class PickleContent:
    """What a pickle holds.

    Attributes:
        value: description of its value.
        names: every global that it names, as written and as Python 3 calls it.
        called: names of those that it calls.
        containers: "list" or "dict" for each class of unknown objects that get elements or items.
        storages: type and length of each storage, in the order of their first use.
    """

    value: Value
    names: dict[str, str]
    called: set[str]
    containers: dict[str, str]
    storages: dict[str, tuple[torch.dtype, int]]


def check_pickle(stream: IO[bytes]) -> PickleContent:
    """Follow one pickle from `stream`, and leave the stream behind it.

    Args:
        stream: open file at the pickle's first byte. Its `read` must not allocate more than the file holds.

    Raises:
        FormatError: the pickle is malformed, out of bounds, or needs more than `torch.load(weights_only=True)` does.
    """
    start = stream.tell()
    try:
        instructions = list(itertools.islice(pickletools.genops(stream), MAX_INSTRUCTIONS + 1))
        if len(instructions) > MAX_INSTRUCTIONS:
            raise FormatError(f"its pickle has more than {MAX_INSTRUCTIONS:,} instructions")
        tracer = _Tracer(work=stream.tell() - start + _SPARE_WORK)
        for opcode, argument, _ in instructions:
            tracer.run(opcode.name, argument)
        return PickleContent(tracer.pop(), tracer.names, tracer.called, tracer.containers, tracer.storages)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise FormatError(f"its pickle is malformed ({str(error)[:200]})") from error


class _Tracer:
    """Stack, marks and memo of the pickle language, on descriptions of values."""

    def __init__(self, work: int) -> None:
        self.work = work
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}
        self.names: dict[str, str] = {}
        self.called: set[str] = set()
        self.containers: dict[str, str] = {}
        self.storages: dict[str, tuple[torch.dtype, int]] = {}
        self.views: dict[str, tuple[str, int, int]] = {}

    def run(self, name: str, argument: Any) -> None:
        match name:
            case "PROTO" | "STOP":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.push("constant", name)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.push("number", argument)
            case "BINUNICODE" | "SHORT_BINSTRING":
                self.push("text", argument, size=1 + len(argument) // _CHARACTERS_PER_WORK)
            case "EMPTY_TUPLE" | "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_SET":
                self.push(name.removeprefix("EMPTY_").lower())
            case "TUPLE":
                self.push_tuple(self.pop_to_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.push_tuple([self.pop() for _ in range(int(name[-1]))][::-1])
            case "MARK":
                self.marks.append(len(self.stack))
            case "APPEND":
                self.append([self.pop()])
            case "APPENDS":
                self.append(self.pop_to_mark())
            case "SETITEM":
                self.set_items([self.pop(), self.pop()][::-1])
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.top()
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self.memo[argument])
            case "GLOBAL":
                self.push("global", self.named(argument))
            case "REDUCE" | "NEWOBJ":
                args, function = self.pop(), self.pop()
                self.call(function, args)
            case "BUILD":
                state = self.pop()
                if self.top().kind not in ("object", "dict"):
                    raise FormatError(f"its pickle sets the state of a {self.top().kind}")
                self.charge(state.size)
            case "BINPERSID":
                self.push_storage(self.pop())
            case _:
                raise FormatError(
                    f"its pickle uses the instruction {name}, which torch.load(weights_only=True) does not read; save "
                    "it again with torch.save, without `pickle_protocol`"
                )

    # The stack

    def push(self, kind: str, content: Any = None, parts: Iterable[Value] = (), size: int = 1) -> None:
        self.stack.append(Value(kind, content, list(parts), size))

    def push_tuple(self, values: list[Value]) -> None:
        self.push("tuple")
        self.top().add(values)

    def top(self) -> Value:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise FormatError("its pickle is malformed (it uses a value where there is none)")
        return self.stack[-1]

    def pop(self) -> Value:
        self.top()
        return self.stack.pop()

    def pop_to_mark(self) -> list[Value]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def charge(self, work: int) -> None:
        self.work -= work
        if self.work < 0:
            raise FormatError("its pickle copies or compares the same values over and over")

    # Containers

    def append(self, values: list[Value]) -> None:
        self.contained("list", self.top()).add(values)

    def set_items(self, values: list[Value]) -> None:
        if len(values) % 2:
            raise FormatError("its pickle has a dictionary key without a value")
        self.check_keys(values[::2])
        self.contained("dict", self.top()).add(values)

    def contained(self, kind: str, target: Value) -> Value:
        """`target`, once it is known that it takes elements (of a list) or items (of a dict)."""
        if target.kind == "object" and self.containers.setdefault(target.content, kind) == kind:
            return target
        if target.kind != kind:
            raise FormatError(f"its pickle treats a {target.kind} as a {kind}")
        return target

    def check_keys(self, keys: list[Value]) -> None:
        self.charge(sum(key.size for key in keys))
        if not all(_is_usual_key(key) for key in keys):
            raise FormatError("its pickle has a dictionary key of a kind that no checkpoint has")

    # Globals and objects

    def named(self, argument: str) -> str:
        module, _, name = argument.partition(" ")
        known = _compat_pickle.NAME_MAPPING.get((module, name))
        new_module, new_name = known or (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
        if _REFUSED_MODULES & {module, new_module}:
            raise FormatError(f"it names {f'{module}.{name}'[:100]!r}, which acts on the machine")
        self.names[f"{module}.{name}"] = f"{new_module}.{new_name}"
        if len(self.names) > _MAX_NAMES + len(_STORAGE_DTYPES):
            raise FormatError(f"its pickle names more than {_MAX_NAMES} classes and functions")
        return f"{new_module}.{new_name}"

    def call(self, function: Value, args: Value) -> None:
        """Push what `function(*args)` gives: a tensor or container that torch builds, else an unknown object."""
        if function.kind != "global" or args.kind != "tuple":
            raise FormatError(
                f"its pickle calls the {function.kind} {str(function.content)[:100]!r}, which is no class or function"
            )
        self.charge(args.size)
        name = function.content
        self.called.add(name)
        if name in _TENSOR_BUILDERS:
            _check_tensor(args.parts)
            self.push("tensor")
        elif name in _PARAMETER_BUILDERS:
            if not args.parts or args.parts[0].kind != "tensor":
                raise FormatError("a parameter in it is no tensor")
            self.push("tensor")
        elif name == "_codecs.encode":
            if len(args.parts) != 2 or args.parts[1].content not in ("latin1", "latin-1"):
                raise FormatError("its pickle encodes text in a way that bytes in checkpoints are not")
            self.push("bytes", size=args.size)
        elif name in _DICT_CLASSES or name == "builtins.set":
            self.push_collection(name, args.parts)
        else:
            self.push("object", name, args.parts)

    def push_collection(self, name: str, args: list[Value]) -> None:
        """What `OrderedDict(pairs)`, `Counter(dict)` or `set(values)` gives, or either of nothing."""
        if name == "builtins.set":
            values = args[0].parts if args else []
            self.check_keys(values)
        elif args and args[0].kind == "dict":
            values = args[0].parts
        else:
            pairs = args[0].parts if args else []
            values = [part for pair in pairs for part in pair.parts]
            if any(pair.kind not in ("tuple", "list") or len(pair.parts) != 2 for pair in pairs):
                raise FormatError("its pickle makes a dictionary of something else than pairs")
            self.check_keys(values[::2])
        self.push("set" if name == "builtins.set" else "dict")
        self.top().add(values)

    # Storages and tensors

    def push_storage(self, reference: Value) -> None:
        """A storage by ("storage", type, key, location, length[, view]), where `view` is None or (key of the view,
        first number, length): files of before version 1.6 have it."""
        parts = reference.parts
        if parts and parts[0].content == "module":
            name = parts[1].content if len(parts) > 1 else None
            raise FormatError(f"it holds an object of class {str(name)[:100]!r}, not a state dict; {_SAVE_STATE_DICT}")
        if reference.kind != "tuple" or len(parts) not in (5, 6) or parts[0].content != "storage":
            raise FormatError("its pickle refers to a storage in a way that PyTorch does not")
        _, kind, key, location, length, *view = parts
        dtype = _storage_dtype(kind)
        if key.kind != "text" or location.kind != "text" or not _is_count(length):
            raise FormatError(f"storage {str(key.content)[:40]!r} has no name or an impossible size")
        described = (dtype, length.content)
        if key.content in self.views or self.storages.setdefault(key.content, described) != described:
            raise FormatError(f"it describes storage {key.content[:40]!r} in two ways")
        if view and view[0].kind != "constant":
            self.push("storage", (dtype, self.view_length(view[0], key.content, length.content)))
        else:
            self.push("storage", described)

    def view_length(self, view: Value, root: str, available: int) -> int:
        if view.kind != "tuple" or len(view.parts) != 3 or not all(map(_is_count, view.parts[1:])):
            raise FormatError("its pickle describes a view of a storage in a way that PyTorch does not")
        key, start, length = (part.content for part in view.parts)
        described = (root, start, length)
        if start + length > available or key in self.storages or self.views.setdefault(key, described) != described:
            raise FormatError(f"its view {str(key)[:40]!r} of a storage has an impossible size")
        return int(length)


_SAVE_STATE_DICT = "save `model.state_dict()` instead of the model"


def _is_usual_key(key: Value) -> bool:
    """Whether a value can be the key of a dict without a recursion in its hash and without chosen collisions."""
    if key.kind == "tuple":
        return all(
            part.kind in ("text", "bytes", "constant")
            or (isinstance(part.content, int) and abs(part.content) < _MAX_INTEGER_IN_TUPLE_KEY)
            for part in key.parts
        )
    if key.kind == "number":
        return isinstance(key.content, float) or abs(key.content) < _MAX_INTEGER_KEY
    return key.kind in ("text", "bytes", "constant", "global") or (
        key.kind == "object" and key.content not in CALLABLE and key.content != "builtins.complex"
    )


def _storage_dtype(kind: Value) -> torch.dtype:
    package, _, name = str(kind.content).rpartition(".")
    if kind.kind != "global" or package not in ("torch", "torch.storage", "torch.cuda"):
        raise FormatError("its pickle names a storage of a type that PyTorch does not have")
    if name not in _STORAGE_DTYPES:
        raise FormatError(f"it holds a {name[:40]!r}, a type of storage that is not supported (quantized weights?)")
    return _STORAGE_DTYPES[name]


def _check_tensor(args: list[Value]) -> None:
    """Whether a tensor lies inside its storage. The arguments are storage, offset, size, stride[, requires_grad,
    hooks[, metadata]]; those of `_rebuild_tensor_v3` have the type before the metadata."""
    if len(args) < 4 or args[0].kind != "storage":
        raise FormatError("a tensor in it has no storage, size or stride")
    (dtype, length), offset = args[0].content, args[1]
    size, stride = _counts(args[2]), _counts(args[3])
    available = length
    for extra in args[6:]:
        if extra.kind == "global":
            available = length * dtype.itemsize // _tensor_dtype(extra).itemsize
        elif extra.kind != "constant" and extra.parts:
            raise FormatError("a tensor in it is conjugated or negated later; save plain tensors")
    described = f"size {size}, stride {stride} and offset {offset.content!r:.40} in a storage of {available} numbers"
    if not _is_count(offset) or len(size) != len(stride) or len(size) > _MAX_DIMENSIONS:
        raise FormatError(f"a tensor in it is malformed: {described:.300}")
    numel = math.prod(size)
    last = offset.content + sum((count - 1) * step for count, step in zip(size, stride, strict=True))
    if numel > max(available, _MAX_REPEATED) or (last >= available if numel else offset.content > available):
        raise FormatError(f"a tensor in it reaches beyond its storage: {described:.300}")


def _tensor_dtype(value: Value) -> torch.dtype:
    dtype = getattr(torch, str(value.content).removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise FormatError("a tensor in it has a type that PyTorch does not have")
    return dtype


def _counts(value: Value) -> tuple[int, ...]:
    if value.kind not in ("tuple", "list") or not all(map(_is_count, value.parts)):
        raise FormatError("a tensor in it has a size or stride that is not made of counts")
    return tuple(part.content for part in value.parts)


def _is_count(value: Value) -> bool:
    return value.kind == "number" and type(value.content) is int and 0 <= value.content <= _MAX_LENGTH
