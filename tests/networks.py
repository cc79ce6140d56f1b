"""Networks with random weights that are fit to be tested."""

from __future__ import annotations

import torch
from torch import Tensor, nn


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
