"""Methods of strings, lists and dicts that a config file may call."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from hfpose.checkpoints.config_values import SCALARS, CheckedValues, length

_FORMAT_FIELD = re.compile(r"\{\{|\}\}|\{(\w*)(?:!([rs]))?(?::([^{}]*))?\}|[{}]")

_Method = Callable[[Any, ast.Call, Any, list[Any], dict[str, Any]], Any]


def _plain_method(kind: type, name: str) -> _Method:
    """A method of Python's own type that takes no more time or memory than its owner and arguments have."""

    def call(checked: CheckedValues, node: ast.Call, owner: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
        checked.budget.measure(owner if name in ("index", "count", "remove") else None)
        for arg in args:
            checked.budget.measure(arg)
            checked.budget.charge(len(arg) if isinstance(arg, str) else 0)
        checked.budget.charge(length(owner))
        if kind is dict and args:
            checked.key(node, args[0])
        value = getattr(kind, name)(owner, *args, **keywords)
        return value if isinstance(value, (*SCALARS, list, dict, tuple)) or name == "pop" else list(value)

    return call


def _extend(checked: CheckedValues, node: ast.Call, owner: list, args: list[Any], keywords: dict[str, Any]) -> None:
    for arg in args:
        owner.extend(checked.sequence(node, arg))


def _update(checked: CheckedValues, node: ast.Call, owner: dict, args: list[Any], keywords: dict[str, Any]) -> None:
    values = checked.pairs(node, args, keywords)
    checked.budget.measure(values)  # a merge visits all of it
    owner.update(values)


def _copy(checked: CheckedValues, node: ast.Call, owner: Any, args: list[Any], keywords: dict[str, Any]) -> Any:
    checked.budget.charge(len(owner))
    return type(owner)(owner)


def _join(checked: CheckedValues, node: ast.Call, owner: str, args: list[Any], keywords: dict[str, Any]) -> str:
    (parts,) = args
    parts = checked.sequence(node, parts)
    checked.budget.charge(len(owner) * len(parts) + sum(map(length, parts)))
    return owner.join(parts)


def _replace(checked: CheckedValues, node: ast.Call, owner: str, args: list[Any], keywords: dict[str, Any]) -> str:
    old, new = args
    checked.budget.charge(len(owner) + owner.count(old) * length(new))
    return owner.replace(old, new)


def _format(checked: CheckedValues, node: ast.Call, owner: str, args: list[Any], keywords: dict[str, Any]) -> str:
    """`str.format` with fields that are a position or a name, without the attributes and items that it would
    follow."""
    positions = iter(range(len(owner)))

    def field(match: re.Match) -> str:
        if match[0] in ("{{", "}}"):
            return match[0][0]
        if match[1] is None:
            checked.fail(node, f"the format {owner[:60]!r} has a field that is not supported")
        name = match[1] or str(next(positions))
        value = args[int(name)] if name.isdigit() else keywords[name]
        return checked.format_value(node, value, match[2] or "", match[3] or "")

    return checked.made(_FORMAT_FIELD.sub(field, owner))


_PLAIN_METHODS: dict[type, str] = {
    str: "lower upper title capitalize strip lstrip rstrip split rsplit startswith endswith removeprefix removesuffix",
    dict: "get keys values items pop setdefault clear",
    list: "append insert index count pop remove reverse clear",
    tuple: "index count",
}
METHODS: dict[tuple[type | None, str], _Method] = {
    (str, "join"): _join,
    (str, "replace"): _replace,
    (str, "format"): _format,
    (list, "extend"): _extend,
    (list, "copy"): _copy,
    (dict, "copy"): _copy,
    (dict, "update"): _update,
}
METHODS.update(
    ((kind, name), _plain_method(kind, name)) for kind, names in _PLAIN_METHODS.items() for name in names.split()
)
