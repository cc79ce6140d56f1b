"""The order of the rooms of the package: what imports what, and how large files are."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"

# From top to bottom: a file imports from its own floor and from those below.
FLOORS = (
    ("hfpose", "__main__", "cli", "app"),
    ("compat", "distributed", "training", "evaluation", "export"),
    ("pipelines",),
    ("backends",),
    ("models", "checkpoints"),
    ("hub",),
    ("tracking", "media", "visualization", "annotations"),
    ("results", "keypoints", "ops"),
    ("errors", "version"),
)
HEIGHT = {room: -floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# A result draws itself, by what draws results.
EXCEPTION = ("hfpose.results", "hfpose.visualization.drawn_results")

MAX_LINES = 500


def module_name(path: Path) -> str:
    """Dotted name of a file below `src`."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def room(module: str) -> str:
    """`media` of `hfpose.media.video`."""
    return module.split(".")[1] if "." in module else module


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All parts of a file, read once for all tests; the first is its module."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imported_names(path: Path, for_types: bool = True) -> Iterator[tuple[str, int]]:
    """Dotted names that a file imports, inside functions too, each with its line.

    Args:
        path: of the file.
        for_types: whether those count that only type checkers read.
    """
    unread = {
        node
        for block in nodes(path)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" and not for_types
        for node in ast.walk(block)
    }
    for node in nodes(path):
        if not isinstance(node, (ast.Import, ast.ImportFrom)) or node in unread:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        else:
            assert node.level == 0, f"{path}:{node.lineno} imports by a relative name"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@cache
def arrows(module: str, for_types: bool = True) -> dict[str, int]:
    """The modules of the package that one of them imports, each with the line."""
    found: dict[str, int] = {}
    for name, line in imported_names(FILES[module], for_types):
        target = name if name in FILES else name.rpartition(".")[0]
        if target in FILES and target != module and (module, target) != EXCEPTION:
            found.setdefault(target, line)
    return found


def circle_from(start: str) -> list[str] | None:
    """The shortest chain of imports that leads from a module back to it."""
    paths, seen = [[start]], {start}
    for path in paths:
        for target in arrows(path[-1], for_types=False):
            if target == start:
                return [*path, start]
            if target not in seen:
                seen.add(target)
                paths.append([*path, target])
    return None


def test_every_file_is_on_a_floor():
    assert {room(module) for module in FILES} <= HEIGHT.keys()


def test_arrows_point_down_only():
    up = [
        f"{FILES[module].relative_to(ROOT)}:{line} imports {target}"
        for module in FILES
        for target, line in arrows(module).items()
        if HEIGHT[room(target)] > HEIGHT[room(module)]
    ]
    assert up == []


def test_types_are_checked_for_the_oldest_python_that_is_promised():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = settings["tool"]["mypy"]["python_version"]  # mypy names what this version of the standard library lacks
    assert settings["project"]["requires-python"] == f">={oldest}"
    assert f'python: ["{oldest}", ' in (ROOT / ".github/workflows/tests.yml").read_text(encoding="utf-8")
    assert f"Python {oldest} and above" in (ROOT / "docs/index.md").read_text(encoding="utf-8")


def test_no_file_is_part_of_a_circle():
    circles = filter(None, map(circle_from, FILES))
    assert [" -> ".join(circle) for circle in circles] == []


def test_nothing_imports_the_command_line():
    found = [
        module
        for module in FILES
        if room(module) not in ("cli", "__main__") and any(room(target) == "cli" for target in arrows(module))
    ]
    assert found == []


@pytest.mark.parametrize("folder", ["tools", "conversion", "benchmarks", "tests"])
def test_nothing_installed_imports_what_is_not(folder):
    """Neither the folder's packages nor its scripts, which lie on the path of the tests."""
    outside = {path.stem for path in (ROOT / folder).rglob("*.py")} | {folder, "rendered_people"}
    outside -= {"__init__", "conftest"}
    found = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in FILES.values()
        for name, line in imported_names(path)
        if name.split(".")[0] in outside and not name.startswith("hfpose")
    ]
    assert found == []


def test_files_are_short():
    others = (
        path for folder in ("tools", "conversion", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
    )
    paths = (*FILES.values(), *others)
    long = {str(path.relative_to(ROOT)): lines for path in paths if (lines := count_lines(path)) > MAX_LINES}
    assert long == {}


def test_names_of_files_say_what_is_in_them():
    """Two files of the same name do not: in a search, a stack trace or a tab they are the same."""
    counts = Counter(path.name for path in FILES.values() if path.name != "__init__.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_the_library_logs_and_does_not_print():
    """What a command prints is its result; a library that prints spoils the output of the program that uses it."""
    printing = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for module, path in FILES.items()
        if room(module) != "cli"
        for node in nodes(path)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    ]
    assert printing == []


def is_private(path: Path) -> bool:
    return any(part.startswith("_") and part != "__init__.py" for part in path.parts)


def documented_methods(classes: Iterable[ast.ClassDef]) -> set[str]:
    """Names of the methods that protocols of the package explain for all that have them."""
    protocols = (each for each in classes if any("Protocol" in ast.unparse(base) for base in each.bases))
    return {
        method.name
        for protocol in protocols
        for method in protocol.body
        if isinstance(method, ast.FunctionDef) and ast.get_docstring(method)
    }


def test_what_is_public_has_a_docstring():
    """Methods of a protocol, and those that another class of the package or a library has first, are explained
    there."""
    public = [path for path in FILES.values() if not is_private(path)]
    classes = {node.name: node for path in public for node in nodes(path) if isinstance(node, ast.ClassDef)}
    explained = documented_methods(classes.values())

    def is_inherited(owner: ast.ClassDef, name: str) -> bool:
        for base in (ast.unparse(base).split("[")[0].rpartition(".")[2] for base in owner.bases):
            if base not in classes:
                if base not in ("Protocol", "Generic", "ABC", "NamedTuple"):
                    return True
            elif any(
                getattr(node, "name", "") == name and ast.get_docstring(node) for node in classes[base].body
            ) or is_inherited(classes[base], name):
                return True
        return False

    def missing(body: list[ast.stmt], owner: ast.ClassDef | None = None) -> Iterator[tuple[str, int]]:
        for node in body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            is_explained = owner is not None and (node.name in explained or is_inherited(owner, node.name))
            is_setter = any(ast.unparse(each).endswith(".setter") for each in node.decorator_list)
            if not (ast.get_docstring(node) or is_explained or is_setter):
                yield node.name, node.lineno
            if isinstance(node, ast.ClassDef):
                yield from missing(node.body, node)

    found = [
        f"{path.relative_to(ROOT)}:{line} {name}" for path in public for name, line in missing(nodes(path)[0].body)
    ]
    assert found == []


def count_lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
