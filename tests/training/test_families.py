"""Every family of pose models is fine-tuned, on other keypoints than its own."""

from __future__ import annotations

import pytest
import torch

from coco_files import write_people
from hfpose.pipelines.stage import load_stage
from hfpose.training.fine_tuning import FineTuning, fine_tune
from small_models import small_model


@pytest.mark.parametrize(
    "name",
    [
        "heatmap",
        "regression-rle",
        "regression-dsnt",
        "simcc",
        "vitpose-experts",
        "dekr",
        "cid",
        "associative_embedding",
    ],
)
def test_two_steps_change_its_weights(name, tmp_path):
    model, processor = small_model(name)
    for part in (model, processor):
        part.save_pretrained(tmp_path / "before")
    (tmp_path / "data").mkdir()
    task = FineTuning(
        str(tmp_path / "before"), write_people(tmp_path / "data"), tmp_path / "after", num_steps=2, batch_size=2,
        num_workers=0, use_cpu=True,
    )  # fmt: skip
    fine_tune(task, tell=lambda message: None)
    trained, before = load_stage(tmp_path / "after", "pose").model, model.state_dict()
    assert trained.config.num_labels == 17
    shared = [key for key, value in trained.named_parameters() if value.shape == before[key].shape]
    assert not all(torch.equal(trained.get_parameter(key), before[key]) for key in shared)
