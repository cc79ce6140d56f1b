"""Values of a config file: what they may cost, and what is handed on of them."""

from __future__ import annotations

import ast
import re
import time
from pathlib import Path
from typing import Any, NoReturn

from hfpose.errors import ConfigError

HOW_TO_FLATTEN = (
    "Configs are parsed, never run: assignments, literals, dict(), list and dict operations, arithmetic, f-strings, "
    "loops over lists and `_base_` are understood. Where the config can be trusted and run, mmengine's "
    "`Config.fromfile(config).dump('flat.py')` writes one that needs no more than that."
)

SCALARS = (str, int, float, type(None))

# Nodes evaluated plus elements and characters made, all files of a config together. Large real ones need 20,000.
MAX_WORK = 500_000
_MAX_SECONDS = 4.0  # of the thread's own time
_WORK_BETWEEN_LOOKS = 500  # at the clock, which takes as long as a node
_MAX_DEPTH = 100
_FORMAT_SPEC = re.compile(r"(?:.?[<>=^])?[-+ ]?#?0?\d{0,3}[,_]?(?:\.\d{1,2})?[bcdeEfFgGnosxX%]?")


class BaseDict(dict):
    """A dict that comes from a base config: its `update` merges dicts inside of dicts, as mmengine's ConfigDict
    does."""

    def update(self, other: dict, /, **values: Any) -> None:  # type: ignore[override]
        for key, value in {**other, **values}.items():
            if isinstance(value, dict) and isinstance(mine := self.get(key), BaseDict):
                mine.update(value)
            else:
                self[key] = value


class Budget:
    """Work and time that are left for all files of one config."""

    def __init__(self, work: int = MAX_WORK) -> None:
        self.work = self._next_look = work
        self.end = time.thread_time() + _MAX_SECONDS

    def charge(self, work: int) -> None:
        """Take from what is left; an OverflowError where that is nothing."""
        self.work -= work
        if self.work > self._next_look:
            return
        self._next_look = max(0, self.work - _WORK_BETWEEN_LOOKS)
        if self.work < 0 or time.thread_time() > self.end:
            raise OverflowError("this makes the config larger than any real one")

    def measure(self, value: Any) -> None:
        """Charge every element of `value`, each as often as it appears: repeated parts share memory but not work."""
        pending = [value]
        while pending:
            self.charge(1)
            part = pending.pop()
            if isinstance(part, dict):
                pending.extend(part.values())
            elif isinstance(part, (list, tuple)):
                pending.extend(part)
            elif isinstance(part, range):
                self.charge(len(part))


class CheckedValues:
    """What may be made of the values of a config file, within its budget."""

    def __init__(self, path: Path, budget: Budget) -> None:
        self.path = path
        self.budget = budget

    def fail(self, node: ast.AST, what: str) -> NoReturn:
        """Raise ConfigError with the line of `node`."""
        raise ConfigError(f"{self.path}:{getattr(node, 'lineno', 1)}: {what}. {HOW_TO_FLATTEN}")

    def key(self, node: ast.AST, value: Any) -> Any:
        """`value`, which has to be a number, text or None to be a key of a dict."""
        if not isinstance(value, SCALARS):
            self.fail(node, f"a {type(value).__name__} as a key of a dict is not supported")
        return value

    def sequence(self, node: ast.AST, value: Any) -> list[Any]:
        """The elements of `value`, of dicts their keys."""
        if not isinstance(value, (list, tuple, dict, range, str)):
            self.fail(node, f"a {type(value).__name__} has no elements")
        self.budget.charge(len(value))
        return list(value)

    def pairs(self, node: ast.AST, args: list[Any], keywords: dict[str, Any]) -> dict[Any, Any]:
        """The dict that `dict(...)` gives: of another dict or of pairs, and of keywords."""
        if len(args) > 1:
            self.fail(node, "a dict is made of one dict or list of pairs, and keywords")
        values: dict[Any, Any] = {}
        if args and isinstance(args[0], dict):
            self.budget.charge(len(args[0]))
            values |= args[0]
        elif args:
            for pair in self.sequence(node, args[0]):
                key, value = self.sequence(node, pair)
                values[self.key(node, key)] = value
        return values | keywords

    def format_value(self, node: ast.AST, value: Any, conversion: str, specification: str) -> str:
        """A value as text, as a field of an f-string gives it."""
        if not isinstance(value, SCALARS):
            self.fail(node, f"a {type(value).__name__} inside of text is not supported")
        if not _FORMAT_SPEC.fullmatch(specification):
            self.fail(node, f"the format {specification[:40]!r} is not supported")
        if conversion:
            value = repr(value) if conversion in ("r", "a") else str(value)
        return self.made(format(value, specification))

    def made(self, text: str) -> str:
        """`text`, whose length counts against the budget."""
        self.budget.charge(len(text))
        return text


def length(value: Any) -> int:
    """Number of elements or characters, 0 for other values."""
    return len(value) if isinstance(value, (list, tuple, dict, range, str)) else 0


def to_plain(value: Any, depth: int = 0) -> Any:
    """A copy made of dict, list, tuple and scalars alone, of a value that `Budget.measure` accepted."""
    if depth > _MAX_DEPTH:
        raise RecursionError("it nests too deep")
    if isinstance(value, dict):
        return {key: to_plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_plain(item, depth + 1) for item in value)
    return list(value) if isinstance(value, range) else value
