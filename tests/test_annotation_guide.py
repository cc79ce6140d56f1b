"""docs/annotations.md: its snippet of supervision runs."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from hfpose.hub.resolve import PACKAGED_SCENES
from hfpose.media.images import load_image

pytest.importorskip("supervision")


def test_supervision_draws_results(tmp_path, monkeypatch):
    guide = (Path(__file__).parents[1] / "docs/annotations.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S)
    shutil.copy(PACKAGED_SCENES / "300.jpg", tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(snippet.replace('model="human"', 'model="demo", device="cpu"'), names)
    assert np.abs(names["drawn"].astype(int) - load_image("photo.jpg")).mean() > 1
