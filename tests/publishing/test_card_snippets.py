"""The snippets of all model cards, run as they stand against a hub that has small models under the zoo's names."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfpose.publishing.cards import entry_card
from hfpose.zoo import ModelEntry, list_entries
from hub_server import USER, HubServer
from small_models import FOUND_CLASSES, save_small_model, write_photo, write_video

CARDS = Path(__file__).resolve().parents[2] / "model_cards"
ENTRIES = [entry for entry in list_entries() if entry.supported]
FRAMES = 3

# Runs each snippet in a namespace of its own, and writes down what it was left with.
RUN = """
import ast, json, sys, traceback

def run(code):
    tree, names = ast.parse(code), {}
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "snippet", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "snippet", "eval"), names) if last else None
    if "result" not in names:
        return {"labels": [found["label"] for found in value]}
    result = names["result"]
    shapes = {key: list(result[key].shape) for key in ("keypoints", "keypoint_scores", "boxes")}
    return {"shapes": shapes, "schema": result.schema.name, "finite": bool((result.keypoints ** 2).sum() >= 0),
            "frame_index": result.frame_index}

answers = {}
for name, code in json.load(open("snippets.json")).items():
    try:
        answers[name] = run(code)
    except Exception:
        answers[name] = {"error": traceback.format_exc()}
json.dump(answers, open("answers.json", "w"))
"""


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What came of each snippet, by card and number."""
    folder = tmp_path_factory.mktemp("snippets")
    write_photo(folder / "photo.jpg")
    write_video(folder / "video.mp4", FRAMES)
    codes: dict[str, str] = {}
    with HubServer(folder / "hub") as server:
        for entry in ENTRIES:
            repo_id = f"{USER}/{entry.name}"
            files = save_small_model(entry, folder / "models" / entry.name)
            server.publish_folder(repo_id, files)
            kept, pushed = (CARDS / f"{entry.name}.md").read_text(), entry_card(entry, repo_id).content
            for place, card in (("kept", kept), ("pushed", pushed)):
                codes |= {f"{place} {entry.name} {index}": code for index, code in enumerate(snippets(card))}
        (folder / "snippets.json").write_text(json.dumps(codes))
        environment = {
            **os.environ,
            **server.environment(folder / "home"),
            "HFPOSE_CACHE": str(folder / "cache"),
            "HFPOSE_CHECKPOINT_ENDPOINT": server.url,  # which has no checkpoints
            "HFPOSE_NAMESPACE": USER,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        done = subprocess.run(
            [sys.executable, "-c", RUN], env=environment, capture_output=True, text=True, timeout=600, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        assert not [request.path for request in server.requests if request.path.endswith(".pth")]
    return json.loads((folder / "answers.json").read_text())  # type: ignore[no-any-return]


def answers_of(answers: dict[str, dict[str, Any]], place: str, entry: ModelEntry) -> list[dict[str, Any]]:
    found = [answer for key, answer in answers.items() if key.split()[:2] == [place, entry.name]]
    for answer in found:
        assert "error" not in answer, answer["error"]
    return found


@pytest.mark.parametrize("place", ["kept", "pushed"])
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_snippets_find_what_the_card_says(
    answers: dict[str, dict[str, Any]], entry: ModelEntry, place: str
) -> None:
    posed, *alone = answers_of(answers, place, entry)
    shapes = posed["shapes"]
    found = shapes["keypoints"][0]
    assert found >= 1
    assert posed["finite"]
    card = (CARDS / f"{entry.name}.md").read_text()
    stated = re.findall(r"result\.(\w+)  # \(N, ([\d, ]+)\)", snippets(card)[0])
    stated += [(key, "") for key in re.findall(r"result\.(\w+)  # \(N\)", card)]
    assert stated
    for key, sizes in stated:
        assert shapes[key] == [found, *map(int, sizes.split(", "))], key
    if entry.task != "detector":
        assert posed["schema"] == entry.schema
    if "video.mp4" in card:
        assert posed["frame_index"] == FRAMES - 1
    assert len(alone) == (entry.task == "detector" and place == "pushed")
    for answer in alone:
        expected = {entry.labels[index] for index in FOUND_CLASSES if index < len(entry.labels)}
        assert entry.labels[0] in answer["labels"]
        assert set(answer["labels"]) <= expected
