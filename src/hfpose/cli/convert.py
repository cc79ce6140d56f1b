"""`hfpose convert`: a checkpoint of the reference into a folder of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hfpose.hub.zoo import TASKS, Task


def convert(
    checkpoint: Annotated[str, typer.Option(help="Path or URL of the .pth file.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str | None, typer.Argument(help="Zoo name or alias; `hfpose models` lists them.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Config file in MMPose's or MMDetection's style, for a model of your own.")
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"For a name that several tasks know: {', '.join(TASKS)}.")] = None,
    check_hash: Annotated[
        bool, typer.Option(help="--no-check-hash takes a checkpoint whose SHA-256 is not the one that is stated.")
    ] = True,
) -> None:
    """Convert a checkpoint of MMPose or MMDetection. Nothing in it is executed."""
    if name is None and config is None:
        raise typer.BadParameter("give the NAME of a zoo model, or --config with a config file of your own.")
    if task is not None and task not in TASKS:
        raise typer.BadParameter(f"{task!r} is none of {', '.join(TASKS)}.", param_hint="--task")
    from hfpose.checkpoints.convert_checkpoint import convert_checkpoint

    chosen: Task | None = next((known for known in TASKS if known == task), None)
    folder = convert_checkpoint(name, checkpoint, output, config=config, task=chosen, check_hash=check_hash)
    print(f"Wrote {folder}. Load it by its path, as in pipeline(..., model={str(folder)!r}).")
