"""Networks with random weights that are fit to be tested."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


@torch.no_grad()
def settle_normalizations(model: nn.Module, pixel_values: Tensor) -> None:
    """Give batch normalizations the statistics of some images, and leave the model ready for inference.

    Else activations fade from layer to layer, and outputs hardly depend on the input.
    """
    normalizations = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for normalization in normalizations:
        normalization.momentum = 1.0
    model.train()(pixel_values)
    for normalization in normalizations:
        normalization.momentum = 0.1
    model.eval()


def with_checkpointing(model: PreTrainedModel) -> PreTrainedModel:
    """The model, which from now on computes activations again for gradients, by the name of that in any transformers."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
    return model


def losses_of_steps(model: nn.Module, num_steps: int, learning_rate: float, **inputs: Any) -> list[float]:
    """Losses of a model that learns the same inputs in every step, each before its step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate)
    losses = []
    for _ in range(num_steps):
        loss = model(**inputs).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
