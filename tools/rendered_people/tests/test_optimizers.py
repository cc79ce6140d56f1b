"""Which parameters each optimizer learns, the steps that Muon takes, and layers that rest."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from hfpose.training.training_run import TrainingSettings, adamw
from rendered_people.optimizers import RestingLayers, muon


def settings(learning_rate: float, weight_decay: float) -> TrainingSettings:
    return TrainingSettings(num_steps=1, learning_rate=learning_rate, weight_decay=weight_decay)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Linear(3, 32), nn.LayerNorm(32), nn.Linear(32, 64), nn.Linear(64, 2)
    return nn.Sequential(*layers, nn.Conv1d(2, 4, 1))


def shapes(group) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in group["params"]]


def step(network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    network[:4](torch.randn(8, 3)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_biases_and_normalizations_do_not_decay():
    decayed, free = adamw(make_network(), settings(1e-3, 0.05)).param_groups
    assert decayed["weight_decay"] == 0.05 and free["weight_decay"] == 0
    assert shapes(decayed) == [(32, 3), (64, 32), (2, 64), (4, 2, 1)]
    assert shapes(free) == [(32,), (32,), (32,), (64,), (2,), (4,)]


def test_muon_takes_the_matrices_of_inner_layers():
    matrices, decayed, free = muon(make_network(), settings(1e-3, 0.05)).param_groups
    assert shapes(matrices) == [(64, 32)] and matrices["weight_decay"] == 0.05
    assert shapes(decayed) == [(32, 3), (2, 64), (4, 2, 1)]
    assert len(free["params"]) == 6 and free["weight_decay"] == 0


def test_a_network_without_such_matrices_is_learned_by_adamw_alone():
    assert type(muon(nn.Conv1d(32, 32, 3), settings(1e-3, 0.05))) is torch.optim.AdamW


def test_what_needs_no_gradient_is_left_out():
    network = make_network()
    network[2].requires_grad_(False)
    assert sum(len(group["params"]) for group in muon(network, settings(1e-3, 0.0)).param_groups) == 8


def test_a_step_of_a_matrix_is_orthogonal_and_as_large_as_the_learning_rate_asks():
    matrix = nn.Linear(64, 32, bias=False)
    optimizer = muon(matrix, settings(1e-2, 0.0))
    before = matrix.weight.detach().clone()
    torch.manual_seed(0)
    matrix.weight.grad = torch.randn(32, 64)
    optimizer.step()
    values = torch.linalg.svdvals(before - matrix.weight.detach()) / (1e-2 * 0.2 * 64**0.5)
    assert (values > 0.6).all() and (values < 1.3).all()  # which five iterations of Newton and Schulz reach


def test_learning_rates_of_the_groups_are_those_of_the_next_step():
    network = make_network()
    optimizer = muon(network, settings(1e-2, 0.0))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = [parameter.detach().clone() for parameter in network.parameters()]
    step(network, optimizer)
    assert all(torch.equal(one, other) for one, other in zip(before, network.parameters(), strict=True))


def test_muon_goes_on_from_its_saved_state(tmp_path):
    def steps(network: nn.Module, optimizer: torch.optim.Optimizer, seeds: range) -> None:
        for seed in seeds:
            torch.manual_seed(seed)
            step(network, optimizer)

    whole, part = make_network(), make_network()
    steps(whole, muon(whole, settings(1e-2, 0.01)), range(4))
    optimizer = muon(part, settings(1e-2, 0.01))
    steps(part, optimizer, range(2))
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    again = muon(part, settings(1e-2, 0.01))
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    steps(part, again, range(2, 4))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), part.parameters(), strict=True))


def test_layers_rest_between_two_steps():
    layer = nn.Linear(2, 2)
    resting, learns = RestingLayers([layer], 3, 6), []
    for number in range(8):
        resting.on_step_begin(None, SimpleNamespace(global_step=number), None)
        learns.append(layer.weight.requires_grad)
    assert learns == [True] * 3 + [False] * 3 + [True] * 2
