"""`hfpose convert`: a checkpoint of the reference into a folder of ours."""

from pathlib import Path
from typing import Annotated

import typer

from hfpose.cli.shared import CheckHash, TaskOption


def convert(
    checkpoint: Annotated[str, typer.Option(help="Path or URL of the .pth file.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str | None, typer.Argument(help="Zoo name or alias; `hfpose models` lists them.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Config file in MMPose's or MMDetection's style, for a model of your own.")
    ] = None,
    task: TaskOption = None,
    check_hash: CheckHash = True,
) -> None:
    """Convert a checkpoint of MMPose or MMDetection. Nothing in it is executed."""
    if name is None and config is None:
        raise typer.BadParameter("give the NAME of a zoo model, or --config with a config file of your own.")
    from hfpose.checkpoints.convert_checkpoint import convert_checkpoint

    folder = convert_checkpoint(name, checkpoint, output, config=config, task=task, check_hash=check_hash)
    print(f"Wrote {folder}. Load it by its path, as in pipeline(..., model={str(folder)!r}).")
