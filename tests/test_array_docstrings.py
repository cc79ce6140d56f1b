"""Docstrings of public functions that take or give arrays name their shapes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "hfpose"

ARRAY = re.compile(r"\b(Tensor|ndarray)\b")
# (N, K, 2), (B,), (..., 4), (h * w, 2), (), or words that say where the shape stands.
SIDE = r"(?:\.\.\.|\w+(?: [*+/-] \w+)*)"
SHAPE = re.compile(rf"\({SIDE},(?: {SIDE})?(?:, {SIDE})*\)|\(\)|[Ss]ee `|\bas in `|any shape|\bscalar\b")


@cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}


@cache
def classes_by_name() -> dict[str, ast.ClassDef]:
    return {node.name: node for tree in trees().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}


def annotations(function: ast.FunctionDef) -> list[str]:
    """Annotations of the parameters and, last, of the result."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    nodes = [*(each.annotation for each in parameters), function.returns]
    return [ast.unparse(node) for node in nodes if node is not None]


def names_shape(node: ast.FunctionDef | ast.ClassDef | None) -> bool:
    return node is not None and SHAPE.search(ast.get_docstring(node) or "") is not None


def definitions(owner: ast.ClassDef, name: str) -> Iterator[ast.FunctionDef]:
    """A method of a class, and those of the package's classes that it replaces."""
    yield from (node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name)
    for base in (ast.unparse(base).split("[")[0].rpartition(".")[2] for base in owner.bases):
        if base in classes_by_name():
            yield from definitions(classes_by_name()[base], name)


def is_explained(function: ast.FunctionDef, owner: ast.ClassDef | None) -> bool:
    """Whether the function names shapes, or the class of its result, the method it replaces, or the class it calls."""
    if names_shape(function) or names_shape(classes_by_name().get(annotations(function)[-1])):
        return True
    if owner is None:
        return False
    is_call = function.name in ("forward", "__call__", "__init__")
    return any(map(names_shape, definitions(owner, function.name))) or (is_call and names_shape(owner))


def is_exempt(function: ast.FunctionDef) -> bool:
    """Layers from one tensor to another, whose shapes are those of torch's layers; and tensors by name, of all
    shapes."""
    is_layer = function.name == "forward" and annotations(function) == ["Tensor", "Tensor"]
    return is_layer or "state_dict" in {each.arg for each in function.args.args}


def without_shapes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of the public functions and methods with arrays whose shapes no docstring names."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for owner, body in ((None, tree.body), *((each, each.body) for each in classes)):
        for node in body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or is_exempt(node):
                continue
            if any(map(ARRAY.search, annotations(node))) and not is_explained(node, owner):
                yield node.lineno, node.name


def test_docstrings_name_the_shapes_of_arrays():
    found = [
        f"{path.relative_to(SOURCE)}:{line} {name}"
        for path, tree in trees().items()
        for line, name in without_shapes(tree)
    ]
    assert found == []
