"""`hfpose models`: what there is to choose from."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from hfpose.hub.zoo import PACKAGED_ENTRIES, RENDERED_SCENES, TASKS, ModelEntry, Task, list_entries

COLUMNS = ("task", "name", "aliases", "input", "keypoints or classes", "loadable")


def models(
    task: Annotated[str | None, typer.Option(help=f"Only models for one task: {', '.join(TASKS)}.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the names and aliases of all models."""
    if task is not None and task not in TASKS:
        raise typer.BadParameter(f"{task!r} is none of {', '.join(TASKS)}.", param_hint="--task")
    chosen: Task | None = next((known for known in TASKS if known == task), None)
    entries = [*(entry for entry in PACKAGED_ENTRIES if chosen in (None, entry.task)), *list_entries(chosen)]
    if as_json:
        print(json.dumps([_as_dict(entry) for entry in entries], indent=2))
    else:
        print(_table([_row(entry) for entry in entries]))
        names = " and ".join(entry.name for entry in PACKAGED_ENTRIES)
        print(f"\n{names} come with hfpose, for a first try without a network; they know {RENDERED_SCENES} only.")


def _as_dict(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "task": entry.task,
        "family": entry.family,
        "aliases": list(entry.aliases),
        "input_size": list(entry.input_size) if entry.input_size else None,
        "schema": entry.schema,
        "labels": list(entry.labels),
        "default_detector": entry.default_detector,
        "detector_labels": list(entry.detector_labels) if entry.detector_labels is not None else None,
        "supported": entry.supported,
        "checkpoint_url": entry.checkpoint_url,
        "metrics": {dataset: dict(values) for dataset, values in entry.metrics.items()},
    }


def _row(entry: ModelEntry) -> tuple[str, ...]:
    size = "x".join(map(str, entry.input_size)) if entry.input_size else "-"
    kinds = entry.schema or (entry.labels[0] if len(entry.labels) == 1 else f"{len(entry.labels)} classes")
    return entry.task, entry.name, ", ".join(entry.aliases), size, kinds, "yes" if entry.supported else "not yet"


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [COLUMNS, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
