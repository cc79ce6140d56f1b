"""Write how large each model of the zoo is, and docs/models.md, the table of all models.

    python conversion/measure_models.py                # build every model on the meta device, which takes no memory
    python conversion/measure_models.py --docs-only    # write the table anew from the numbers that are there

Parameters and multiply-adds (GFLOPs, as papers count them) go to src/hfpose/hub/sizes.json; multiply-adds are those of one
image of the model's own size. Exit code 1 if a model cannot be built.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import PreTrainedModel

from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import SIZES, ModelEntry, list_entries
from hfpose.media.files import atomic_path

TABLE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BYTES_PER_PARAMETER = 4
TITLES = {"pose": "Pose models", "lifter": "Lifters, from 2D to 3D", "detector": "Detectors"}
HEAD = """# Models

Written by `conversion/measure_models.py`. `hfpose models WORD --task pose --keypoints coco --sort ap` searches it.

Results are the published ones of the checkpoint, on the data set in brackets. GFLOPs are multiply-adds for one image of the
model's input size, parameters are counted with those that only training needs, and the download is that of the float32
weights. Each name has a [card](../model_cards).
"""


def measure(entry: ModelEntry) -> dict[str, Any]:
    """Parameters of a model, and multiply-adds of one image where the model takes images."""
    source = ModelSource.from_entry(entry)
    with torch.device("meta"):
        model = source.conversion.MODEL_CLASS(source.conversion.config_from_reference(source.reference, source.schema))
    source.conversion.image_processor_from_reference(source.reference)
    size = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    return size if entry.input_size is None else size | {"gflops": gflops(model.eval(), entry.input_size)}


def outcome(entry: ModelEntry) -> dict[str, Any] | str:
    """What `measure` gives, or why it does not."""
    try:
        return measure(entry)
    except Exception as error:  # whatever it is, the other models are measured
        return f"{type(error).__name__}: {error}"


def gflops(model: PreTrainedModel, input_size: Sequence[int]) -> float:
    """Multiply-adds of one image (width, height), in thousand millions."""
    width, height = input_size
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(pixel_values=torch.empty(1, 3, height, width, device="meta"))
    return round(counter.get_total_flops() / 2e9, 2)


def table(entries: Sequence[ModelEntry]) -> str:
    """The page with all models, by task and keypoints, best first."""
    parts = [HEAD]
    for task, title in TITLES.items():
        parts.append(f"## {title}\n")
        ordered = sorted((entry for entry in entries if entry.task == task), key=lambda entry: entry.schema or "")
        for schema, group in groupby(ordered, key=lambda entry: entry.schema):
            if schema is not None and task == "pose":
                parts.append(f"### {schema}\n")
            rows = ["| name | result | parameters | GFLOPs | download |", "| --- | --- | --: | --: | --: |"]
            rows += [row(entry) for entry in sorted(group, key=lambda entry: -entry.ap)]
            parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def row(entry: ModelEntry) -> str:
    name = f"[{entry.name}](../model_cards/{entry.name}.md)"
    if entry.aliases:
        name += f" ({', '.join(f'`{alias}`' for alias in entry.aliases)})"
    count = entry.parameters or 0
    cells = (
        name,
        str(entry.main_result or ""),
        f"{count / 1e6:.1f} M",
        "" if entry.gflops is None else f"{entry.gflops:g}",
    )
    return f"| {' | '.join(cells)} | {count * BYTES_PER_PARAMETER / 1e6:.0f} MB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    entries = list_entries()
    if arguments.docs_only:
        TABLE.write_text(table(entries), encoding="utf-8")
        return
    measured = {entry.name: outcome(entry) for entry in tqdm(entries, unit="model", disable=None)}
    sizes = {name: size for name, size in measured.items() if isinstance(size, dict)}
    failures = [f"{name}: {size}" for name, size in measured.items() if isinstance(size, str)]
    with atomic_path(SIZES) as path:
        lines = (f" {json.dumps(name)}: {json.dumps(size)}" for name, size in sizes.items())
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(sizes)} models built", *failures, "Now: python conversion/measure_models.py --docs-only", sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
