"""Muon for the matrices of a network beside AdamW for the rest, and layers that rest for a part of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from hfpose.training.training_run import TrainingSettings, adamw, adamw_groups

# A matrix with a shorter side is one of the first or the last layer, where Muon has no advantage.
SHORTEST_SIDE = 16


def muon(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Muon for the inner matrices of a network that learn, and AdamW for its other parameters."""

    def is_for_muon(parameter: nn.Parameter) -> bool:
        return parameter.ndim == 2 and min(parameter.shape) >= SHORTEST_SIDE

    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if is_for_muon(parameter)]
    if not matrices:
        return adamw(model, settings)
    others = adamw_groups([parameter for parameter in parameters if not is_for_muon(parameter)], settings.weight_decay)
    group = {"params": matrices, "weight_decay": settings.weight_decay}
    return MuonBesideAdamW(group, others, settings.learning_rate)


class MuonBesideAdamW(torch.optim.Optimizer):
    """Muon for matrices and AdamW for all other parameters, as one optimizer.

    Muon makes the steps of a matrix orthogonal, so that all of its directions learn, not only the few that gradients
    favor. Steps are scaled to be as large as AdamW's, so both take the same learning rate.

    Args:
        matrices: group of 2D parameters.
        others: groups of the others.
        learning_rate: of all groups.

    Source: Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon/), scaled as by Liu et al. (2025,
    https://arxiv.org/abs/2502.16982).
    """

    def __init__(self, matrices: dict[str, Any], others: Sequence[dict[str, Any]], learning_rate: float) -> None:
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


class RestingLayers(TrainerCallback):
    """Lets layers rest for a part of a run: they stay as they are, and their gradients cost no time.

    Args:
        layers: which; the first ones of a network, so that no gradient has to pass through them.
        start, end: the steps from which on they rest and learn again.
    """

    def __init__(self, layers: Iterable[nn.Module], start: int, end: int) -> None:
        self.parameters = [parameter for layer in layers for parameter in layer.parameters()]
        self.start, self.end = start, end

    def on_step_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        learns = not self.start <= state.global_step < self.end
        if self.parameters[0].requires_grad != learns:
            for parameter in self.parameters:
                parameter.requires_grad_(learns)

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)
