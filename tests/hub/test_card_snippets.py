"""The snippets of all model cards, run as they stand against a hub that has small models under the zoo's names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hfpose.hub.cards import entry_card
from hfpose.hub.zoo import TASKS, ModelEntry, find_entry, list_entries
from hub_server import USER, HubServer
from processes import run_python
from small_zoo import FOUND_CLASSES, SETTINGS, save_small_model, write_photo, write_video

CARDS = Path(__file__).resolve().parents[2] / "model_cards"


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def kept_card(entry: ModelEntry) -> str:
    return (CARDS / f"{entry.name}.md").read_text()


# One of each family that there are small models of: the snippets of the others differ in names alone.
ENTRIES = list({e.family: e for e in reversed(list_entries()) if e.supported and e.family in SETTINGS}.values())
# Of those the first with each snippet, but for names and numbers.
KINDS = list({re.sub(r'"[^"]+"|\d+', "", snippets(kept_card(e))[0]): e for e in reversed(ENTRIES)}.values())
DETECTORS = [entry for entry in ENTRIES if entry.task == "detector"]
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


@dataclass
class Hub:
    """A hub with a small model of each name that is asked for, and a folder to run snippets in."""

    server: HubServer
    folder: Path

    def publish(self, codes: Iterable[str]) -> None:
        """Have small models under the names of the zoo that snippets quote, and under those of their detectors."""
        quoted = {name.removeprefix(f"{USER}/") for code in codes for name in re.findall(r'"([^"]+)"', code)}
        named = [found for name in sorted(quoted) for task in TASKS if (found := find_entry(name, task))]
        for name, part in {part.name: part for entry in named for part in (entry, *entry.companions())}.items():
            folder = self.folder / "models" / name
            if not folder.exists():
                self.server.publish_folder(f"{USER}/{name}", save_small_model(part, folder))

    def run(self, codes: dict[str, str]) -> dict[str, dict[str, Any]]:
        """What came of each snippet, all in one fresh process that has the zoo's names mean this hub's models."""
        self.publish(codes.values())
        (self.folder / "snippets.json").write_text(json.dumps(codes))
        environment = {
            **self.server.environment(self.folder / "home"),
            "HFPOSE_CACHE": str(self.folder / "cache"),
            "HFPOSE_CHECKPOINT_ENDPOINT": self.server.url,  # which has no checkpoints
            "HFPOSE_NAMESPACE": USER,
        }
        run_python(RUN, self.folder, environment)
        assert not [request.path for request in self.server.requests if request.path.endswith(".pth")]
        return json.loads((self.folder / "answers.json").read_text())  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("snippets")
    write_photo(folder / "photo.jpg")
    write_video(folder / "video.mp4", FRAMES)
    with HubServer(folder / "hub") as server:
        yield Hub(server, folder)


@pytest.fixture(scope="module")
def kept(hub: Hub) -> dict[str, dict[str, Any]]:
    """Answers by model to the snippets of cards in the repository."""
    return hub.run({entry.name: snippets(kept_card(entry))[0] for entry in KINDS})


@pytest.fixture(scope="module")
def pushed(hub: Hub) -> dict[str, dict[str, Any]]:
    """Answers by model to the first snippets of the cards that are pushed, which name a repository."""
    return hub.run({entry.name: snippets(pushed_card(entry))[0] for entry in ENTRIES})


@pytest.fixture(scope="module")
def alone(hub: Hub) -> dict[str, dict[str, Any]]:
    """Answers by model to the second snippets of the detectors' pushed cards, which need transformers alone."""
    return hub.run({entry.name: snippets(pushed_card(entry))[1] for entry in DETECTORS})


def pushed_card(entry: ModelEntry) -> str:
    return entry_card(entry, f"{USER}/{entry.name}").content


def check(entry: ModelEntry, code: str, answer: dict[str, Any]) -> None:
    """Whether a snippet found something, of the shapes that its own comments state."""
    assert "error" not in answer, answer["error"]
    found = answer["shapes"]["keypoints"][0]
    assert found >= 1
    assert answer["finite"]
    stated = re.findall(r"result\.(\w+)  # \(N, ([\d, ]+)\)", code)
    assert stated
    for key, sizes in stated:
        assert answer["shapes"][key] == [found, *map(int, sizes.split(", "))], key
    if entry.task != "detector":
        assert answer["schema"] == entry.schema
    if "video.mp4" in code:
        assert answer["frame_index"] == FRAMES - 1


@pytest.mark.parametrize("entry", KINDS, ids=lambda entry: entry.name)
def test_snippet_of_each_card_finds_what_it_says(kept: dict[str, dict[str, Any]], entry: ModelEntry) -> None:
    (code,) = snippets(kept_card(entry))
    check(entry, code, kept[entry.name])


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_snippet_of_each_pushed_card_finds_what_it_says(pushed: dict[str, dict[str, Any]], entry: ModelEntry) -> None:
    code, *rest = snippets(pushed_card(entry))
    assert len(rest) == (entry.task == "detector")
    check(entry, code, pushed[entry.name])


@pytest.mark.parametrize("entry", DETECTORS, ids=lambda entry: entry.name)
def test_detectors_work_in_the_pipeline_of_transformers(alone: dict[str, dict[str, Any]], entry: ModelEntry) -> None:
    answer = alone[entry.name]
    assert "error" not in answer, answer["error"]
    assert entry.labels[0] in answer["labels"]
    assert set(answer["labels"]) <= {entry.labels[index] for index in FOUND_CLASSES if index < len(entry.labels)}
