"""Config files of MMPose and MMDetection (mmengine's Python style), parsed and never run.

Inheritance follows mmengine's `Config` (mmengine/config/config.py): `_base_` files are read first, dicts of the file
are merged into theirs, everything else replaces what they have.
"""

from __future__ import annotations

import ast
import os
import re
import warnings
from pathlib import Path
from typing import Any

from hfpose.checkpoints.config_evaluator import Evaluator
from hfpose.checkpoints.config_values import HOW_TO_FLATTEN, BaseDict, Budget, to_plain
from hfpose.errors import ConfigError
from hfpose.hub.zoo import ModelEntry, find_entry

_MAX_FILE_SIZE = 2**20
_MAX_INHERITANCE = 20
_WORK_PER_FILE = 1000
# Bases inside of every installed package that say how to train, log and augment, nothing about the model.
_RUNTIME = re.compile(r"(\w+)::(?:[\w./-]*/)?(?:default_runtime|schedule_\w+|\w+_tta)\.py")
# What the zoo keeps beside the settings of a model.
_NOT_OF_THE_MODEL = ("test_pipeline", "classes", "input_size_wh")
# {{$NAME:default}}, with or without quotes around the inner part, stands for an environment variable.
_ENVIRONMENT = re.compile(r"\{\{['\"]?\s{0,9}\$(\w{1,99})\s{0,9}:\s{0,9}(\S{0,999}?)\s{0,9}['\"]?\}\}")


def read_reference_config(path: str | Path) -> dict[str, Any]:
    """Read the variables of a config file and of the files that it inherits from.

    Variables that a config takes from the environment (`{{$NAME:default}}`) get their defaults: the same file always
    gives the same model, and nothing of the machine gets into it. A `_base_` inside of an installed
    package (`mmdet::...`) is known where it is a model of the zoo, or says how to train, as
    `...::_base_/default_runtime.py`.

    Args:
        path: a `.py` file. Files named by `_base_` are looked up from its folder.

    Returns:
        The top-level variables, as dict, list, tuple, text, numbers, True, False and None.

    Raises:
        ConfigError: names the file and line that needs more than parsing, or the file that is missing.
    """
    path = Path(path)
    try:
        return to_plain(_read_file(path, f"the config {str(path)!r}", (), Budget()))
    except (OverflowError, RecursionError) as error:
        raise ConfigError(f"{path}: a variable contains itself, or the config nests or repeats too much.") from error


def reference_variables(model: str | Path) -> dict[str, Any]:
    """The variables of the config that a model is named by: of the file, or as far as the zoo has them; none for
    others.

    Raises:
        ConfigError: as `read_reference_config` does.
    """
    if Path(model).suffix == ".py" and Path(model).is_file():
        return read_reference_config(model)
    entry = find_entry(str(model), "pose") or find_entry(str(model))
    return {} if entry is None else _variables_of(entry)


def _read_file(path: Path, named: str, children: tuple[Path, ...], budget: Budget) -> dict[str, Any]:
    """Variables of a file merged into those of its bases.

    `named` is the file in the words of an error, `children` are the files that led here.
    """
    tree = _parse(path, named, budget)
    own = [statement for statement in tree.body if not _sets_base(statement)]
    evaluator = Evaluator(path, BaseDict(), _predefined(path), budget)
    chain = (*children, Path(os.path.normpath(path.absolute())))
    line, base_paths = _base_paths(path, tree, evaluator, budget)
    for base_path in base_paths:
        if base_path in chain or len(chain) > _MAX_INHERITANCE:
            raise ConfigError(f"{path}:{line}: `_base_` leads in a circle or through too many files, at {base_path}.")
        base = _read_file(base_path, f"the base config {str(base_path)!r} of {path}:{line}", chain, budget)
        if repeated := sorted(evaluator.base.keys() & base.keys()):
            raise ConfigError(
                f"{path}:{line}: several files of `_base_` set {', '.join(map(repr, repeated))}. Keep one of them."
            )
        dict.update(evaluator.base, _from_base(base, budget))
    evaluator.run(own)
    variables = {name: value for name, value in evaluator.names.items() if not name.startswith("__")}
    variables.pop("_deprecation_", None)
    lines = {name: f"{path}:{line}" for name, line in evaluator.lines.items()}
    budget.measure(variables)
    budget.measure(evaluator.base)
    return _merged(variables, evaluator.base, lines)


def _parse(path: Path, named: str, budget: Budget) -> ast.Module:
    if path.suffix != ".py":
        raise ConfigError(f"Expected a Python file (.py), got {named}. {HOW_TO_FLATTEN}")
    try:
        if not path.is_file():
            raise ConfigError(
                f"There is no file for {named}. Correct the path, keep a config in the folders of its project so that "
                "its `_base_` is found, or give one that stands alone (mmengine's `Config.fromfile(...).dump(...)` "
                "writes it)."
            )
        if path.stat().st_size > _MAX_FILE_SIZE:
            raise ConfigError(f"Expected a config file, but {named} has more than {_MAX_FILE_SIZE:,} bytes.")
        text = path.read_text(encoding="utf-8-sig")
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a path with a null character
        raise ConfigError(f"Cannot read {named}: {error}.") from error
    budget.charge(_WORK_PER_FILE)
    text = _with_defaults(text, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an unknown escape in a text of the config
            return ast.parse(text)
    except SyntaxError as error:
        raise ConfigError(f"{path}:{error.lineno or 1}: this is not valid Python ({error.msg}).") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(f"{path}: this is not valid Python, or nests too deep.") from error


def _with_defaults(text: str, path: Path) -> str:
    def default(match: re.Match) -> str:
        if not match[2]:
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigError(
                f"{path}:{line}: the environment variable {match[1]!r} has no default; write its value here."
            )
        return match[2]

    return _ENVIRONMENT.sub(default, text)


def _predefined(path: Path) -> dict[str, str]:
    absolute = path.absolute()
    return {
        "fileDirname": absolute.parent.as_posix(),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }


def _sets_base(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assign) and any(
        isinstance(target, ast.Name) and target.id == "_base_" for target in statement.targets
    )


def _base_paths(path: Path, tree: ast.Module, evaluator: Evaluator, budget: Budget) -> tuple[int, list[Path]]:
    """Line of `_base_`, and the files that it names."""
    statements = [statement for statement in tree.body if isinstance(statement, ast.Assign) and _sets_base(statement)]
    if not statements:
        return 1, []
    value = evaluator.evaluate(statements[0].value)
    names = value if isinstance(value, (list, tuple)) else [value]
    if len(statements) > 1 or not all(isinstance(name, str) for name in names):
        evaluator.fail(statements[-1], "`_base_` has to be one path or one list of paths, set once")
    for name in names:
        if runtime := _RUNTIME.fullmatch(name):
            evaluator.base |= BaseDict(default_scope=runtime[1])
            if runtime[1] == "mmpose":  # MMDetection's configs of data sets set it instead
                evaluator.base |= BaseDict(backend_args=BaseDict(backend="local"))
        elif "::" in name:
            entry = find_entry(name.rpartition("::")[2])
            if entry is None:
                evaluator.fail(
                    statements[0],
                    f"the base {name!r} is a config inside of an installed package that the zoo does not know; give "
                    "its path",
                )
            evaluator.base |= _from_base(_variables_of(entry), budget)
    folder = path.absolute().parent
    return statements[0].lineno, [Path(os.path.normpath(folder / name)) for name in names if "::" not in name]


def _variables_of(entry: ModelEntry) -> dict[str, Any]:
    """What the config of a zoo model says of the model and of its test data."""
    model = {key: value for key, value in entry.reference.items() if key not in _NOT_OF_THE_MODEL}
    pipeline = entry.reference.get("test_pipeline") or []
    dataset: dict[str, Any] = {"pipeline": pipeline}
    if entry.schema is not None:
        dataset["metainfo"] = {"from_file": f"configs/_base_/datasets/{entry.schema}.py"}
    loader = {"dataset": dataset}
    codec = (model.get("head") or {}).get("decoder")
    named = {} if codec is None else {"codec": codec}
    return {"model": model, "test_pipeline": pipeline, "test_dataloader": loader, "val_dataloader": loader, **named}


def _from_base(value: Any, budget: Budget) -> Any:
    """A copy of a base's variable with all dicts as `BaseDict`s."""
    budget.charge(1)
    if isinstance(value, dict):
        return BaseDict({key: _from_base(item, budget) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_from_base(item, budget) for item in value)
    return value


def _merged(child: dict[str, Any], base: dict[str, Any], lines: dict[str, str]) -> dict[str, Any]:
    """`child` merged into `base` as in mmengine: dicts into dicts, unless they say `_delete_=True`; all else replaces.

    `lines` says where each variable of the child was set, for errors.
    """
    merged = dict(base)
    for key, value in child.items():
        if not isinstance(value, dict):
            merged[key] = value
            continue
        value = dict(value)
        if value.pop("_delete_", False) or key not in base:
            merged[key] = value
        elif isinstance(base[key], dict):
            merged[key] = _merged(value, base[key], {inner: lines.get(key, "") for inner in value})
        else:
            raise ConfigError(
                f"{lines.get(key, '')}: {key!r} is a dict here but a {type(base[key]).__name__} in the base config. "
                "Add `_delete_=True` to the dict to replace the base's value."
            )
    return merged
