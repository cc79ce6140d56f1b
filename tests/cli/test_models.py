"""`hfpose models`: which models are listed, in what order."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from hfpose.cli import app
from hfpose.hub.zoo import get_entry, list_entries


def listed(*arguments: str) -> list[dict]:
    result = CliRunner().invoke(app, ["models", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_words_are_all_searched_for_in_names_aliases_and_keypoints():
    names = [model["name"] for model in listed("RTMPose", "halpe26")]
    assert "rtmpose-m_8xb512-700e_body8-halpe26-256x192" in names
    assert all("rtmpose" in name and "halpe26" in name for name in names)
    assert [model["name"] for model in listed("dwpose-l-384")] == [get_entry("dwpose-l-384", "pose").name]


@pytest.mark.parametrize("keypoints", ["coco_wholebody", "133"])
def test_models_of_a_keypoint_schema_or_of_so_many_keypoints(keypoints):
    found = listed("--keypoints", keypoints)
    assert len(found) > 10
    assert {model["schema"] for model in found} == {"coco_wholebody"}


def test_the_best_come_first():
    published = {entry.name: entry.ap for entry in list_entries("pose")}
    values = [published.get(model["name"], 0.0) for model in listed("--task", "pose", "--sort", "ap")]
    assert values == sorted(values, reverse=True)
    assert 0.8 < values[0] <= 1


def test_the_fastest_come_first_and_those_of_unknown_speed_last():
    values = [model["milliseconds"] for model in listed("--task", "pose", "--sort", "speed")]
    known = [value for value in values if value is not None]
    assert values == [*sorted(known), *[None] * (len(values) - len(known))]


def test_nothing_like_that():
    result = CliRunner().invoke(app, ["models", "no-such-model-anywhere"])
    assert result.exit_code == 1
    assert "No model is like that" in result.output


def test_every_model_has_its_size():
    assert [entry.name for entry in list_entries() if not entry.parameters] == []
