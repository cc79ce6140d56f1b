"""Which parameters each optimizer learns, and the steps that Muon takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hfpose.errors import ConfigError
from hfpose.training.optimizers import make_optimizer


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
    decayed, free = make_optimizer(make_network(), "adamw", 1e-3, 0.05).param_groups
    assert decayed["weight_decay"] == 0.05 and free["weight_decay"] == 0
    assert shapes(decayed) == [(32, 3), (64, 32), (2, 64), (4, 2, 1)]
    assert shapes(free) == [(32,), (32,), (32,), (64,), (2,), (4,)]


def test_muon_takes_the_matrices_of_inner_layers():
    matrices, decayed, free = make_optimizer(make_network(), "muon", 1e-3, 0.05).param_groups
    assert shapes(matrices) == [(64, 32)] and matrices["weight_decay"] == 0.05
    assert shapes(decayed) == [(32, 3), (2, 64), (4, 2, 1)]
    assert len(free["params"]) == 6 and free["weight_decay"] == 0


def test_a_network_without_such_matrices_is_learned_by_adamw_alone():
    assert type(make_optimizer(nn.Conv1d(32, 32, 3), "muon", 1e-3, 0.05)) is torch.optim.AdamW


def test_what_needs_no_gradient_is_left_out():
    network = make_network()
    network[2].requires_grad_(False)
    assert sum(len(group["params"]) for group in make_optimizer(network, "muon", 1e-3, 0.0).param_groups) == 8


def test_a_step_of_a_matrix_is_orthogonal_and_as_large_as_the_learning_rate_asks():
    matrix = nn.Linear(64, 32, bias=False)
    optimizer = make_optimizer(matrix, "muon", 1e-2, 0.0)
    before = matrix.weight.detach().clone()
    torch.manual_seed(0)
    matrix.weight.grad = torch.randn(32, 64)
    optimizer.step()
    values = torch.linalg.svdvals(before - matrix.weight.detach()) / (1e-2 * 0.2 * 64**0.5)
    assert (values > 0.6).all() and (values < 1.3).all()  # which five iterations of Newton and Schulz reach


def test_learning_rates_of_the_groups_are_those_of_the_next_step():
    network = make_network()
    optimizer = make_optimizer(network, "muon", 1e-2, 0.0)
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
    steps(whole, make_optimizer(whole, "muon", 1e-2, 0.01), range(4))
    optimizer = make_optimizer(part, "muon", 1e-2, 0.01)
    steps(part, optimizer, range(2))
    torch.save(optimizer.state_dict(), tmp_path / "optimizer.pt")
    again = make_optimizer(part, "muon", 1e-2, 0.01)
    again.load_state_dict(torch.load(tmp_path / "optimizer.pt", weights_only=True))
    steps(part, again, range(2, 4))
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), part.parameters(), strict=True))


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ConfigError, match=r"'sgd'.*'adamw' or 'muon'"):
        make_optimizer(make_network(), "sgd", 1e-3, 0.0)


def test_a_torch_without_muon_is_told(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon")
    with pytest.raises(ConfigError, match=r"2\.9 or newer"):
        make_optimizer(make_network(), "muon", 1e-3, 0.0)
