"""Computes the variables of a Python config file from its syntax tree: the part of Python that configs are written in,
and nothing that could act on the machine.

There is no path from a config to Python's own evaluation: names are looked up in the config's own variables and in a
table of pure functions, attributes are keys of dicts, methods are those of a table.

Four things are bounded: the work (nodes evaluated plus elements and characters made), the time, the digits of a number
and how deep values nest.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hfpose.checkpoints.config_methods import METHODS
from hfpose.checkpoints.config_values import SCALARS, BaseDict, Budget, CheckedValues, length
from hfpose.errors import ConfigError

_MAX_INTEGER = 2**63
_MAX_DIGITS = 20

# What evaluating a node of a valid tree can raise: mistakes of the config, and the limits.
_MISTAKES = (
    ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class Evaluator(CheckedValues):
    """Evaluates the statements of one config file, in order.

    Attributes:
        names: the variables so far.
        lines: line of the last assignment to each of them.
    """

    def __init__(self, path: Path, base: BaseDict, predefined: dict[str, str], budget: Budget) -> None:
        super().__init__(path, budget)
        self.names: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        self.base = base
        self.predefined = predefined

    # Statements

    def run(self, statements: list[ast.stmt]) -> None:
        """Run statements one after the other."""
        for statement in statements:
            self._statement(statement)

    def _statement(self, node: ast.stmt) -> None:
        try:
            self.budget.charge(1)
            self._act(node)
        except ConfigError:  # it names the line already
            raise
        except _MISTAKES as error:
            self.fail(node, _explain(error))

    def _act(self, node: ast.stmt) -> None:
        match node:
            case ast.Expr():
                self.evaluate(node.value)
            case ast.Assign():
                value = self.evaluate(node.value)
                for target in node.targets:
                    self._assign(target, value)
            case ast.AnnAssign(value=ast.expr() as expression):
                self._assign(node.target, self.evaluate(expression))
            case ast.AugAssign():
                self.assign_augmented(node)
            case ast.For(orelse=[]):
                for item in self.iterate(node.iter):
                    self._assign(node.target, item)
                    self.run(node.body)
            case ast.If():
                self.run(node.body if self.evaluate(node.test) else node.orelse)
            case ast.Delete():
                for target in node.targets:
                    self._delete(target)
            case ast.Pass():
                pass
            case ast.ImportFrom(names=[*names]) if any(name.name == "read_base" for name in names):
                self.fail(
                    node, "this is a config of lazy imports (`with read_base():`), whose bases are not looked up"
                )
            case ast.Import() | ast.ImportFrom():
                self.fail(node, "an import is refused, because it would run the code of another file")
            case _:
                self.fail(node, f"the statement {type(node).__name__!r} is not supported")

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Name(id="_base_"):
                self.fail(target, "`_base_` can be set once, at the top of the file")
            case ast.Name(id=name):
                self.names[name] = value
                self.lines[name] = target.lineno
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                if not isinstance(value, (list, tuple)) or len(value) != len(targets):
                    self.fail(target, f"{len(targets)} names need a list of as many values")
                for inner, item in zip(targets, value, strict=True):
                    self._assign(inner, item)
            case ast.Subscript() | ast.Attribute():
                container, key = self.place(target)
                container[key] = value
            case _:
                self.fail(target, f"an assignment to {type(target).__name__!r} is not supported")

    def assign_augmented(self, node: ast.AugAssign) -> None:
        """`a += b`, which changes a list itself, wherever else it is used."""
        value = self.evaluate(node.value)
        if isinstance(node.target, ast.Name):
            current = self.evaluate(ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target))
        else:
            container, key = self.place(node.target)
            current = container[key]
        if isinstance(current, list) and isinstance(node.op, ast.Add):
            self.budget.charge(length(value))
            current.extend(value)
        else:
            current = self.operate(node, node.op, current, value)
        self._assign(node.target, current)

    def _delete(self, target: ast.expr) -> None:
        if isinstance(target, ast.Name):
            del self.names[target.id]
        else:
            container, key = self.place(target)
            del container[key]

    def place(self, target: ast.expr) -> tuple[Any, Any]:
        """Container and key that `a[b]` or `a.b` stands for as a target."""
        match target:
            case ast.Subscript():
                container, key = self.evaluate(target.value), self.evaluate(target.slice)
            case ast.Attribute():
                container, key = self.evaluate(target.value), target.attr
            case _:
                self.fail(target, f"{type(target).__name__!r} cannot be changed")
        if isinstance(container, dict):
            return container, self.key(target, key)
        if isinstance(container, list) and isinstance(key, int):
            return container, key
        self.fail(target, f"an item of a {type(container).__name__} cannot be changed")

    # Expressions

    def evaluate(self, node: ast.expr) -> Any:
        """The value of an expression."""
        try:
            self.budget.charge(1)
            value = self._expression(node)
        except ConfigError:  # it names the line already
            raise
        except _MISTAKES as error:
            self.fail(node, _explain(error))
        if isinstance(value, int) and abs(value) >= _MAX_INTEGER:
            self.fail(node, "the number is larger than 64 bits")
        if isinstance(value, (complex, bytes)) or value is Ellipsis:
            self.fail(node, f"a value of type {type(value).__name__!r} is not supported")
        return value

    def _expression(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=str() as text):
                return self.text(text)
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._look_up(node, name)
            case ast.List(elts=elements):
                return self._elements(elements)
            case ast.Tuple(elts=elements):
                return tuple(self._elements(elements))
            case ast.Dict():
                return self._dictionary(node)
            case ast.Set(elts=[ast.Set(elts=[ast.Attribute() as reference])]):
                return self.evaluate(reference)  # {{_base_.x}}
            case ast.BinOp():
                return self.operate(node, node.op, self.evaluate(node.left), self.evaluate(node.right))
            case ast.UnaryOp():
                return _UNARY[type(node.op)](self.evaluate(node.operand))
            case ast.BoolOp():
                return self._any_or_all(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                return self.evaluate(node.body if self.evaluate(node.test) else node.orelse)
            case ast.Subscript():
                return self._item(node)
            case ast.Attribute(value=value, attr=name):
                owner = self.evaluate(value)
                if not isinstance(owner, dict):
                    kind = type(owner).__name__
                    self.fail(node, f"the attribute {name!r} of a {kind} is not supported, only keys of dicts are")
                return owner[name]
            case ast.Call():
                return self._call(node)
            case ast.JoinedStr(values=parts):
                return "".join(self.evaluate(part) for part in parts)
            case ast.FormattedValue():
                return self._formatted(node)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                return [self.evaluate(element) for _ in self.loops(node.generators)]
            case ast.DictComp():
                return {
                    self.key(node.key, self.evaluate(node.key)): self.evaluate(node.value)
                    for _ in self.loops(node.generators)
                }
        self.fail(node, f"the expression {type(node).__name__!r} is not supported")

    def text(self, text: str) -> str:
        """A literal, in which `{{fileDirname}}` and its kind stand for parts of the file's path."""
        self.budget.charge(len(text) // 64)
        if "{{" in text:
            for name, value in self.predefined.items():
                text = value.join(re.split(r"\{\{\s{0,9}" + name + r"\s{0,9}\}\}", text))
        return text

    def _look_up(self, node: ast.expr, name: str) -> Any:
        if name in self.names:
            return self.names[name]
        if name == "_base_":
            return self.base
        if name in _FUNCTIONS:
            self.fail(node, f"the function {name!r} can be called, but is no value")
        self.fail(node, f"the name {name!r} is not defined above this line")

    def _elements(self, nodes: list[ast.expr]) -> list[Any]:
        values: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values.extend(self.iterate(node.value))
            else:
                values.append(self.evaluate(node))
        return values

    def iterate(self, node: ast.expr) -> list[Any]:
        """The values of a list, tuple, dict (its keys), range or text, as a list."""
        return self.sequence(node, self.evaluate(node))

    def _dictionary(self, node: ast.Dict) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:
                values |= self._unpacked(value)
            else:
                values[self.key(key, self.evaluate(key))] = self.evaluate(value)
        return values

    def _unpacked(self, node: ast.expr) -> dict[Any, Any]:
        value = self.evaluate(node)
        if not isinstance(value, dict):
            self.fail(node, f"a {type(value).__name__} after `**` is no dict")
        self.budget.charge(len(value))
        return value

    def loops(self, generators: list[ast.comprehension]) -> Iterator[None]:
        """Run through the values of `for ... in ... if ...` of a comprehension, whose names are its own."""
        outer = self.names
        self.names = dict(outer)
        self.budget.charge(len(outer))
        try:
            yield from self._nested_loops(generators)
        finally:
            self.names = outer

    def _nested_loops(self, generators: list[ast.comprehension]) -> Iterator[None]:
        if not generators:
            yield
            return
        first, *others = generators
        for item in self.iterate(first.iter):
            self._assign(first.target, item)
            if all(self.evaluate(condition) for condition in first.ifs):
                yield from self._nested_loops(others)

    def _any_or_all(self, node: ast.BoolOp) -> Any:
        value = None
        for part in node.values:
            value = self.evaluate(part)
            if bool(value) == isinstance(node.op, ast.Or):
                break
        return value

    def _compare(self, node: ast.Compare) -> bool:
        left = self.evaluate(node.left)
        for op, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(right_node)
            self.budget.measure(left)
            self.budget.measure(right)
            if isinstance(op, (ast.In, ast.NotIn)) and isinstance(right, dict):
                self.key(node, left)
            if not _COMPARISONS[type(op)](left, right):
                return False
            left = right
        return True

    def operate(self, node: ast.AST, op: ast.operator, left: Any, right: Any) -> Any:
        """A binary operation on numbers, or one of the few on lists, tuples, text and dicts."""
        if isinstance(left, (int, float)) and isinstance(right, (int, float)):
            if isinstance(op, (ast.Pow, ast.LShift)) and abs(right) > 64:
                self.fail(node, "an exponent above 64 is not supported")
            return _OPERATIONS[type(op)](left, right)
        if isinstance(op, ast.Add) and type(left) is type(right) and isinstance(left, (list, tuple, str)):
            self.budget.charge(len(left) + len(right))
            return left + right
        if isinstance(op, ast.Mult):
            values, count = (right, left) if isinstance(left, int) else (left, right)
            if isinstance(values, (list, tuple, str)) and isinstance(count, int):
                self.budget.charge(len(values) * max(0, count))
                return values * count
        if isinstance(op, ast.BitOr) and isinstance(left, dict) and isinstance(right, dict):
            self.budget.charge(len(left) + len(right))
            return {**left, **right}
        kinds = f"{type(left).__name__} and {type(right).__name__}"
        self.fail(node, f"the operation {type(op).__name__!r} on {kinds} is not supported")

    def _item(self, node: ast.Subscript) -> Any:
        value = self.evaluate(node.value)
        if isinstance(node.slice, ast.Slice):
            parts = (node.slice.lower, node.slice.upper, node.slice.step)
            lower, upper, step = (self.evaluate(part) if part else None for part in parts)
            if not isinstance(value, (list, tuple, str, range)):
                self.fail(node, f"a {type(value).__name__} has no slices")
            self.budget.charge(len(value))
            return value[slice(lower, upper, step)]
        index = self.evaluate(node.slice)
        if isinstance(value, dict):
            return value[self.key(node, index)]
        if isinstance(value, (list, tuple, str, range)):
            return value[index]
        self.fail(node, f"a {type(value).__name__} has no items")

    def _formatted(self, node: ast.FormattedValue) -> str:
        specification = self.evaluate(node.format_spec) if node.format_spec else ""
        conversion = {ord("r"): "r", ord("a"): "a"}.get(node.conversion, "s" if node.conversion > 0 else "")
        return self.format_value(node, self.evaluate(node.value), conversion, specification)

    # Calls

    def _call(self, node: ast.Call) -> Any:
        match node.func:
            case ast.Name(id=name) if name in _FUNCTIONS and name not in self.names:
                args, keywords = self._arguments(node)
                return self._function(node, name, args, keywords)
            case ast.Attribute(value=owner, attr=name):
                value = self.evaluate(owner)
                method = METHODS.get((_kind(value), name))
                if method is None:
                    self.fail(node, f"the method {name!r} of a {type(value).__name__} is not supported")
                args, keywords = self._arguments(node)
                return method(self, node, value, args, keywords)
        self.fail(node, f"the call of {ast.unparse(node.func)[:60]!r} is refused, because it would run code")

    def _arguments(self, node: ast.Call) -> tuple[list[Any], dict[str, Any]]:
        keywords: dict[str, Any] = {}
        for keyword in node.keywords:
            more = (
                self._unpacked(keyword.value) if keyword.arg is None else {keyword.arg: self.evaluate(keyword.value)}
            )
            if repeated := keywords.keys() & more.keys():
                self.fail(node, f"the keyword {next(iter(repeated))!r} is given twice")
            keywords |= more
        return self._elements(node.args), keywords

    def _function(self, node: ast.Call, name: str, args: list[Any], keywords: dict[str, Any]) -> Any:
        if name == "dict":
            return self.pairs(node, args, keywords)
        if keywords:
            self.fail(node, f"keywords of {name!r} are not supported")
        if name == "range":
            return range(*args)
        if name in ("zip", "enumerate"):
            columns = [self.sequence(node, arg) for arg in args]
            return list(zip(*columns, strict=False)) if name == "zip" else list(enumerate(columns[0]))
        for position, arg in enumerate(args):
            self.budget.measure(arg)
            if isinstance(arg, str):
                self.budget.charge(len(arg))
            elif name == "str" and not isinstance(arg, SCALARS):
                self.fail(node, f"a {type(arg).__name__} as text is not supported")
            elif name == "sum" and position == 0 and not all(isinstance(item, (int, float)) for item in arg):
                self.fail(node, "sums of anything but numbers are not supported")
        return _FUNCTIONS[name](*args)


def _round(number: Any, digits: int | None = None) -> Any:
    if digits is not None and abs(digits) > _MAX_DIGITS:
        raise ValueError(f"round() to more than {_MAX_DIGITS} digits is not supported")
    return round(number, digits)


def _explain(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "this nests too deep"
    if isinstance(error, KeyError):
        return f"there is no key {error.args[0]!r:.100}" if error.args else "a key is missing"
    return f"{error}"[:200] or type(error).__name__


def _kind(value: Any) -> type | None:
    return next((kind for kind in (str, dict, list, tuple) if isinstance(value, kind)), None)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "dict": dict, "list": list, "tuple": tuple, "range": range, "len": len, "int": int, "float": float, "str": str,
    "bool": bool, "min": min, "max": max, "sum": sum, "abs": abs, "round": _round, "sorted": sorted,
    "zip": zip, "enumerate": enumerate, "reversed": lambda values: list(reversed(values)), "any": any, "all": all,
}  # fmt: skip
_OPERATIONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.LShift: operator.lshift,
    ast.RShift: operator.rshift, ast.BitOr: operator.or_, ast.BitAnd: operator.and_, ast.BitXor: operator.xor,
}  # fmt: skip
_UNARY: dict[type, Callable[[Any], Any]] = {
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_, ast.Invert: operator.invert,
}  # fmt: skip
_COMPARISONS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right, ast.NotIn: lambda left, right: left not in right,
}  # fmt: skip
