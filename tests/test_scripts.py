"""Every script of the repository starts: its imports are there, and `--help` says what it is for."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "conversion", "examples", "tools")
SCRIPTS = [
    str(path.relative_to(ROOT))
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]
OPTIONAL = {"datasets", "matplotlib", "plotly", "ray", "openvino"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_start(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """They run in this process, which imports torch once."""
    path = ROOT / script
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.syspath_prepend(path.parent)
    try:
        runpy.run_path(str(path), run_name="__main__")
    except ModuleNotFoundError as error:
        if error.name in OPTIONAL:
            pytest.skip(f"{error.name} is not installed")
        raise
    except SystemExit as end:
        assert not end.code
    assert "--help" in capsys.readouterr().out


def test_tests_of_the_renderer_can_be_imported() -> None:
    """They run apart from the others."""
    for path in (ROOT / "tools" / "rendered_people" / "tests").glob("test_*.py"):
        runpy.run_path(str(path), run_name=path.stem)
