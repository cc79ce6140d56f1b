"""docs/mmpose.md names a test for each argument, and the tests are there."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields
from pathlib import Path

from hfpose.compat import mmpose
from hfpose.compat.mmpose.call_options import CallOptions

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "mmpose.md").read_text(encoding="utf-8")


def table(heading: str) -> dict[str, str]:
    """First and last column of the table below a heading, without their backquotes."""
    part = TEXT.split(f"\n### {heading}\n")[1].split("\n#")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    return {row[0].strip("`"): row[-1].strip("`") for row in rows}


def test_every_argument_has_a_test_that_exists():
    constructor = set(inspect.signature(mmpose.MMPoseInferencer).parameters)
    call = {field.name for field in fields(CallOptions)}
    assert set(table("Of the constructor")) == constructor
    assert set(table("Of a call")) == call
    written = set(re.findall(r"^def (test_\w+)", (ROOT / "tests/compat/test_inferencers.py").read_text(), re.M))
    named = [*table("Of the constructor").values(), *table("Of a call").values(), "test_2d_drawing_arguments_in_3d"]
    assert not set(named) - written


def test_every_name_is_there():
    for name in re.findall(r"^\| `mmpose.*$", TEXT, re.M):
        for each in re.findall(r"`([A-Za-z_0-9]+)`", name.split(" | ")[0]):
            if each not in ("build",):
                assert hasattr(mmpose, each), each
    assert all(hasattr(mmpose, name) for name in mmpose.__all__)


def test_the_test_of_the_command_line_is_there():
    path, name = re.search(r"`(tests/cli/\w+\.py)::(test_\w+)`", TEXT).groups()
    assert f"def {name}(" in (ROOT / path).read_text()
