"""`hfpose cache`: what lies in the cache of converted models."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from hfpose.zoo import get_main_entry


def cache(
    names: Annotated[list[str] | None, typer.Argument(help="Models to delete, with --clean.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Delete the named models.")] = False,
    clean_all: Annotated[bool, typer.Option("--clean-all", help="Delete all, unfinished downloads included.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models in hfpose's cache, or delete some. What came from the Hub is in `hf cache`."""
    from hfpose import hub

    if clean != bool(names):
        raise typer.BadParameter("give the names of the models to delete with --clean, and only then.")
    if clean or clean_all:
        cached = {model.name for model in hub.list_cached()}
        chosen = None if clean_all else [name if name in cached else get_main_entry(name).name for name in names or ()]
        print(f"Freed {_megabytes(hub.clean_cache(chosen))}.")
        return
    models = hub.list_cached()
    if as_json:
        rows = [{"name": m.name, "path": str(m.path), "size": m.size, "modified": m.modified} for m in models]
        print(json.dumps(rows, indent=2))
        return
    for model in models:
        day = datetime.fromtimestamp(model.modified).strftime("%Y-%m-%d")
        print(f"{_megabytes(model.size):>11}  {day}  {model.name}")
    print(f"{_megabytes(sum(model.size for model in models)):>11}  in {hub.cache_dir()}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
