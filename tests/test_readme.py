"""README.md: every snippet of Python runs, on the models of the package under the names that it uses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import hfpose
from hfpose.hub.cache import models_dir
from hfpose.pipelines.stage import load_stage

ROOT = Path(__file__).parents[1]
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
PACKAGED = Path(hfpose.__file__).parent / "data"
NAMES = {
    "rtmpose-m_8xb256-420e_body8-256x192": "demo/pose",
    "rtmpose-m_8xb256-210e_hand5-256x256": "demo/pose",
    "rtmpose-l_8xb32-270e_coco-ubody-wholebody-384x288": "demo/pose",
    "rtmw-m_8xb1024-270e_cocktail14-256x192": "demo/pose",
    "rtmdet_m_640-8xb32_coco-person": "demo/detector",
    "rtmdet_nano_320-8xb32_hand": "demo/detector",
    "yolox_l_8xb8-300e_coco": "demo/detector",
    "yolox_tiny_8xb8-300e_humanart": "demo/detector",
    "motionbert_dstformer-ft-243frm_8xb32-120e_h36m": "demo3d",
}
# What a test does not have: a network, an accelerator, minutes for a compiler.
STAND_INS = {
    "PekingU/rtdetr_r50vd": str(PACKAGED / "demo" / "detector"),
    'device="cuda"': 'device="cpu"',
    'backend="compile"': 'backend="torch"',
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that has the packaged models under those names."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HFPOSE_CACHE", str(cache))
        folder = models_dir()
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in NAMES.items():
            shutil.copytree(PACKAGED / model, folder / name)
    return cache


@pytest.fixture
def folder(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader of the README works in."""
    monkeypatch.setenv("HFPOSE_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    scene = Image.open(PACKAGED / "scenes" / "300.jpg")
    scene.save("photo.jpg")
    writer = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 25, scene.size)
    for _ in range(2):
        writer.write(np.asarray(scene)[..., ::-1].copy())
    writer.release()
    for part, name in (("pose", "my-rtmpose"), ("detector", "my-rtmdet")):  # as conversion writes them, in float32
        stage = load_stage(PACKAGED / "demo" / part, "pose" if part == "pose" else "detector")
        stage.save_pretrained(name)
    return tmp_path


def run(snippet: str, names: dict[str, Any]) -> dict[str, Any]:
    for written, stand_in in STAND_INS.items():
        snippet = snippet.replace(written, stand_in)
    exec(compile(snippet, "README.md", "exec"), names)
    return names


def test_the_snippets_are_found() -> None:
    assert len(SNIPPETS) == 5
    for written in STAND_INS:
        assert any(written in snippet for snippet in SNIPPETS)


@pytest.mark.parametrize("index", range(len(SNIPPETS)))
def test_snippets_run(folder: Path, index: int) -> None:
    for package in ("onnxruntime", "openvino"):
        if package in SNIPPETS[index]:
            pytest.importorskip(package, reason=f"needs {package}: pip install 'hfpose[{package}]'")
    begun = {"pipeline": hfpose.pipeline}
    if "pipe(" in SNIPPETS[index] and "pipe =" not in SNIPPETS[index]:
        begun["pipe"] = hfpose.pipeline("pose-estimation", model="human")
    names = run(SNIPPETS[index], begun)
    if "people" in names:
        assert len(names["people"]) > 0


def test_vitpose_alone(tmp_path: Path) -> None:
    hfpose.ViTPoseImageProcessor().save_pretrained(tmp_path)
    processor = hfpose.ViTPoseImageProcessor.from_pretrained(tmp_path)
    image = np.zeros((60, 80, 3), np.uint8)
    assert processor(image, boxes=[[[5, 5, 40, 50]]], return_tensors="pt")["pixel_values"].shape == (1, 3, 256, 192)
