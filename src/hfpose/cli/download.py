"""`hfpose download`: fetch models ahead of time, for machines that will be offline."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hfpose.cli.model_command import complete_model
from hfpose.errors import HFPoseError


def download(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Zoo names or aliases (`hfpose models` lists them), or hub repositories.",
            autocompletion=complete_model,
        ),
    ],
    check_hash: Annotated[
        bool, typer.Option(help="--no-check-hash takes a checkpoint whose SHA-256 is not the one that is stated.")
    ] = True,
) -> None:
    """Fetch and convert models and what goes before them (detector, 2D model), so that they work offline."""
    results = [_download(name, check_hash) for name in names]
    sys.exit(not all(results))


def _download(name: str, check_hash: bool) -> bool:
    """Whether it went well; otherwise the reason is on stderr, and the other names can go on."""
    from hfpose.hub.resolve import download

    try:
        folders = download(name, check_hash=check_hash)
    except HFPoseError as error:
        print(f"hfpose: {name}: {error}", file=sys.stderr)
        return False
    print(f"{name}:", *folders, sep="\n  ")
    return True
