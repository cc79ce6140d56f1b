"""The notebooks of examples/ run from top to bottom; they store no outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
# Fewer of what takes long.
SMALLER = {"STEPS = 60": "STEPS = 2", "IMAGES = 48": "IMAGES = 8", "frames=20": "frames=4"}
PACKAGES = {"video_analysis": "matplotlib", "fine_tuning": "pycocotools", "evaluation": "pycocotools"}


def code_cells(path: Path) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are executed in this process, which imports torch once."""
    if path.stem in PACKAGES:
        pytest.importorskip(PACKAGES[path.stem])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for number, cell in enumerate(code_cells(path)):
        text = "".join(cell["source"])
        for written, smaller in SMALLER.items():
            text = text.replace(written, smaller)
        exec(compile(text, f"{path.name}, code cell {number}", "exec"), names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_stored(path: Path) -> None:
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code_cells(path))
