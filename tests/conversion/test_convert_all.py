"""The script that converts every model."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch

from checkpoint_host import CheckpointHost, zoo_environment
from fake_conversion import convert
from golden import Golden
from hfpose.errors import UnknownModelError
from hfpose.hub.zoo import list_entries
from processes import finished

SCRIPT = Path(__file__).resolve().parents[2] / "conversion/convert_all.py"
AT_HAND = "rtmdet_nano_320-8xb32_hand"
CACHED = "rtmdet_tiny_8xb32-300e_coco"
GONE = "rtmdet_s_8xb32-300e_coco"


@pytest.mark.slow
def test_each_model_is_converted_found_or_reported(tmp_path: Path) -> None:
    weights = tmp_path / "checkpoints"
    weights.mkdir()
    checkpoint = weights / "checkpoint.pth"
    torch.save({"state_dict": {**Golden("detect", AT_HAND).state_dict(), "trained_for": 600}}, checkpoint)
    with CheckpointHost() as host:
        path = host.add(AT_HAND, checkpoint.read_bytes())
        checkpoint.rename(weights / Path(path).name)
        cache = tmp_path / "cache/models/v1"
        cache.mkdir(parents=True)
        convert(CACHED, weights / Path(path).name, cache / CACHED)
        report = tmp_path / "report.json"
        environment = {
            **zoo_environment(host.write_zoo(tmp_path / "zoo.json")),
            "HFPOSE_CACHE": str(tmp_path / "cache"),
        }
        arguments = (AT_HAND, CACHED, GONE, "--checkpoints", weights, "--jobs", "1", "--report", report)
        done = finished(SCRIPT, tmp_path, environment, arguments)
        rows = {row["name"]: row for row in json.loads(report.read_text())}
        assert {name: row["status"] for name, row in rows.items()} == {
            AT_HAND: "converted",
            CACHED: "cached",
            GONE: "failed",
        }
        assert done.returncode == 1
        (note,) = rows[AT_HAND]["notes"]
        assert note.endswith("has entries among its weights that are no tensors, and are left out: trained_for (int).")
        assert note in done.stdout
        assert rows[AT_HAND]["folder"] == str(cache / AT_HAND)
        assert "There is no file at" in rows[GONE]["error"]
        assert [request.path for request in host.requests] == [f"/not-there/{GONE}.pth"]
        assert (cache / AT_HAND / "model.safetensors").is_file()


def test_without_names_every_model_that_can_be_loaded_is_chosen() -> None:
    chosen_entries = runpy.run_path(str(SCRIPT))["chosen_entries"]
    assert [entry.name for entry in chosen_entries([])] == [entry.name for entry in list_entries() if entry.supported]


def test_name_of_two_stages_chooses_both() -> None:
    chosen_entries = runpy.run_path(str(SCRIPT))["chosen_entries"]
    assert {entry.task for entry in chosen_entries(["hand"])} == {"pose", "detector"}
    with pytest.raises(UnknownModelError, match="Did you mean"):
        chosen_entries(["wholebodi"])
