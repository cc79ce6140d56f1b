"""Model cards: complete, valid for the Hub, and current."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from hfpose.hub.cards import entry_card, model_card, pipeline_card, saved_pipeline_card
from hfpose.hub.zoo import ModelEntry, find_entry, get_entry, list_entries
from hfpose.keypoints import load_schema
from hfpose.models.rtmdet.convert_rtmdet import config_from_reference as rtmdet_config
from hfpose.models.rtmdet.modeling_rtmdet import RTMDetForObjectDetection
from hfpose.models.rtmpose.convert_rtmpose import config_from_reference as rtmpose_config
from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseForPoseEstimation

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "conversion/make_cards.py"
ENTRIES = [entry for entry in list_entries() if entry.supported]


def snippets(card: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", card, re.DOTALL)


def test_cards_parse_and_say_what_the_hub_asks_for() -> None:
    for entry in ENTRIES:
        check_card(entry)


def check_card(entry: ModelEntry) -> None:
    """Of the card in the repository, which another test finds current."""
    card = ModelCard((ROOT / "model_cards" / f"{entry.name}.md").read_text(encoding="utf-8"))
    data = card.data
    assert data.library_name == "hfpose"
    assert data.license == "apache-2.0"
    assert data.pipeline_tag == ("object-detection" if entry.task == "detector" else "keypoint-detection")
    assert data.datasets
    assert "hfpose" in data.tags
    results = {(r.dataset_name, r.metric_name): r.metric_value for r in data.eval_results or []}
    assert results == {(d, m): value for d, values in entry.metrics.items() for m, value in values.items()}
    assert entry.sha256_prefix is None or entry.sha256_prefix in card.text
    assert entry.checkpoint_url is None or entry.checkpoint_url in card.text
    for code in snippets(card.content):
        ast.parse(code)
        assert entry.name in code
    for heading in ("Use", "Details", "Where the weights come from", "Intended use and limits", "License", "Citation"):
        assert f"\n## {heading}\n" in card.text
    images = re.findall(r"!\[.*\]\((.+)\)", card.text)
    assert [(ROOT / "model_cards" / image).is_file() for image in images] == [True] * (entry.schema is not None)


def test_snippets_are_python_and_name_the_model() -> None:
    """Under our names and those of a repository, of a model of each family."""
    for entry in {entry.family: entry for entry in ENTRIES}.values():
        for name, repository in ((entry.name, None), (f"my-org/{entry.name}", f"my-org/{entry.name}")):
            for code in snippets(entry_card(entry, repository).content):
                ast.parse(code)
                assert name in code


def test_cards_in_the_repository_are_current() -> None:
    assert runpy.run_path(str(SCRIPT))["stale"](ROOT / "model_cards") == []


@pytest.mark.slow
def test_check_names_what_is_not_current(tmp_path: Path) -> None:
    script = runpy.run_path(str(SCRIPT))
    script["write"](tmp_path)
    assert script["stale"](tmp_path) == []
    (tmp_path / "rtmdet_m_8xb32-300e_coco.md").write_text("changed")
    (tmp_path / "old-model.md").write_text("")
    (tmp_path / "rtmdet_s_8xb32-300e_coco.md").unlink()
    assert script["stale"](tmp_path) == [
        "rtmdet_s_8xb32-300e_coco.md is missing",
        "rtmdet_m_8xb32-300e_coco.md is not current",
        "old-model.md is of no model",
    ]


def test_markdown_has_no_gaps_in_its_tables() -> None:
    text = entry_card(get_entry("human", "pose")).text
    assert "\n\n\n" not in text
    assert not re.search(r"\|\n\n\|", text)


def test_card_of_a_pipeline_names_its_parts() -> None:
    parts = ["my-org/pose", "my-org/detector"]
    card = ModelCard(pipeline_card(get_entry("human", "pose"), "my-org/human-pipeline", parts).content)
    assert card.data.base_model == parts
    assert card.data.pipeline_tag == "keypoint-detection"
    assert 'model="my-org/human-pipeline"' in snippets(card.content)[0]
    assert "rtmdet_m_640-8xb32_coco-person" in card.text


def test_card_of_a_trained_model_claims_nothing_that_it_does_not_know() -> None:
    entry = get_entry("rtmpose-t_8xb256-420e_body8-256x192")
    with torch.device("meta"):
        model = RTMPoseForPoseEstimation(rtmpose_config(entry.reference, load_schema("coco")))
    card = ModelCard(model_card(model, "someone/my-model").content)
    metadata = yaml.safe_load(card.content.split("---")[1])
    assert metadata.keys() == {"library_name", "pipeline_tag", "tags"}
    assert metadata["pipeline_tag"] == "keypoint-detection"
    assert 'model="someone/my-model"' in snippets(card.content)[0]
    assert "`left_shoulder`" in card.text
    assert "Published results" not in card.text


@pytest.mark.parametrize("is_3d", [False, True])
def test_card_of_any_pipeline(is_3d: bool) -> None:
    card = ModelCard(saved_pipeline_card(load_schema("coco"), "someone/my-pipeline", is_3d).content)
    assert card.data.pipeline_tag == "keypoint-detection"
    assert ("3d" in card.data.tags) == is_3d
    (snippet,) = snippets(card.content)
    assert f'pipeline("pose-estimation{"-3d" * is_3d}", model="someone/my-pipeline")' in snippet


def test_card_of_a_trained_detector() -> None:
    entry = find_entry("rtmdet_nano_320-8xb32_hand")
    assert entry is not None
    with torch.device("meta"):
        model = RTMDetForObjectDetection(rtmdet_config(entry.reference, None))
    card = ModelCard(model_card(model, "someone/my-detector").content)
    assert card.data.pipeline_tag == "object-detection"
    assert "Classes: `hand`." in card.text
    assert snippets(card.content)[0].startswith("import hfpose")


def test_models_that_find_people_themselves_do_not_ask_for_a_box() -> None:
    for name in ("rtmo", "edpose", "ae_hrnet-w32_8xb24-300e_coco-512x512"):
        card = entry_card(get_entry(name)).text
        assert "It takes whole images and needs no detector." in card
        assert "needs a box" not in card
    assert "needs a box" in entry_card(get_entry("human", "pose")).text


def test_units_of_three_dimensions_are_said() -> None:
    assert "x, y and z in meters" in entry_card(get_entry("human3d")).text
    assert "x and y in pixels, z in millimeters" in entry_card(get_entry("hand3d")).text
    assert "| Human3.6M | MPJPE (mm) | 26.9 |" in entry_card(get_entry("human3d")).text
