"""The script that trains the offline default, in miniature."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import hfpose
import train_demo as demo
from hfpose.pipelines.stage import Stage


@pytest.fixture(scope="module")
def tiny_recipes() -> list[demo.Recipe]:
    """The recipes with the smallest models and batches."""
    torch.manual_seed(0)
    detector, pose = demo.detector_recipe(), demo.pose_recipe()
    small = {"depth_multiplier": 0.167, "width_multiplier": 0.125}
    finder = hfpose.RTMDetForObjectDetection(hfpose.RTMDetConfig(**small, neck_size=16, id2label={0: "person"}))
    schema = hfpose.load_schema("coco")
    config = hfpose.RTMPoseConfig(
        backbone_config=hfpose.CSPNeXtBackboneConfig(**small), image_size=(192, 160), hidden_size=32, attention_size=16,
        keypoint_schema=schema.to_dict(),
    )  # fmt: skip
    estimator = hfpose.RTMPoseForPoseEstimation(config)
    return [
        replace(
            recipe, stage=Stage(model, recipe.stage.image_processor), batch_size=2, validation=type(recipe.samples)(range(3))
        )
        for recipe, model in ((detector, finder), (pose, estimator))
    ]  # fmt: skip


def test_no_scene_is_used_for_two_purposes():
    ranges = [demo.TEST_SEEDS, demo.VALIDATION_SEEDS, demo.DETECTOR_SEEDS, demo.POSE_SEEDS]
    ordered = sorted(ranges, key=lambda seeds: seeds.start)
    assert all(one.stop <= other.start for one, other in pairwise(ordered))
    assert demo.detector_recipe().samples.seeds == demo.DETECTOR_SEEDS
    assert demo.pose_recipe().samples.seeds == demo.POSE_SEEDS


def test_the_models_are_small_and_the_same_each_time():
    sizes = {}
    for make in (demo.detector_recipe, demo.pose_recipe):
        first, second = make(), make()
        pairs = zip(first.stage.model.parameters(), second.stage.model.parameters(), strict=True)
        assert all(torch.equal(one, other) for one, other in pairs)
        sizes[first.name] = first.stage.model.num_parameters()
    assert all(0.5e6 <= size <= 3e6 for size in sizes.values())
    assert sum(sizes.values()) * 2 < 8e6  # bytes of float16


def test_a_model_begins_with_the_weights_of_a_folder(tiny_recipes, tmp_path):
    model = tiny_recipes[0].stage.model
    model.save_pretrained(tmp_path)
    other = type(model)(model.config)
    demo.begin_with(other, tmp_path)
    assert all(
        torch.equal(one, two)
        for one, two in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )


def test_the_plan_fills_the_minutes_and_is_kept(tiny_recipes, tmp_path, capsys):
    detector = tiny_recipes[0]
    plan = demo.run_recipe(detector, tmp_path, minutes=0.08, num_workers=0, precision="float32", cpu=True)
    expected = 0.08 * 60 * detector.share * demo.TIME_IN_STEPS / plan["seconds_per_step"]
    assert plan["num_steps"] == pytest.approx(max(expected, 10), abs=1)
    assert "CPU cores" in plan["hardware"]
    assert json.loads((tmp_path / demo.PLAN).read_text()) == plan
    again = demo.run_recipe(detector, tmp_path, minutes=99, num_workers=0, precision="float32", cpu=True)
    assert again == plan  # nothing is measured or trained again
    assert f"detector: {plan['num_steps']} steps of 2 samples" in capsys.readouterr().out


def test_the_finished_pipeline_is_loaded_and_says_what_it_is(tiny_recipes, tmp_path, monkeypatch, capsys):
    plans = {}
    for recipe in tiny_recipes:
        (tmp_path / recipe.name).mkdir()
        plan = {
            "num_steps": 1,
            "batch_size": 2,
            "seconds_per_step": 1.0,
            "save_steps": 1,
            "seconds": 0.0,
            "hardware": "a CPU",
        }
        (tmp_path / recipe.name / demo.PLAN).write_text(json.dumps(plan))
        plans[recipe.name] = demo.run_recipe(recipe, tmp_path / recipe.name, 1, 0, "float32", True)
    folder = tmp_path / "demo"
    monkeypatch.setattr(demo, "TEST_SEEDS", range(2))
    demo.write_pipeline(folder, {recipe.name: recipe.stage for recipe in tiny_recipes}, plans)
    card = (folder / "README.md").read_text()
    assert "**of which it has never seen\none**" in card and "1 steps of 2 samples" in card and "on a CPU" in card
    pipe = hfpose.pipeline("pose-estimation", model=folder, device="cpu")
    assert pipe.detector is not None and pipe.estimator.stage.model.dtype == torch.float32
    for part in ("pose", "detector"):
        tensors = load_file(folder / part / "model.safetensors").values()
        assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float16}
    printed = capsys.readouterr().out
    assert "detected boxes: " in printed and "PCK@0.05" in printed and "AR100" in printed


def test_keypoints_are_looked_for_in_feature_maps_too(tiny_recipes):
    """The extra loss falls to nothing where each map says the cell of its keypoint, and counts labeled keypoints
    alone."""
    model = demo.pose_recipe().stage.model
    supervision = demo.DenseSupervision(model)
    labels = torch.tensor([[[15.0, 31.0], [159.0, 191.0], [-5.0, 80.0]]])
    maps = torch.zeros(1, 3, 12, 10)
    maps[0, 0, 1, 0] = maps[0, 1, 11, 9] = 50.0
    assert supervision._cell_loss(maps, labels, torch.ones(1, 3)).item() == pytest.approx(0, abs=1e-6)
    lost = labels.clone()
    lost[0, 1] = 20.0  # its map points somewhere else
    assert supervision._cell_loss(maps, lost, torch.ones(1, 3)).item() == pytest.approx(25, abs=1)
    assert supervision._cell_loss(maps, lost, torch.tensor([[1.0, 0.0, 1.0]])).item() == pytest.approx(0, abs=1e-6)


def test_the_extra_loss_reaches_the_early_stages():
    recipe = demo.pose_recipe()
    assert recipe.model_loss is not None
    model, inputs = recipe.stage.model, next(iter(DataLoader(recipe.stream(1), 2, collate_fn=recipe.collator)))
    loss, outputs = recipe.model_loss(model, inputs)
    own = outputs.loss / 2 * outputs.simcc_x.shape[-1]
    gradient = torch.autograd.grad(loss - own, model.backbone.stages[0].csp.final_conv.conv.weight)[0]
    assert loss > own and gradient.abs().sum() > 0
