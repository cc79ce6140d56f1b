"""Whatever way a model goes to the Hub, its card goes with it, to the same branch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard, ModelCardData

from small_models import small_model

REPO = "someone/my-model"


class RecordedHub:
    """Stands in for the Hub's client: remembers branches and commits with the text of their cards."""

    def __init__(self) -> None:
        self.branches: list[str] = []
        self.commits: list[dict[str, Any]] = []

    def create_repo(self, repo_id: str, **options: Any) -> Any:
        return SimpleNamespace(repo_id=repo_id)

    def create_branch(self, repo_id: str, branch: str, **options: Any) -> None:
        self.branches.append(branch)

    def create_commit(self, repo_id: str, operations: list[Any], **options: Any) -> None:
        files = {operation.path_in_repo: Path(operation.path_or_fileobj) for operation in operations}
        self.commits.append({**options, "files": sorted(files), "card": files["README.md"].read_text()})


@pytest.fixture
def hub(monkeypatch):
    hub = RecordedHub()
    cards = {"found": None}

    def load_or_make(repo_id: str, tags: list[str] | None = None, token: Any = None) -> ModelCard:
        made = ModelCard.from_template(ModelCardData(tags=tags or [], library_name="transformers"))
        return cards["found"] or made

    for module in ("transformers.utils.hub", "transformers.modeling_utils"):
        monkeypatch.setattr(f"{module}.hf_api", lambda: hub, raising=False)
        monkeypatch.setattr(f"{module}.create_and_tag_model_card", load_or_make)
    hub.cards = cards
    return hub


@pytest.mark.parametrize("options", [{}, {"revision": "trial"}, {"create_pr": True}], ids=str)
def test_push_to_hub_makes_one_commit_with_the_card(hub, options):
    small_model("rtmpose")[0].push_to_hub(REPO, tags=["mine"], **options)
    (commit,) = hub.commits
    card = ModelCard(commit["card"])
    assert card.data.library_name == "hfpose"
    assert "mine" in card.data.tags
    assert f'"{REPO}"' in card.text
    assert commit["revision"] == options.get("revision")
    assert commit["create_pr"] == options.get("create_pr", False)
    assert hub.branches == ([options["revision"]] if "revision" in options else [])


def test_saving_with_a_push_has_the_card(hub, tmp_path):
    small_model("rtmpose")[0].save_pretrained(tmp_path / "my-model", push_to_hub=True, repo_id=REPO)
    (commit,) = hub.commits
    assert ModelCard(commit["card"]).data.library_name == "hfpose"


def test_a_card_that_says_something_stays(hub):
    hub.cards["found"] = ModelCard("---\nlicense: mit\n---\nMy own words.")
    small_model("rtmpose")[0].push_to_hub(REPO)
    assert "My own words." in hub.commits[0]["card"]
