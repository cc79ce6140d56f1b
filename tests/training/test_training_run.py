"""Training runs: what an interrupt changes (nothing), averaged weights, the log."""

from __future__ import annotations

import multiprocessing
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import TrainerControl

import hfpose
from hfpose.errors import HFPoseError
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.training.training_run import AVERAGE_NAME, StopAtInterrupt, TrainingSettings, last_checkpoint, train
from rendered_people.optimizers import RestingLayers, muon

SETTINGS = TrainingSettings(
    num_steps=8, batch_size=2, learning_rate=2e-3, num_workers=0, log_steps=2, save_steps=3, use_cpu=True, seed=1
)


class Noise(Dataset):
    """Samples of noise, each a function of its position; raises at one of them, as a killed run does not come
    further."""

    def __init__(self, fails_at: int | None = None, scale: float = 1.0) -> None:
        self.fails_at = fails_at
        self.scale = scale

    def __len__(self) -> int:
        return SETTINGS.num_steps * SETTINGS.batch_size

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        if position == self.fails_at:
            raise KeyboardInterrupt
        generator = torch.Generator().manual_seed(position)
        return {
            "pixel_values": torch.randn(3, 32, 32, generator=generator) * self.scale,
            "labels": torch.rand(3, 2, generator=generator) * 32,
        }


def collate(samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}


def make_model(**changes) -> hfpose.RTMPoseForPoseEstimation:
    torch.manual_seed(0)
    config = hfpose.RTMPoseConfig(
        backbone_config=ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic"),
        image_size=(32, 32), hidden_size=32, attention_size=16,
        num_labels=3, drop_path_rate=0.2, **changes,
    )  # fmt: skip
    return hfpose.RTMPoseForPoseEstimation(config)


def run(folder: Path, samples: Dataset | None = None, settings: TrainingSettings = SETTINGS, **options):
    model = make_model()
    summary = train(model, samples or Noise(), collate, folder, settings, **options)
    return model, summary


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize("fails_at", [3, 9, 15])
def test_an_interrupted_run_ends_as_if_nothing_had_happened(uninterrupted, tmp_path, fails_at):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Noise(fails_at))
    checkpoint = last_checkpoint(tmp_path)
    assert (checkpoint and checkpoint.name) == {3: None, 9: "checkpoint-3", 15: "checkpoint-6"}[fails_at]
    model, summary = run(tmp_path)
    assert same_weights(model, uninterrupted[0])
    assert summary.num_steps == 8
    assert summary.new_steps == {3: 8, 9: 5, 15: 2}[fails_at]


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="needs Muon, which came with torch 2.9")
def test_an_interrupted_run_with_muon_ends_as_if_nothing_had_happened(tmp_path):
    whole, _ = run(tmp_path / "whole", make_optimizer=muon)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "parts", Noise(9), make_optimizer=muon)
    assert same_weights(run(tmp_path / "parts", make_optimizer=muon)[0], whole)


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(uninterrupted, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Noise(15))
    newest = last_checkpoint(tmp_path)
    (newest / AVERAGE_NAME).unlink()
    (newest / "optimizer.pt").write_bytes(b"half")
    assert last_checkpoint(tmp_path).name == "checkpoint-3"
    assert same_weights(run(tmp_path)[0], uninterrupted[0])


def test_calling_a_finished_run_again_changes_nothing(uninterrupted, tmp_path):
    run(tmp_path)
    model, summary = run(tmp_path)
    assert (summary.num_steps, summary.new_steps) == (8, 0)
    assert same_weights(model, uninterrupted[0])


def test_the_weights_are_averaged_and_without_decay_they_are_the_last(uninterrupted, tmp_path):
    from safetensors.torch import load_file

    last, _ = run(tmp_path, settings=replace(SETTINGS, average_decay=0.0))
    saved = load_file(tmp_path / "checkpoints/checkpoint-8/model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in last.state_dict().items())
    assert not same_weights(last, uninterrupted[0])


def test_a_loss_that_is_not_finite_stops_the_run_and_says_what_to_do(tmp_path):
    with pytest.raises(HFPoseError, match="Lower the learning rate"):
        run(tmp_path, Noise(scale=float("nan")))


def test_the_log_has_steps_loss_learning_rate_and_speed(tmp_path, capsys):
    run(tmp_path, validation=Noise())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["step", "2/8", "loss"]
    assert "samples/s" in lines[0] and "learning rate" in lines[0] and "min left" in lines[0]
    assert sum("validation loss" in line for line in lines) == 3  # at the steps 3, 6 and the last


def test_a_model_without_a_loss_is_given_one(tmp_path):
    def loss(model: nn.Module, inputs: dict) -> tuple[torch.Tensor, object]:
        outputs = model(inputs["pixel_values"])
        return (outputs.simcc_x - 1).square().mean(), outputs

    model, summary = run(tmp_path, model_loss=loss)
    crop = Noise()[0]["pixel_values"][None]
    before, after = ((one.eval()(crop).simcc_x - 1).square().mean().item() for one in (make_model(), model))
    assert after < before and 0 < summary.loss < 1.1


class _Steps(Noise):
    """Notes the weights of a layer whenever a sample is asked for."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.weights: list[torch.Tensor] = []

    def __getitem__(self, position: int) -> dict[str, torch.Tensor]:
        self.weights.append(next(self.layer.parameters()).detach().clone())
        return super().__getitem__(position)


def test_layers_rest_between_two_steps_and_learn_before_and_after(tmp_path):
    model = make_model()
    samples = _Steps(model.backbone.stem)
    train(model, samples, collate, tmp_path, SETTINGS, callbacks=[RestingLayers([model.backbone.stem], 3, 6)])
    # The samples of a step are asked for when the one before is done, with one batch in advance.
    weights = [*samples.weights[2 :: SETTINGS.batch_size], next(model.backbone.stem.parameters())]
    still = [torch.equal(before, after) for before, after in pairwise(weights)]
    assert still.count(True) == 3 and not still[0] and not still[-1]
    assert all(parameter.requires_grad for parameter in model.parameters())


def _ends_step(rank: int, store: Path, answers: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=store.as_uri(), rank=rank, world_size=2)
    stop, control = StopAtInterrupt(), TrainerControl()
    stop.is_asked = rank == 1
    stop.on_step_end(SimpleNamespace(world_size=2, device="cpu"), None, control)
    answers.put(control.should_training_stop and control.should_save)


@pytest.mark.skipif(sys.platform != "linux", reason="forks, which takes a tenth of the time")
def test_all_processes_stop_after_the_same_step_when_one_is_asked(tmp_path):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    processes = [context.Process(target=_ends_step, args=(rank, tmp_path / "store", answers)) for rank in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=60) for _ in processes] == [True, True]
    for process in processes:
        process.join()
