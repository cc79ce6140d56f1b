"""Two published models of each estimator, made narrow: they predict, export and train as they are."""

from __future__ import annotations

import inspect
from itertools import groupby
from pathlib import Path

import pytest

from coco_files import write_people
from hfpose import pipeline
from hfpose.backends.onnx_graphs import EXPORTABLE_TYPES, MAX_DIFFERENCE, export_graph
from hfpose.hub.zoo import ModelEntry, list_entries
from hfpose.pipelines.stage import load_stage
from hfpose.training.fine_tuning import FineTuning, fine_tune
from small_zoo import photo, save_small_model

pytestmark = pytest.mark.slow


def first_and_last(entries: list[ModelEntry]) -> list[ModelEntry]:
    """Two of the entries, or the only one."""
    return [entries[0], entries[-1]][: len(entries)]


# ViPNAS with random weights amplifies rounding beyond what export allows; tests of its backbones compare it.
POSE_MODELS = sorted(
    (entry for entry in list_entries("pose") if "vipnas" not in entry.name), key=lambda entry: entry.estimator
)
TWO_OF_EACH = [
    entry for _, some in groupby(POSE_MODELS, lambda entry: entry.estimator) for entry in first_and_last([*some])
]


@pytest.mark.parametrize("entry", TWO_OF_EACH, ids=lambda entry: entry.name)
def test_it_predicts_exports_and_trains(entry: ModelEntry, tmp_path: Path) -> None:
    folder = save_small_model(entry, tmp_path / "model")
    stage = load_stage(folder, "pose")
    whole = {} if getattr(stage.image_processor, "is_one_stage", False) else {"detector": "whole_image"}
    people = pipeline("pose-estimation", model=folder, device="cpu", **whole)(photo())
    assert people.keypoints.shape[1] == people.schema.num_keypoints
    if stage.model.config.model_type in EXPORTABLE_TYPES:
        differences = export_graph(stage.model, stage.image_processor, tmp_path / "model.onnx")
        assert max(difference.relative for difference in differences.values()) <= MAX_DIFFERENCE
    is_3d = people.keypoints.shape[2] == 3  # annotations are of images
    if "labels" in inspect.signature(stage.model.forward).parameters and not is_3d:
        (tmp_path / "data").mkdir()
        task = FineTuning(
            str(folder), write_people(tmp_path / "data"), tmp_path / "trained", num_steps=2, batch_size=2, num_workers=0,
            use_cpu=True,
        )  # fmt: skip
        fine_tune(task, tell=lambda message: None)
        assert pipeline("pose-estimation", model=tmp_path / "trained", device="cpu", **whole)(photo()).error is None
