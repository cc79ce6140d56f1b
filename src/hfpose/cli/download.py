"""`hfpose download`: fetch models ahead of time, for machines that will be offline."""

from typing import Annotated

import typer

from hfpose.cli.shared import CheckHash, complete_model, for_each


def download(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Zoo names or aliases (`hfpose models` lists them), or hub repositories.",
            autocompletion=complete_model,
        ),
    ],
    check_hash: CheckHash = True,
) -> None:
    """Fetch and convert models and what goes before them (detector, 2D model), so that they work offline."""
    from hfpose.hub.resolve import download

    for_each(names, lambda name: "\n  ".join([f"{name}:", *map(str, download(name, check_hash=check_hash))]))
