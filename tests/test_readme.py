"""README.md and docs/: every snippet of Python runs, on the models of the package under the names that it uses, and
every command has the options that are there.

A snippet that cannot run has a line before it that says why: `<!-- not run: needs a camera -->`.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import typer
from PIL import Image

import hfpose
from clips import write_frames
from hfpose.cli import app
from hfpose.hub.cache import models_dir
from hfpose.pipelines.stage import load_stage

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"(?:^<!-- not run: ([^>]+) -->\n)?^```(\w*)\n(.*?)^```", re.M | re.S)


class Snippet(NamedTuple):
    """A fenced block: its page and place there, language, text, and why it is not run."""

    page: str
    index: int
    language: str
    text: str
    reason: str


def snippets() -> Iterator[Snippet]:
    for page in PAGES:
        for index, (reason, language, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            yield Snippet(page.name, index, language, text, reason)


ALL_SNIPPETS = list(snippets())
SNIPPETS = [snippet for snippet in ALL_SNIPPETS if snippet.language == "python"]
COMMANDS = sorted(
    {
        line.partition(" #")[0].strip()
        for snippet in ALL_SNIPPETS
        if snippet.language in ("", "console") and not snippet.reason
        for line in snippet.text.splitlines()
        if line.startswith("hfpose ")
    }
)
PACKAGED = Path(hfpose.__file__).parent / "data"
NAMES = {
    "rtmpose-m_8xb256-420e_body8-256x192": "demo/pose",
    "rtmpose-m_8xb256-210e_hand5-256x256": "demo/pose",
    "rtmpose-l_8xb32-270e_coco-ubody-wholebody-384x288": "demo/pose",
    "rtmw-m_8xb1024-270e_cocktail14-256x192": "demo/pose",
    "rtmdet_m_640-8xb32_coco-person": "demo/detector",
    "rtmdet_nano_320-8xb32_hand": "demo/detector",
    "yolox_l_8xb8-300e_coco": "demo/detector",
    "rtmpose-m_8xb64-210e_ap10k-256x256": "demo/pose",
    "rtmpose-s_8xb256-420e_body8-256x192": "demo/pose",
    "yolox_m_8xb8-300e_humanart": "demo/detector",
    "yolox_tiny_8xb8-300e_humanart": "demo/detector",
    "motionbert_dstformer-ft-243frm_8xb32-120e_h36m": "demo3d",
}
# What a test does not have: a network, an accelerator, minutes for a compiler.
STAND_INS = {
    "PekingU/rtdetr_r50vd": str(PACKAGED / "demo" / "detector"),
    'device="cuda"': 'device="cpu"',
    'backend="compile"': 'backend="torch"',
    '"human", backend=': '"human", detector="whole_image", backend=',  # one graph to write, not two
    'model="rtmo-s"': 'model="human"',
    'model="animal"': 'model="animal", detector="whole_image"',  # the packaged detector knows people alone
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


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with models of a user, in float32 as conversion writes them."""
    folder = tmp_path_factory.mktemp("converted")
    for kind, name in (("pose", "my-rtmpose"), ("detector", "my-rtmdet")):
        load_stage(PACKAGED / "demo" / kind, kind).save_pretrained(folder / name)
    return folder


@pytest.fixture
def folder(cache: Path, converted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader of the README works in."""
    monkeypatch.setenv("HFPOSE_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    scene = Image.open(PACKAGED / "scenes" / "300.jpg")
    scene.save("photo.jpg")
    Path("photos").mkdir()
    scene.save("photos/photo.jpg")
    write_frames("clip.mp4", [np.asarray(scene)] * 2)
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)
    return tmp_path


def run(snippet: Snippet, names: dict[str, Any]) -> dict[str, Any]:
    text = snippet.text
    for written, stand_in in STAND_INS.items():
        text = text.replace(written, stand_in)
    exec(compile(text, snippet.page, "exec"), names)
    return names


def test_the_snippets_are_found() -> None:
    assert sum(snippet.page == "README.md" for snippet in SNIPPETS) >= 2
    for written in STAND_INS:
        assert any(written in snippet.text for snippet in SNIPPETS)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: f"{snippet.page}-{snippet.index}")
def test_snippets_run(folder: Path, snippet: Snippet) -> None:
    if snippet.reason:
        pytest.skip(snippet.reason)
    for package, extra in (("onnxruntime", "onnx"), ("openvino", "openvino"), ("supervision", "tracking")):
        if package in snippet.text:
            pytest.importorskip(package, reason=f"needs {package}: pip install 'hfpose[{extra}]'")
    begun = {"pipeline": hfpose.pipeline}
    if "pipe(" in snippet.text and "pipe =" not in snippet.text:
        begun["pipe"] = hfpose.pipeline("pose-estimation", model="human")
    names = run(snippet, begun)
    if "people" in names:
        assert len(names["people"]) > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command: str) -> None:
    """The command is there and has the options that a page gives it."""
    group = typer.main.get_command(app)
    name, *arguments = shlex.split(command.partition("|")[0].removesuffix("...").strip())[1:]
    command_of_name = group.commands[name]  # type: ignore[attr-defined]
    command_of_name.make_context(name, arguments, resilient_parsing=False)


def test_vitpose_alone(tmp_path: Path) -> None:
    hfpose.ViTPoseImageProcessor().save_pretrained(tmp_path)
    processor = hfpose.ViTPoseImageProcessor.from_pretrained(tmp_path)
    image = np.zeros((60, 80, 3), np.uint8)
    assert processor(image, boxes=[[[5, 5, 40, 50]]], return_tensors="pt")["pixel_values"].shape == (1, 3, 256, 192)
