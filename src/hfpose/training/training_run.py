"""A training run: transformers' `Trainer` with averaged weights, checkpoints that a killed run goes on from, and a
log."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from hfpose.errors import HFPoseError
from hfpose.media.files import atomic_path

CHECKPOINTS = "checkpoints"
AVERAGE_NAME = "average.safetensors"
"""Averaged weights in a checkpoint. The file is written last, so a checkpoint without it is not complete."""

# The average follows the weights this fast at first: after n steps it forgets with (1 + n) / (AVERAGE_WARMUP + n).
AVERAGE_WARMUP = 10
CHECKPOINTS_KEPT = 2

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a user chooses of a run. The defaults are for fine-tuning.

    Args:
        batch_size: samples in a step, on each device.
        learning_rate: greatest one; after the warm-up it falls along a cosine.
        average_decay: share of the averaged weights that stays in each step; 0 for no average.
        seed: of everything random.
        num_workers: processes that load samples; 0 loads them in the main one.
        log_steps, save_steps: between lines of the log, and between checkpoints.
        precision: of the forward pass: float32, bfloat16 or float16.
        use_cpu: even where there is an accelerator.
    """

    batch_size: int = 32
    learning_rate: float = 5e-4
    average_decay: float = 0.9998
    seed: int = 0
    num_workers: int = 2
    log_steps: int = 20
    save_steps: int = 200
    precision: str = "float32"
    use_cpu: bool = False


@dataclass(frozen=True)
class TrainingSettings(RunOptions):
    """How a run goes.

    Args:
        num_steps: optimizer steps.
        final_learning_rate: last one, relative to the greatest.
        warmup_steps: over which it rises from 0.
        weight_decay: of matrices and kernels; normalizations and biases have none.
        max_gradient_norm: to which gradients are cut.
    """

    num_steps: int
    final_learning_rate: float = 0.05
    warmup_steps: int = 0
    weight_decay: float = 0.05
    max_gradient_norm: float = 35.0


@dataclass(frozen=True)
class TrainingSummary:
    """What came of a run: steps in all, and those, the seconds and the mean loss of this call; the first and the last
    loss of the log; and whether it was interrupted before its end.
    """

    num_steps: int
    new_steps: int
    seconds: float
    loss: float
    losses: tuple[float, ...] = ()
    is_interrupted: bool = False


class AveragedWeights(TrainerCallback):
    """An exponential moving average of weights and statistics, kept in each checkpoint, from which it goes on.

    Source: `mmpose.engine.hooks.ExpMomentumEMA`, with another warm-up.
    """

    def __init__(self, model: nn.Module, decay: float, checkpoint: Path | None) -> None:
        self.model = model
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        if checkpoint is not None:
            for name, value in load_file(checkpoint / AVERAGE_NAME).items():
                self.weights[name].copy_(value)

    @torch.no_grad()
    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        decay = min(self.decay, (1 + state.global_step) / (AVERAGE_WARMUP + state.global_step))
        current = self.model.state_dict()
        floating = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_([self.weights[n] for n in floating], [current[n] for n in floating], 1 - decay)
        for name in current.keys() - set(floating):
            self.weights[name].copy_(current[name])

    def on_save(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        folder = Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        with atomic_path(folder / AVERAGE_NAME) as partial:
            save_file({name: value.cpu().contiguous() for name, value in self.weights.items()}, partial)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the averaged weights in this block."""
        own = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.apply()
        try:
            yield
        finally:
            self.model.load_state_dict(own)

    def apply(self) -> None:
        """Give the model the averaged weights for good."""
        self.model.load_state_dict(self.weights)


class StopAtInterrupt(TrainerCallback):
    """Ends a run with a checkpoint after the step in which SIGINT (Ctrl-C) or SIGTERM came; a second one ends it at
    once. Of several processes all end after the same step, whichever of them the signal came to.
    """

    def __init__(self) -> None:
        self.is_asked = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Signals are taken in this block, where Python allows it: in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) != signal.SIG_IGN]
        before = {number: signal.signal(number, self._note) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        with suppress(OSError):
            os.write(2, b"hfpose: Stopping after this step, with a checkpoint. Once more to stop at once.\n")

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        if args.world_size > 1:
            asked = torch.tensor(int(self.is_asked), device=args.device)
            torch.distributed.all_reduce(asked, torch.distributed.ReduceOp.MAX)
            self.is_asked = bool(asked)
        if self.is_asked:
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False


class ConsoleLog(TrainerCallback):
    """One line for each entry of the log: step, losses, learning rate, samples a second, time left."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.last: tuple[int, float] | None = None

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **_: Any) -> None:
        self.last = (state.global_step, time.monotonic())

    def on_log(self, args: TrainingArguments, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(loss):
            raise HFPoseError(
                f"The loss is {loss} at step {state.global_step}, so training cannot go on. Lower the learning rate, "
                "or use float32 precision; the checkpoints before are kept."
            )
        if not state.is_world_process_zero:
            return
        if loss is not None:
            self._tell_step(state, logs, loss)
        elif "eval_loss" in (logs or {}):
            _tell(f"step {state.global_step:>6}  validation loss {logs['eval_loss']:.4f}")

    def _tell_step(self, state: Any, logs: Mapping[str, float], loss: float) -> None:
        step, now = state.global_step, time.monotonic()
        last_step, last_time = self.last or (0, now)
        seconds = (now - last_time) / max(step - last_step, 1)
        self.last = (step, now)
        minutes = (state.max_steps - step) * seconds / 60
        rate = self.batch_size / seconds if seconds > 0 else 0.0
        _tell(
            f"step {step:>6}/{state.max_steps}  loss {loss:.4f}  learning rate {logs['learning_rate']:.2e}  "
            f"{rate:.1f} samples/s  {minutes:.1f} min left"
        )


def _tell(line: str) -> None:
    """A line of progress, above the bars that are shown, as transformers' `Trainer` writes it."""
    tqdm.write(line)
    sys.stdout.flush()


class _Trainer(Trainer):
    """`Trainer` that measures the validation loss with averaged weights, and can do without a loss of the model's
    own."""

    average: AveragedWeights
    model_loss: Callable[[nn.Module, dict[str, Any]], tuple[Tensor, Any]] | None = None

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if self.model_loss is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        loss, outputs = self.model_loss(model, inputs)
        return (loss, outputs) if return_outputs else loss

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with self.average.in_place():
            return super().evaluate(*args, **kwargs)


def adamw_groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Groups of an optimizer: matrices and kernels decay, normalizations and biases do not."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in parameters:
        (decayed if parameter.ndim > 1 else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def adamw(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW for the parameters that need a gradient."""
    parameters = (parameter for parameter in model.parameters() if parameter.requires_grad)
    return torch.optim.AdamW(adamw_groups(parameters, settings.weight_decay), lr=settings.learning_rate)


def train(
    model: PreTrainedModel,
    samples: Dataset,
    collator: Callable[[Any], dict[str, Any]],
    folder: Path,
    settings: TrainingSettings,
    *,
    validation: Dataset | None = None,
    model_loss: Callable[[nn.Module, dict[str, Any]], tuple[Tensor, Any]] | None = None,
    make_optimizer: Callable[[nn.Module, TrainingSettings], torch.optim.Optimizer] = adamw,
    callbacks: Iterable[TrainerCallback] = (),
) -> TrainingSummary:
    """Train a model, or go on with a run that was interrupted; in the end it has its averaged weights.

    Args:
        model: trained in place.
        samples: as many as all steps take, in their order.
        collator: from samples to a batch.
        folder: of the run; `checkpoints` in it is where a run goes on.
        settings: how. They must be the same when a run goes on.
        validation: samples whose loss is measured whenever a checkpoint is written.
        model_loss: loss, a scalar, and outputs for a model that computes no loss itself.
        make_optimizer: from the model and the settings to the optimizer.
        callbacks: more of them; when they are told of an evaluation the model has its averaged weights.
    """
    checkpoint = last_checkpoint(folder)
    interrupt = StopAtInterrupt()
    trainer = _Trainer(
        model=model,
        args=_arguments(folder, settings, validation is not None),
        data_collator=collator,
        train_dataset=samples,
        eval_dataset=validation,
        optimizers=(make_optimizer(model, settings), None),
        callbacks=[ConsoleLog(settings.batch_size), *callbacks, interrupt, *_tensorboard(folder)],
    )
    average = AveragedWeights(model, settings.average_decay, checkpoint)  # where the trainer has put the model
    trainer.average, trainer.model_loss = average, model_loss
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(average)
    first = int(checkpoint.name.rsplit("-", 1)[1]) if checkpoint is not None else 0
    start = time.monotonic()
    with interrupt.listening():
        output = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    average.apply()
    model.eval()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return TrainingSummary(
        output.global_step,
        output.global_step - first,
        time.monotonic() - start,
        float(output.training_loss),
        (logged[0], logged[-1]) if logged else (),
        interrupt.is_asked and output.global_step < settings.num_steps,
    )


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that is complete, None if there is none."""
    found = [path.parent for path in (folder / CHECKPOINTS).glob(f"{PREFIX_CHECKPOINT_DIR}-*/{AVERAGE_NAME}")]
    return max(found, key=lambda path: int(path.name.rsplit("-", 1)[1]), default=None)


def _arguments(folder: Path, settings: TrainingSettings, has_validation: bool) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder / CHECKPOINTS),
        max_steps=settings.num_steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": settings.final_learning_rate},
        warmup_steps=settings.warmup_steps,
        max_grad_norm=settings.max_gradient_norm,
        seed=settings.seed,
        train_sampling_strategy="sequential",  # the samples bring their order
        remove_unused_columns=False,
        dataloader_num_workers=settings.num_workers,
        dataloader_persistent_workers=settings.num_workers > 0,
        dataloader_pin_memory=not settings.use_cpu and torch.cuda.is_available(),
        logging_steps=settings.log_steps,
        logging_nan_inf_filter=False,
        save_steps=settings.save_steps,
        save_total_limit=CHECKPOINTS_KEPT,
        eval_strategy="steps" if has_validation else "no",
        eval_steps=settings.save_steps,
        prediction_loss_only=True,
        bf16=settings.precision == "bfloat16",
        fp16=settings.precision == "float16",
        use_cpu=settings.use_cpu,
        ddp_find_unused_parameters=False,
        report_to="none",
        disable_tqdm=True,
    )
    # Several GPUs take one process each, as torchrun starts them.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _tensorboard(folder: Path) -> list[TrainerCallback]:
    """A callback that logs to `logs` in the folder, where TensorBoard is installed."""
    from transformers.integrations import TensorBoardCallback, is_tensorboard_available

    if not is_tensorboard_available():
        return []
    from torch.utils.tensorboard import SummaryWriter

    return [TensorBoardCallback(SummaryWriter(log_dir=str(folder / "logs")))]
