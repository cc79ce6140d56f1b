"""`hfpose models`: what there is to choose from."""

import json
import math
import sys
from collections.abc import Sequence
from typing import Annotated, Literal

import typer

from hfpose.hub.zoo import PACKAGED_ENTRIES, RENDERED_SCENES, ModelEntry, Task, list_entries
from hfpose.keypoints import load_schema

COLUMNS = ("task", "name", "aliases", "input", "keypoints or classes", "result", "parameters", "GFLOPs", "ms")

_JSON_FIELDS = (
    "name", "task", "family", "aliases", "input_size", "schema", "labels", "default_detector", "detector_labels",
    "parameters", "gflops", "milliseconds", "checkpoint_url", "metrics",
)  # fmt: skip


def models(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            help="Only models with all of these words in their name, aliases, keypoints or data.", metavar="WORD"
        ),
    ] = None,
    task: Annotated[Task | None, typer.Option(help="Only models for one task: pose, detector or lifter.")] = None,
    keypoints: Annotated[
        str | None,
        typer.Option(help="Only models of a keypoint schema, such as coco, or of so many keypoints, such as 133."),
    ] = None,
    sort: Annotated[
        Literal["ap", "speed"] | None,
        typer.Option(
            help="ap: best published average precision first; speed: least time on one thread of a CPU first."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the names and aliases of all models, or of those that are asked for."""
    known = [*(entry for entry in PACKAGED_ENTRIES if task in (None, entry.task)), *list_entries(task)]
    entries = [entry for entry in known if _has_keypoints(entry, keypoints) and _has(entry, words or ())]
    if sort == "ap":
        entries.sort(key=lambda entry: -entry.ap)
    elif sort == "speed":
        entries.sort(key=lambda entry: entry.milliseconds or math.inf)
    if as_json:
        print(json.dumps([{name: getattr(entry, name) for name in _JSON_FIELDS} for entry in entries], indent=2))
    elif entries:
        print(_table([_row(entry) for entry in entries]))
        names = " and ".join(entry.name for entry in PACKAGED_ENTRIES)
        print(
            f"\n{names} come with hfpose, for a first try without a network; they were trained on {RENDERED_SCENES}."
        )
    else:
        print("No model is like that. Without options and words `hfpose models` lists all.", file=sys.stderr)
        raise typer.Exit(1)


def _has_keypoints(entry: ModelEntry, keypoints: str | None) -> bool:
    """Whether a model finds the keypoints of a schema, or so many of them."""
    if keypoints is None or entry.schema is None:
        return keypoints is None
    return keypoints in (entry.schema, str(load_schema(entry.schema).num_keypoints))


def _has(entry: ModelEntry, words: Sequence[str]) -> bool:
    """Whether every word is in what a model is called, finds or was trained on."""
    text = " ".join((entry.name, *entry.aliases, entry.schema or "", *entry.labels, *entry.training_data)).casefold()
    return all(word.casefold() in text for word in words)


def _row(entry: ModelEntry) -> tuple[str, ...]:
    size = "x".join(map(str, entry.input_size)) if entry.input_size else "-"
    result = "" if entry.main_result is None else str(entry.main_result)
    parameters = "" if entry.parameters is None else f"{entry.parameters / 1e6:.1f} M"
    gflops = "" if entry.gflops is None else f"{entry.gflops:g}"
    time = "" if entry.milliseconds is None else f"{entry.milliseconds:g}"
    return entry.task, entry.name, ", ".join(entry.aliases), size, entry.finds, result, parameters, gflops, time


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(COLUMNS, *rows, strict=True)]
    lines = [COLUMNS, tuple("-" * width for width in widths), *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
