"""Reads a pickle as data: builds containers, records everything else, calls nothing that the file names.

Python's own unpicklers import what a stream names and call it. The reader here has no such path: an instruction to
call a global looks its dotted name up in a table of builders that are part of hfpose, and where the table has no entry
the call becomes a [`Placeholder`] that remembers the name and the arguments.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

# A checkpoint of a large model with its optimizer has some 100,000 instructions.
MAX_INSTRUCTIONS = 2_000_000
# Python hashes a number to itself modulo 2**61 - 1, and a tuple by its numbers: larger ones could be chosen to collide
# by the thousand, which stalls a dict.
_MAX_INTEGER_KEY = 2**60
_MAX_INTEGER_IN_TUPLE_KEY = 2**31
# What one element of a container takes, about.
_BYTES_PER_ELEMENT = 64
_SPARE_BYTES = 2**26


class FormatError(Exception):
    """The bytes are not what their format says. Becomes a `CheckpointError` that names the file."""


class Stream(Protocol):
    """What the reader needs of a file. `read` may return less than asked for at the end."""

    def read(self, size: int, /) -> bytes: ...

    def readline(self) -> bytes: ...

    def tell(self) -> int: ...


class Placeholder:
    """Stands for a class, function or object that a pickle names and that is not built.

    Attributes:
        name: dotted name of the global, as the pickle spells it.
        called: False for the bare global, True for what calling it would have given.
        args: positional arguments of that call.
        state: what the object's state would have been set to, or None.
        items: pairs that would have been set on it, as on a dict.
        elements: values that would have been added to it, as to a list.
    """

    __slots__ = ("args", "called", "elements", "items", "name", "state")

    def __init__(self, name: str, args: tuple | None = None) -> None:
        self.name = name
        self.called = args is not None
        self.args = args or ()
        self.state: Any = None
        self.items: list[tuple[Any, Any]] = []
        self.elements: list[Any] = []

    def __repr__(self) -> str:
        return f"<{self.name[:200]!r}{' object' if self.called else ''} of the checkpoint, not built>"


class Record:
    """Base of what builders give for values that a later instruction completes (tensors, arrays)."""

    __slots__ = ()

    def set_state(self, state: Any) -> None:
        """Take the state that the pickle sets on the value. Most values have none that matters."""


Builder = Callable[[tuple], Any]


def checked_key(value: Any) -> Any:
    """`value`, a key of a dict or element of a set whose hash cannot recurse and was not chosen to collide."""
    if isinstance(value, tuple):
        usual = all(
            abs(part) < _MAX_INTEGER_IN_TUPLE_KEY
            if isinstance(part, int)
            else isinstance(part, (str, bytes, type(None)))
            for part in value
        )
    elif isinstance(value, int):
        usual = abs(value) < _MAX_INTEGER_KEY
    else:
        usual = not isinstance(value, frozenset)
    if not usual:
        raise FormatError("its pickle has a dictionary key of a kind that no checkpoint has")
    return value


def load_pickle(
    stream: Stream,
    builders: Mapping[str, Builder],
    load_persistent: Callable[[Any], Any],
    size: int,
    max_instructions: int = MAX_INSTRUCTIONS,
) -> Any:
    """Read one pickle from `stream`, and leave the stream behind it.

    Args:
        stream: open file, at the pickle's first byte. Its `read` must not allocate more than the file holds.
        builders: for each dotted name that gives a real value, the function from the call's arguments to that value.
        load_persistent: value of a persistent id (PyTorch's reference to a storage).
        size: bytes that the stream can hold. What builders copy is bounded by it.
        max_instructions: bound on the length of the program, and so on time and memory.

    Returns:
        Containers and plain values, with `Record`s where a builder gave one and `Placeholder`s for all other objects.

    Raises:
        FormatError: the stream is cut off, malformed, or longer than `max_instructions`.
    """
    machine = _Machine(builders, load_persistent, max_copied=size + _SPARE_BYTES)
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):  # type: ignore[arg-type]
            if count >= max_instructions:
                raise FormatError(f"its pickle has more than {max_instructions:,} instructions")
            machine.run(opcode.name, argument)
        return machine.result()
    except FormatError:
        raise
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError(f"its pickle is malformed ({str(error)[:200]})") from error


_CONSTANTS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip


class _Machine:
    """Stack, marks and memo of the pickle language, with one method per group of instructions."""

    def __init__(
        self, builders: Mapping[str, Builder], load_persistent: Callable[[Any], Any], max_copied: int
    ) -> None:
        self.builders = builders
        self.load_persistent = load_persistent
        self.copies_left = max_copied
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self.stack.append(argument)
            return
        instruction = _INSTRUCTIONS.get(name)
        if instruction is None:
            raise FormatError(f"its pickle uses the instruction {name}, which no checkpoint needs")
        instruction(self, argument)

    def result(self) -> Any:
        if len(self.stack) != 1 or self.marks:
            raise FormatError("its pickle ends in the middle of a value")
        return self.stack[0]

    # The stack

    def pop(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise FormatError("its pickle takes a value where there is none")
        return self.stack.pop()

    def top(self) -> Any:
        if self.marks and len(self.stack) <= self.marks[-1]:
            raise FormatError("its pickle uses a value where there is none")
        return self.stack[-1]

    def push_constant(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def pop_one(self, _: Any) -> None:
        if self.marks and len(self.stack) == self.marks[-1]:
            self.marks.pop()
        else:
            self.stack.pop()

    def put(self, index: Any) -> None:
        self.memo[len(self.memo) if index is None else int(index)] = self.top()

    def get(self, index: Any) -> None:
        self.stack.append(self.memo[int(index)])

    # Containers

    def make_tuple(self, length: int | None) -> None:
        values = self.pop_to_mark() if length is None else [self.pop() for _ in range(length)][::-1]
        self.stack.append(tuple(values))

    def make_dict(self, _: Any) -> None:
        values = self.pop_to_mark()
        self.stack.append({})
        self.set_pairs(values)

    def make_frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(checked_key(value) for value in self.pop_to_mark()))

    def set_pairs(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise FormatError("its pickle has a dictionary key without a value")
        target = self.top()
        pairs = zip(values[::2], values[1::2], strict=True)
        if isinstance(target, dict):
            for key, value in pairs:
                target[checked_key(key)] = value
        elif isinstance(target, Placeholder):
            target.items.extend(pairs)
        else:
            raise FormatError(f"its pickle sets items on a {type(target).__name__}")

    def append_values(self, values: list[Any]) -> None:
        target = self.top()
        if isinstance(target, list):
            target.extend(values)
        elif isinstance(target, Placeholder):
            target.elements.extend(values)
        else:
            raise FormatError(f"its pickle appends to a {type(target).__name__}")

    def add_values(self, _: Any) -> None:
        values = self.pop_to_mark()
        target = self.top()
        if isinstance(target, set):
            target.update(checked_key(value) for value in values)
        elif isinstance(target, Placeholder):
            target.elements.extend(values)
        else:
            raise FormatError(f"its pickle adds to a {type(target).__name__}")

    def set_item(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self.set_pairs([key, value])

    def append(self, _: Any) -> None:
        self.append_values([self.pop()])

    # Globals and objects

    def push_global(self, argument: str) -> None:
        self.stack.append(Placeholder(".".join(argument.split(" ", 1))))

    def push_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise FormatError("its pickle names a global by something that is no text")
        self.stack.append(Placeholder(f"{module}.{name}"))

    def call(self, function: Any, args: Any, kwargs: Any = None) -> None:
        """Push what `function(*args)` stands for: a builder's value, or a record of the call."""
        if not isinstance(function, Placeholder):
            raise FormatError(f"its pickle calls a {type(function).__name__}")
        if not isinstance(args, tuple):
            raise FormatError("its pickle makes a call whose arguments are no tuple")
        builder = None if function.called or kwargs else self.builders.get(function.name)
        if builder is None:
            self.stack.append(Placeholder(function.name, args))
            return
        self.copies_left -= sum(map(_copied_size, args))  # one large value may be the argument of many calls
        if self.copies_left < 0:
            raise FormatError("its pickle copies the same values over and over")
        self.stack.append(builder(args))

    def reduce(self, _: Any) -> None:
        args, function = self.pop(), self.pop()
        self.call(function, args)

    def new_object_with_keywords(self, _: Any) -> None:
        kwargs, args, function = self.pop(), self.pop(), self.pop()
        self.call(function, args, kwargs)

    def old_object(self, _: Any) -> None:
        function, *args = self.pop_to_mark()
        self.call(function, tuple(args))

    def old_instance(self, argument: str) -> None:
        args = tuple(self.pop_to_mark())
        self.call(Placeholder(".".join(argument.split(" ", 1))), args)

    def build(self, _: Any) -> None:
        state = self.pop()
        target = self.top()
        if isinstance(target, Placeholder):
            target.state = state
        elif isinstance(target, Record):
            target.set_state(state)
        elif not isinstance(target, (dict, list, set)):  # subclasses of these carry attributes: left out
            raise FormatError(f"its pickle sets the state of a {type(target).__name__}")

    def persistent(self, argument: Any) -> None:
        self.stack.append(self.load_persistent(self.pop() if argument is None else argument))


def _copied_size(value: Any) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    return _BYTES_PER_ELEMENT * len(value) if isinstance(value, (list, tuple, set, frozenset, dict)) else 0


_Instruction = Callable[[_Machine, Any], None]
_INSTRUCTIONS: dict[str, _Instruction] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": lambda machine, _: None,
    "NONE": lambda machine, _: machine.push_constant(None),
    "NEWTRUE": lambda machine, _: machine.push_constant(True),
    "NEWFALSE": lambda machine, _: machine.push_constant(False),
    "EMPTY_LIST": lambda machine, _: machine.push_constant([]),
    "EMPTY_DICT": lambda machine, _: machine.push_constant({}),
    "EMPTY_SET": lambda machine, _: machine.push_constant(set()),
    "EMPTY_TUPLE": lambda machine, _: machine.push_constant(()),
    "MARK": _Machine.mark,
    "POP": _Machine.pop_one,
    "POP_MARK": lambda machine, _: machine.pop_to_mark().clear(),
    "DUP": lambda machine, _: machine.push_constant(machine.top()),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.put,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "LIST": lambda machine, _: machine.push_constant(machine.pop_to_mark()),
    "DICT": _Machine.make_dict,
    "TUPLE": lambda machine, _: machine.make_tuple(None),
    "TUPLE1": lambda machine, _: machine.make_tuple(1),
    "TUPLE2": lambda machine, _: machine.make_tuple(2),
    "TUPLE3": lambda machine, _: machine.make_tuple(3),
    "FROZENSET": _Machine.make_frozenset,
    "APPEND": _Machine.append,
    "APPENDS": lambda machine, _: machine.append_values(machine.pop_to_mark()),
    "SETITEM": _Machine.set_item,
    "SETITEMS": lambda machine, _: machine.set_pairs(machine.pop_to_mark()),
    "ADDITEMS": _Machine.add_values,
    "GLOBAL": _Machine.push_global,
    "STACK_GLOBAL": _Machine.push_stack_global,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "NEWOBJ_EX": _Machine.new_object_with_keywords,
    "OBJ": _Machine.old_object,
    "INST": _Machine.old_instance,
    "BUILD": _Machine.build,
    "PERSID": _Machine.persistent,
    "BINPERSID": _Machine.persistent,
}
