"""`hfpose download`: fetch models ahead of time, for machines that will be offline."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hfpose.errors import HFPoseError


def download(
    names: Annotated[
        list[str], typer.Argument(help="Zoo names or aliases (`hfpose models` lists them), or hub repositories.")
    ],
) -> None:
    """Fetch and convert models and what goes before them (detector, 2D model), so that they work offline."""
    results = [_download(name) for name in names]
    sys.exit(not all(results))


def _download(name: str) -> bool:
    """Whether it went well; otherwise the reason is on stderr, and the other names can go on."""
    from hfpose.hub.resolve import download

    try:
        folders = download(name)
    except HFPoseError as error:
        print(f"hfpose: {name}: {error}", file=sys.stderr)
        return False
    print(f"{name}:", *folders, sep="\n  ")
    return True
