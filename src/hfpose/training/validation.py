"""Measuring a model while it is trained: before, at each checkpoint, and after; the best weights are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel, TrainerCallback, TrainingArguments

from hfpose.media.files import atomic_path, write_json

# The first of these that was measured says which weights are the best; where it does not, as while AP is still 0, the
# next one. Of the last two less is better.
GUIDES = ("AP", "PCK@0.05", "NME", "EPE")
_LESS_IS_BETTER = ("NME", "EPE")

_BEST_WEIGHTS, _BEST_RECORD, _BEFORE = "best.safetensors", "best.json", "before.json"


def guides(metrics: Mapping[str, float]) -> list[tuple[str, float]]:
    """Name and value of the metrics that weights are compared by, in this order; values are negative where less is
    better."""
    return [(name, -metrics[name] if name in _LESS_IS_BETTER else metrics[name]) for name in GUIDES if name in metrics]


def metrics_before(folder: Path, measure: Callable[[], Mapping[str, float]], is_new: bool) -> dict[str, float]:
    """Metrics of the model as it was before training; those of the first call, where a run goes on.
    `measure` measures the model as it is, `folder` is that of the checkpoints.
    """
    path = folder / _BEFORE
    if not is_new and path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    metrics = dict(measure())
    write_json(path, metrics)
    return metrics


class BestWeights(TrainerCallback):
    """Measures the averaged weights at each checkpoint, keeps the best ones, and stops when they do not get better.

    Args:
        folder: of the checkpoints, where the best weights and their metrics are kept.
        patience: checkpoints without anything better after which the run ends; None: it does not.
        tell: takes messages for the user.
        is_new: whether the run begins; the best of an earlier one is forgotten then.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        measure: Callable[[], Mapping[str, float]],
        folder: Path,
        patience: int | None,
        tell: Callable[[str], None],
        is_new: bool,
    ) -> None:
        self.model, self.measure, self.folder, self.patience, self.tell = model, measure, folder, patience, tell
        self.record: dict[str, Any] = {}
        self.last_step: int | None = None
        path = folder / _BEST_RECORD
        if is_new:
            path.unlink(missing_ok=True)
        elif path.is_file():
            self.record = {"measured": -1, **json.loads(path.read_text(encoding="utf-8"))}

    def on_evaluate(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        """The model has its averaged weights here, see `hfpose.training.training_run`."""
        self.model.eval()
        self.add(state.global_step, dict(self.measure()), state.is_world_process_zero)
        waited = self.record.get("waited", 0)
        if self.patience is not None and waited >= self.patience:
            control.should_training_stop = True
            if state.is_world_process_zero:
                self.tell(f"Nothing better in {waited} checkpoints, so training stops at step {state.global_step}.")

    def add(self, step: int, metrics: dict[str, float], writes: bool = True) -> None:
        """Take the model's weights for the best, if their metrics are."""
        self.last_step = step
        found, best = guides(metrics), guides(self.record.get("metrics", {}))
        if not found:
            return
        if writes:
            name, value = found[0]
            self.tell(f"Step {step}: validation {name} {abs(value):.4f}.")
        if not best or found > best:
            self.record = {"step": step, "metrics": metrics, "waited": 0, "measured": step}
            if writes:
                weights = {name: value.cpu().contiguous() for name, value in self.model.state_dict().items()}
                with atomic_path(self.folder / _BEST_WEIGHTS) as partial:
                    save_file(weights, partial)
        elif step > self.record["measured"]:  # else the run was ended between this and its checkpoint, and goes on
            self.record |= {"waited": self.record["waited"] + 1, "measured": step}
        if writes:
            write_json(self.folder / _BEST_RECORD, self.record)

    def apply(self) -> None:
        """Give the model the best weights."""
        if (self.folder / _BEST_WEIGHTS).is_file():
            self.model.load_state_dict(load_file(self.folder / _BEST_WEIGHTS))


def comparison(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """ "AP 0.100 -> 0.312, AR 0.201 -> 0.450"."""
    parts = []
    for name, value in after.items():
        first = f"{before[name]:.3f} -> " if name in before else ""
        parts.append(f"{name} {first}{value:.3f}")
    return ", ".join(parts) or "nothing was measured"
