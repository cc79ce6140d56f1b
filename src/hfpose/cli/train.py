"""`hfpose train`: fine-tunes a model on annotated images."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from hfpose.cli.shared import Data, Images, PoseModel, Schema, Sigmas


def train(
    model: PoseModel,
    data: Data,
    output: Annotated[Path, typer.Option(help="Folder for the model, its card, checkpoints and logs.")],
    images: Images = None,
    val_data: Annotated[
        Path | None, typer.Option(help="Annotations to measure the model on; of YOLO's the split val.")
    ] = None,
    val_images: Annotated[
        Path | None, typer.Option(help="Folder of their images. Default: that of --val-data, or else --images.")
    ] = None,
    schema: Schema = None,
    sigmas: Sigmas = None,
    part: Annotated[
        str | None, typer.Option(help="Of a pipeline: pose or detector. Default: pose where the data have keypoints.")
    ] = None,
    epochs: Annotated[float, typer.Option(min=0.01, help="Passes over the data.")] = 20.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps, instead of --epochs.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples in a step, on each device.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Greatest learning rate of AdamW.")] = 5e-4,
    average_decay: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of the averaged weights that stays in a step; 0: no average."),
    ] = 0.9998,
    precision: Annotated[
        Literal["float32", "bfloat16", "float16"],
        typer.Option(help="Of the forward pass: float32, bfloat16 or float16."),
    ] = "float32",
    workers: Annotated[int, typer.Option(min=0, help="Processes that load and change images.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    log_steps: Annotated[int, typer.Option(min=1, help="Steps between lines of the log.")] = 20,
    save_steps: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 200,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Checkpoints without a better validation metric after which training stops."),
    ] = None,
    allow_faults: Annotated[
        bool, typer.Option("--allow-faults", help="Train although the data look wrong; see `hfpose check-data`.")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Use the CPU even where there is an accelerator.")] = False,
) -> None:
    """Fine-tune a model. Ctrl-C saves a checkpoint; called again, it goes on where it was.

    With --val-data the model is measured before, at each checkpoint and after; the weights that were best are kept.
    """
    from transformers.utils import logging

    from hfpose.training.fine_tuning import FineTuning, fine_tune

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    task = FineTuning(
        model=model,
        data=data,
        output=output,
        images=images,
        validation_data=val_data,
        validation_images=val_images,
        schema=schema,
        sigmas=sigmas,
        part=part,
        patience=patience,
        allow_faults=allow_faults,
        epochs=epochs,
        num_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        average_decay=average_decay,
        seed=seed,
        num_workers=workers,
        log_steps=log_steps,
        save_steps=save_steps,
        precision=precision,
        use_cpu=cpu,
    )
    summary = fine_tune(task, tell=lambda message: print(f"hfpose: {message}", flush=True))
    if summary.is_interrupted:
        raise typer.Exit(130)
    print(
        f"Wrote {output} after {summary.num_steps} steps ({summary.seconds / 60:.1f} minutes). "
        f"Load it by its path, as in pipeline(..., model={str(output)!r})."
    )
