"""`hfpose cache`: what lies in the cache of converted models."""

import json
import sys
from datetime import datetime
from typing import Annotated

import typer

from hfpose.hub.zoo import TASKS, find_entry

app = typer.Typer(invoke_without_command=True)


@app.callback()
def cache(
    context: typer.Context,
    clean: Annotated[list[str] | None, typer.Option(help="Delete this model; may be given several times.")] = None,
    clean_all: Annotated[bool, typer.Option("--clean-all", help="Delete all, unfinished downloads included.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the models in hfpose's cache, delete some, or verify them. What came from the Hub is in `hf cache`."""
    from hfpose.hub.cache import clean_cache, list_cached, unlisted_size
    from hfpose.hub.downloads import cache_dir, folder_size, graph_dirs

    if context.invoked_subcommand is not None:
        return
    if clean or clean_all:
        print(f"Freed {_megabytes(clean_cache(None if clean_all else _named(clean or [])))}.")
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


@app.command(epilog="Example: hfpose cache verify human")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Models to verify; by default all.")] = None,
) -> None:
    """Compare every file in the cache with the hash that was kept when it was converted. Code 1 where one differs."""
    from hfpose.hub.cache import verify_cache

    found = verify_cache(_named(names) if names else None)
    for name, changed in found.items():
        result = (
            "no hashes were kept" if changed is None else f"changed: {', '.join(changed)}" if changed else "unchanged"
        )
        print(f"{name}: {result}")
    sys.exit(any(found.values()))


def _named(names: list[str]) -> list[str]:
    """What names or aliases mean of the cache; a name itself where it means nothing there."""
    from hfpose.hub.cache import list_cached

    cached = {model.name for model in list_cached()}
    meant: list[str] = []
    for name in names:
        entries = [entry.name for task in TASKS if (entry := find_entry(name, task))]
        meant += [found for found in (name, *entries) if found in cached] or entries[:1] or [name]
    return list(dict.fromkeys(meant))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
