"""Configurations that ask for absurd sizes."""

from __future__ import annotations

import json
import resource
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

import hfpose
from hfpose.checkpoints.guard import loading_bounded
from hfpose.errors import CheckpointError, ConfigError
from hfpose.pipelines.stage import load_stage


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = hfpose.RTMDetConfig(num_labels=3, width_multiplier=0.125, depth_multiplier=0.17, neck_size=32)
    hfpose.RTMDetForObjectDetection(config).save_pretrained(tmp_path)
    return tmp_path


def change(folder: Path, **settings: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def load(folder: Path) -> torch.nn.Module:
    with loading_bounded(folder):
        return hfpose.RTMDetForObjectDetection.from_pretrained(folder)


def test_model_that_fits_its_weights_loads(folder: Path) -> None:
    assert load(folder).config.num_labels == 3


@pytest.mark.parametrize(
    "settings",
    [{"depth_multiplier": 1e7}, {"num_neck_blocks": 10**8}, {"num_head_layers": 10**9}, {"strides": [8] * 10**5}],
    ids=lambda settings: next(iter(settings)),
)
def test_absurd_number_of_layers_is_refused_before_it_costs_memory(folder: Path, settings: dict[str, Any]) -> None:
    change(folder, **settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        (CheckpointError, ConfigError), match=r"asks for far more layers than the weights|is not supported"
    ):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kilobytes


@pytest.mark.parametrize(
    "settings",
    [{"width_multiplier": 1e6}, {"neck_size": 10**9}, {"num_channels": 10**9}, {"neck_size": 64}],
    ids=lambda settings: next(iter(settings)),
)
def test_sizes_that_are_not_those_of_the_weights_are_refused(folder: Path, settings: dict[str, Any]) -> None:
    change(folder, **settings)
    with pytest.raises((CheckpointError, ConfigError), match=r"cannot be built from its|is not supported"):
        load(folder)


def test_code_beside_a_model_is_not_run(folder: Path, tmp_path: Path) -> None:
    evil = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(evil)!r}, 'w')\nclass Model: ...\n")
    change(
        folder,
        model_type="unknown",
        auto_map={"AutoConfig": "evil.Model", "AutoModelForObjectDetection": "evil.Model"},
    )
    with pytest.raises(ConfigError, match="which hfpose does not run"):
        load_stage(folder, "detector")
    assert not evil.exists()


def test_absurd_configuration_in_a_pipeline(folder: Path) -> None:
    change(folder, depth_multiplier=1e7)
    with pytest.raises(ConfigError, match=r"depth_multiplier=10000000.0 is not supported"):
        load_stage(folder, "detector")


def test_other_threads_may_build_what_they_like(folder: Path) -> None:
    built = []

    def build() -> None:
        built.append(torch.nn.Sequential(*(torch.nn.Identity() for _ in range(20_000))))

    with loading_bounded(folder):
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert len(built) == 1


def test_nothing_is_bounded_afterwards(folder: Path) -> None:
    load(folder)
    assert len(torch.nn.Sequential(*(torch.nn.Identity() for _ in range(20_000)))) == 20_000
