"""Optimizers: AdamW, and Muon for the matrices of a network beside AdamW for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from hfpose.errors import ConfigError

OPTIMIZERS = ("adamw", "muon")

# A matrix with a shorter side is one of the first or the last layer, where Muon has no advantage.
SHORTEST_SIDE = 16


def make_optimizer(model: nn.Module, name: str, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """The optimizer of a run.

    Args:
        model: whose parameters are learned, those that need a gradient.
        name: of `OPTIMIZERS`.
        learning_rate: of all parameters.
        weight_decay: of matrices and kernels; normalizations and biases have none.

    Raises:
        ConfigError: for an unknown name, or for Muon where torch has none.
    """
    if name not in OPTIMIZERS:
        raise ConfigError(f"Unknown optimizer {name!r}; expected {' or '.join(map(repr, OPTIMIZERS))}.")

    def is_for_muon(parameter: nn.Parameter) -> bool:
        return name == "muon" and parameter.ndim == 2 and min(parameter.shape) >= SHORTEST_SIDE

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if is_for_muon(parameter)]
    others = [parameter for parameter in parameters if not is_for_muon(parameter)]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if not matrices:
        return torch.optim.AdamW(groups, lr=learning_rate)
    return MuonBesideAdamW({"params": matrices, "weight_decay": weight_decay}, groups, learning_rate)


class MuonBesideAdamW(torch.optim.Optimizer):
    """Muon for matrices and AdamW for all other parameters, as one optimizer.

    Muon makes the steps of a matrix orthogonal, so that all of its directions learn, not only the few that gradients
    favor. Steps are scaled to be as large as AdamW's, so both take the same learning rate.

    Args:
        matrices: group of 2D parameters.
        others: groups of the others.
        learning_rate: of all groups.

    Raises:
        ConfigError: if this torch has no Muon.

    Source: Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/), scaled as by Liu et al. (2025,
    https://arxiv.org/abs/2502.16982).
    """

    def __init__(self, matrices: dict[str, Any], others: Sequence[dict[str, Any]], learning_rate: float) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(f"torch {torch.__version__} has no Muon. Install 2.9 or newer, or train with AdamW.")
        self._muon = torch.optim.Muon([matrices], lr=learning_rate, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(others, lr=learning_rate)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {"lr": learning_rate})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step of both; for `closure` see `torch.optim.Optimizer.step`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        # Learning rates are set in, and a checkpoint is read into, the groups and the state of the whole.
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:1], self.param_groups[1:]
        for part in (self._muon, self._adamw):
            part.state = self.state
            part.step()
        return loss
