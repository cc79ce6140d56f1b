"""Batches that are padded for graphs, which the CPU "captures" by calling the network again."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.backends import cuda_graphs
from hfpose.backends.cuda_graphs import BATCH_SIZES, GraphedNetwork


@dataclass
class Output(ModelOutput):
    result: Tensor | None = None


class Network:
    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, x: Tensor) -> Output:
        self.batches.append(len(x))
        return Output(result=2 * x)


def capture_on_cpu(network, inputs):
    memory = network(**inputs)

    def replay():
        memory.result.copy_(network(**inputs).result)
        return memory

    return replay


@pytest.fixture
def network() -> Network:
    return Network()


@torch.inference_mode()
def test_batches_are_padded_to_a_few_sizes_and_outputs_are_those_of_the_inputs(network):
    graphed = GraphedNetwork(network, capture_on_cpu)
    given = [torch.randn(count, 3) for count in (3, 4, 1, 5, 3, 1, 1, 5)]
    outputs = [graphed(x=x).result for x in given]
    assert {*network.batches} == {4, 1, 8}
    for x, result in zip(given, outputs, strict=True):  # also those of earlier calls, whose memory was used again
        assert torch.equal(result, 2 * x)


@torch.inference_mode()
def test_larger_and_empty_batches_run_without_a_graph(network):
    graphed = GraphedNetwork(network, capture_on_cpu)
    for count in (0, BATCH_SIZES[-1] + 1):
        assert len(graphed(x=torch.zeros(count, 3)).result) == count
    assert network.batches == [0, BATCH_SIZES[-1] + 1]


@torch.inference_mode()
def test_what_cannot_be_captured_is_called_itself(network):
    def refuse(network, inputs):
        raise RuntimeError("operation not permitted when stream is capturing")

    graphed = GraphedNetwork(network, refuse)
    for _ in range(3):
        assert torch.equal(graphed(x=torch.ones(3, 2)).result, torch.full((3, 2), 2.0))
    assert network.batches == [4, 3, 3]


@torch.inference_mode()
def test_what_comes_once_and_what_comes_in_ever_new_sizes_is_not_captured(network, monkeypatch):
    captured = []

    def note(network, inputs):
        captured.append(tuple(inputs["x"].shape))
        return capture_on_cpu(network, inputs)

    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    graphed = GraphedNetwork(network, note)
    for width in (1, 2, 3, 1, 2, 3, 3):
        assert torch.equal(graphed(x=torch.ones(1, width)).result, torch.full((1, width), 2.0))
    assert captured == [(1, 1), (1, 2)]


@torch.inference_mode()
def test_channels_last_stays(network):
    orders = []

    def note(network, inputs):
        orders.append(inputs["x"].is_contiguous(memory_format=torch.channels_last))
        return capture_on_cpu(network, inputs)

    graphed = GraphedNetwork(network, note)
    for _ in range(2):
        graphed(x=torch.zeros(3, 3, 8, 6).contiguous(memory_format=torch.channels_last))
    assert orders == [True]
