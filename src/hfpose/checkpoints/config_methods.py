"""Methods of strings, lists and dicts that a config file may call."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfpose.checkpoints.config_evaluator import Evaluator

SCALARS = (str, int, float, type(None))
_FORMAT_FIELD = re.compile(r"\{\{|\}\}|\{(\w*)(?:!([rs]))?(?::([^{}]*))?\}|[{}]")

_Method = Callable[[Any, ast.Call, Any, list[Any], dict[str, Any]], Any]


def _plain_method(kind: type, name: str) -> _Method:
    """A method of Python's own type that takes no more time or memory than its owner and arguments have."""

    def call(evaluator: Evaluator, node: ast.Call, owner: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
        evaluator.budget.measure(owner if name in ("index", "count", "remove") else None)
        for arg in args:
            evaluator.budget.measure(arg)
            evaluator.budget.charge(len(arg) if isinstance(arg, str) else 0)
        evaluator.budget.charge(length(owner))
        if kind is dict and args:
            evaluator.key(node, args[0])
        value = getattr(kind, name)(owner, *args, **keywords)
        return value if isinstance(value, (*SCALARS, list, dict, tuple)) or name == "pop" else list(value)

    return call


def _append(evaluator: Evaluator, node: ast.Call, owner: list, args: list[Any], keywords: dict[str, Any]) -> None:
    list.append(owner, *args, **keywords)


def _insert(evaluator: Evaluator, node: ast.Call, owner: list, args: list[Any], keywords: dict[str, Any]) -> None:
    evaluator.budget.charge(len(owner) // 64)
    list.insert(owner, *args, **keywords)


def _extend(evaluator: Evaluator, node: ast.Call, owner: list, args: list[Any], keywords: dict[str, Any]) -> None:
    for arg in args:
        owner.extend(evaluator.sequence(node, arg))


def _update(evaluator: Evaluator, node: ast.Call, owner: dict, args: list[Any], keywords: dict[str, Any]) -> None:
    values = evaluator.pairs(node, args, keywords)
    evaluator.budget.measure(values)  # a merge visits all of it
    owner.update(values)


def _copy(evaluator: Evaluator, node: ast.Call, owner: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
    evaluator.budget.charge(len(owner))
    return type(owner)(owner)


def _join(evaluator: Evaluator, node: ast.Call, owner: str, args: list[Any], keywords: dict[str, Any]) -> str:
    (parts,) = args
    parts = evaluator.sequence(node, parts)
    evaluator.budget.charge(len(owner) * len(parts) + sum(map(length, parts)))
    return owner.join(parts)


def _replace(evaluator: Evaluator, node: ast.Call, owner: str, args: list[Any], keywords: dict[str, Any]) -> str:
    old, new = args
    evaluator.budget.charge(len(owner) + owner.count(old) * length(new))
    return owner.replace(old, new)


def _format(evaluator: Evaluator, node: ast.Call, owner: str, args: list[Any], keywords: dict[str, Any]) -> str:
    """`str.format` with fields that are a position or a name, without the attributes and items that it would follow."""
    positions = iter(range(len(owner)))

    def field(match: re.Match) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None:
            evaluator.fail(node, f"the format {owner[:60]!r} has a field that is not supported")
        name = match[1] or str(next(positions))
        value = args[int(name)] if name.isdigit() else keywords[name]
        return evaluator.format_value(node, value, match[2] or "", match[3] or "")

    return evaluator.made(_FORMAT_FIELD.sub(field, owner))


def length(value: Any) -> int:
    """Number of elements or characters, 0 for other values."""
    return len(value) if isinstance(value, (list, tuple, dict, range, str)) else 0


_PLAIN_METHODS: dict[type, str] = {
    str: "lower upper title capitalize strip lstrip rstrip split rsplit startswith endswith removeprefix removesuffix",
    dict: "get keys values items pop setdefault clear",
    list: "index count pop remove reverse clear",
    tuple: "index count",
}
METHODS: dict[tuple[type | None, str], _Method] = {
    (str, "join"): _join,
    (str, "replace"): _replace,
    (str, "format"): _format,
    (list, "append"): _append,
    (list, "insert"): _insert,
    (list, "extend"): _extend,
    (list, "copy"): _copy,
    (dict, "copy"): _copy,
    (dict, "update"): _update,
}
METHODS.update(
    ((kind, name), _plain_method(kind, name)) for kind, names in _PLAIN_METHODS.items() for name in names.split()
)
