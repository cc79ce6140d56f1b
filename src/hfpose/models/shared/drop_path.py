"""Stochastic depth (Huang et al., 2016, https://arxiv.org/abs/1603.09382)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Leaves an update out for some samples in training, and makes it as much larger for the others.

    Args:
        rate: share of the samples whose update is left out.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, update: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return update
        keep = 1 - self.rate
        return update * update.new_empty(len(update), *[1] * (update.ndim - 1)).bernoulli_(keep) / keep


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """For each block of each stage the share of samples that skip it in training, from 0 to `rate`."""
    rates = torch.linspace(0, rate, sum(depths), device="cpu").tolist()
    return [[rates.pop(0) for _ in range(depth)] for depth in depths]
