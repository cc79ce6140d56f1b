"""Networks that are recorded."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from hfpose.backends.op_replay import RecordedNetwork


@dataclass
class Output(ModelOutput):
    result: Tensor | None = None
    extra: Tensor | None = None


class Network(nn.Module):
    """Counts how often it is walked through."""

    def __init__(self, compute=torch.sin):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.compute = compute
        self.calls = 0

    def forward(self, x: Tensor) -> Output:
        self.calls += 1
        grid = torch.arange(2).float() * 2
        return Output(result=self.compute(self.layer(x)) + grid)


@torch.inference_mode()
def run(network: RecordedNetwork, times: int = 5, batch: int = 2) -> list[Output]:
    return [network(x=torch.randn(batch, 3, generator=torch.Generator().manual_seed(seed))) for seed in range(times)]


def test_the_same_values_come_without_the_network():
    network = Network()
    recorded = RecordedNetwork(network)
    outputs = run(recorded)
    calls = network.calls
    later = run(recorded)
    assert network.calls == calls < 5
    for seed, (first, second) in enumerate(zip(outputs, later, strict=True)):
        x = torch.randn(2, 3, generator=torch.Generator().manual_seed(seed))
        assert isinstance(second, Output)
        assert list(second) == ["result"]
        assert torch.equal(first.result, second.result)
        with torch.inference_mode():
            assert torch.equal(network(x=x).result, second.result)


def test_each_shape_is_recorded_for_itself():
    network = Network()
    recorded = RecordedNetwork(network)
    for batch in (1, 3):
        assert [len(output.result) for output in run(recorded, batch=batch)] == [batch] * 5
    assert len(recorded._recordings) == 2


def test_large_batches_and_training_are_not_recorded():
    network = Network()
    recorded = RecordedNetwork(network)
    run(recorded, batch=5)
    for _ in range(5):
        assert recorded(x=torch.randn(2, 3)).result.requires_grad
    assert network.calls == 10
    assert not recorded._recordings


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x * 2 if x.sum() > 0 else x,
        lambda x: x[x > 0].sum() + x,
    ],
    ids=["branches", "chooses"],
)
def test_what_depends_on_values_still_does(compute):
    network = Network(compute)
    recorded = RecordedNetwork(network)
    run(recorded)
    with torch.inference_mode():
        for value in (-3.0, 3.0):
            x = torch.full((2, 3), value)
            assert torch.equal(recorded(x=x).result, network(x=x).result)


def test_a_tensor_that_is_written_into_starts_anew_each_time():
    recorded = RecordedNetwork(Network(lambda x: torch.zeros(2, 2).add_(x)))
    first, second = run(recorded), run(recorded)
    assert all(torch.equal(a.result, b.result) for a, b in zip(first, second, strict=True))


def test_few_shapes_are_kept_in_mind():
    network = Network(lambda x: x.sum())
    recorded = RecordedNetwork(network)
    with torch.inference_mode():
        for width in range(1, 60):
            for _ in range(3):
                recorded(x=torch.randn(1, width, 3))
    assert len(recorded._recordings) <= 16


@pytest.mark.parametrize(
    ("options", "is_recorded"),
    [({"scale_factor": 2.0, "mode": "nearest"}, True), ({"scale_factor": 2, "mode": "bilinear"}, False)],
)
def test_upsampling_is_the_same_whether_recorded_or_not(options, is_recorded):
    network = Network(lambda x: nn.functional.interpolate(x[None, None], **options)[0, 0].sum())
    recorded = RecordedNetwork(network)
    first = run(recorded)
    calls = network.calls
    second = run(recorded)
    assert all(torch.equal(a.result, b.result) for a, b in zip(first, second, strict=True))
    assert (network.calls == calls) is is_recorded
