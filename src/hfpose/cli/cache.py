"""`hfpose cache`: what lies in the cache of converted models."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer

from hfpose.hub.zoo import TASKS, find_entry


def cache(
    names: Annotated[list[str] | None, typer.Argument(help="Models to delete, with --clean.")] = None,
    clean: Annotated[bool, typer.Option("--clean", help="Delete the named models.")] = False,
    clean_all: Annotated[bool, typer.Option("--clean-all", help="Delete all, unfinished downloads included.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models in hfpose's cache, or delete some. What came from the Hub is in `hf cache`."""
    from hfpose.hub.downloads import folder_size, graph_dirs
    from hfpose.hub.resolve import cache_dir, clean_cache, list_cached, unlisted_size

    if clean != bool(names):
        raise typer.BadParameter("give the names of the models to delete with --clean, and only then.")
    if clean or clean_all:
        cached = {model.name for model in list_cached()}
        chosen = None if clean_all else [found for name in names or () for found in _named(name, cached)]
        print(f"Freed {_megabytes(clean_cache(chosen))}.")
        return
    models = list_cached()
    if as_json:
        rows = [{"name": m.name, "path": str(m.path), "size": m.size, "modified": m.modified} for m in models]
        print(json.dumps(rows, indent=2))
        return
    for model in models:
        day = datetime.fromtimestamp(model.modified).strftime("%Y-%m-%d")
        print(f"{_megabytes(model.size):>11}  {day}  {model.name}")
    graphs, rest = sum(map(folder_size, graph_dirs())), unlisted_size()
    if graphs:
        print(f"{_megabytes(graphs):>11}  graphs that backends made of models, which --clean-all deletes too")
    if rest:
        print(f"{_megabytes(rest):>11}  unfinished downloads and the like, which --clean-all deletes too")
    print(f"{_megabytes(sum(model.size for model in models) + graphs + rest):>11}  in {cache_dir()}")


def _named(name: str, cached: set[str]) -> list[str]:
    """What a name or alias means of the cache; the name itself where it means nothing there."""
    if name in cached:
        return [name]
    entries = [entry.name for task in TASKS if (entry := find_entry(name, task))]
    return [found for found in entries if found in cached] or entries[:1] or [name]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
