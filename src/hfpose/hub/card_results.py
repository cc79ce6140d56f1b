"""Measured numbers in a model card: one line for each set of images and way of measuring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hfpose.media.files import write_text

CARD_NAME = "README.md"
START, END = "<!-- results: lines written by `hfpose eval` -->", "<!-- end of results -->"


def add_results(folder: Path, data: str, protocol: str, metrics: Mapping[str, float]) -> None:
    """Write metrics into a model's card, in the place of earlier ones for the same data and protocol (a few words
    each).

    A card without a section of results, or no card at all, gets one.
    """
    path = folder / CARD_NAME
    text = path.read_text(encoding="utf-8") if path.is_file() else f"# {folder.resolve().name}\n"
    if START not in text or END not in text:
        text = f"{text.rstrip()}\n\n## Results\n\n{START}\n{END}\n"
    before, rest = text.split(START, 1)
    section, after = rest.split(END, 1)
    key = f"- {data}, {protocol}: "
    values = ", ".join(f"{name} {value:.3f}" for name, value in metrics.items() if value == value)  # no NaN
    kept = [line for line in section.strip().splitlines() if line and not line.startswith(key)]
    lines = "\n".join([START, *kept, f"{key}{values}", END])
    write_text(path, f"{before}{lines}{after}")
