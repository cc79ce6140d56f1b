"""Write how large and how fast each model of the zoo is, and docs/models.md, the table of all models.

    python conversion/measure_models.py                # build every model on the meta device, which takes no memory
    python conversion/measure_models.py --speed        # run those that have no time yet, with weights from a seed
    python conversion/measure_models.py --docs-only    # write the table again from the numbers that are there

All goes to src/hfpose/hub/sizes.json: parameters; multiply-adds (GFLOPs, as papers count them) of one image of the
model's own size; and milliseconds that its network takes for one image, or for one clip of a lifter, by
`backend="torch"` on one thread of a CPU. A time is the least of some runs and counts what the process itself computed,
so that other work on the machine matters little; networks that differ in their keypoints alone are run once. `--speed`
goes on where it was stopped. Exit code 1 if a model cannot be built or run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from hfpose.backends.torch_backend import TorchRunner
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import SIZES, ModelEntry, list_entries
from hfpose.media.files import write_text

TABLE = Path(__file__).resolve().parents[1] / "docs" / "models.md"
BYTES_PER_PARAMETER = 4
REPETITIONS = 2
TITLES = {"pose": "Pose models", "lifter": "Lifters, from 2D to 3D", "detector": "Detectors"}
HEAD = """# Models

Written by `conversion/measure_models.py`. `hfpose models WORD --task pose --keypoints coco --sort ap` searches it.

Results are the published ones of the checkpoint, on the data set in brackets. GFLOPs are multiply-adds for one image of the
model's input size, parameters are counted with those that only training needs, and the download is that of the float32
weights. Each name has a [card](../model_cards).

`ms` is what the network takes for one image (one clip for a lifter) on one thread of a CPU, in float32 with `backend="torch"`,
reading and decoding left out. It was measured on a machine that others used too, so compare these numbers with each other
only; what pipelines take is in [performance](performance.md). Weights come from a seed: they do not change the time.
"""

Measured = dict[str, Any]


def make_config(entry: ModelEntry) -> PreTrainedConfig:
    """The configuration of the model of a name."""
    source = ModelSource.from_entry(entry)
    source.conversion.image_processor_from_reference(source.reference)
    return source.conversion.config_from_reference(source.reference, source.schema)


def make_model(entry: ModelEntry, device: str) -> PreTrainedModel:
    """The model of a name with fresh weights."""
    with torch.device(device):
        return ModelSource.from_entry(entry).conversion.MODEL_CLASS(make_config(entry)).eval()


def size(entry: ModelEntry) -> Measured:
    """Parameters of a model, and multiply-adds of one image where the model takes images."""
    model = make_model(entry, "meta")
    count = {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    if entry.input_size is None:
        return count
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**one_input(model, entry))
    return count | {"gflops": round(counter.get_total_flops() / 2e9, 2)}


def speed(entry: ModelEntry) -> Measured:
    """Milliseconds of the network for one image or clip."""
    torch.manual_seed(0)
    runner = TorchRunner(model := make_model(entry, "cpu"))
    inputs = one_input(model, entry)
    times = []
    with torch.inference_mode():
        for _ in range(1 + REPETITIONS):  # the first run prepares the model
            start = time.process_time()
            runner(**inputs)
            times.append(time.process_time() - start)
    return {"milliseconds": float(f"{1000 * min(times[1:]):.3g}")}


def network(entry: ModelEntry) -> str:
    """All that tells networks apart, but for their keypoints."""
    settings = make_config(entry).to_dict()
    others = {
        name: value for name, value in settings.items() if name not in ("id2label", "label2id", "keypoint_schema")
    }
    return json.dumps([entry.input_size, others], sort_keys=True, default=str)


def one_input(model: PreTrainedModel, entry: ModelEntry) -> dict[str, Tensor]:
    """One image of the model's size, or one clip as long as the model sees."""
    if entry.input_size is None:
        config: Any = model.config
        return {"keypoints_2d": torch.rand(1, config.max_frames, config.num_labels, config.num_channels)}
    width, height = entry.input_size
    return {"pixel_values": torch.rand(1, 3, height, width, device=model.device)}


def outcome(measure: Callable[[ModelEntry], Measured], entry: ModelEntry) -> Measured | str:
    """What is measured, or why it cannot be."""
    try:
        return measure(entry)
    except Exception as error:  # whatever it is, the other models are measured
        return f"{type(error).__name__}: {error}"


def table(entries: Sequence[ModelEntry]) -> str:
    """The page with all models, by task and keypoints, best first."""
    parts = [HEAD]
    for task, title in TITLES.items():
        parts.append(f"## {title}\n")
        ordered = sorted((entry for entry in entries if entry.task == task), key=lambda entry: entry.schema or "")
        for schema, group in groupby(ordered, key=lambda entry: entry.schema):
            if schema is not None and task == "pose":
                parts.append(f"### {schema}\n")
            rows = ["| name | result | parameters | GFLOPs | ms | download |", "| --- | --- | --: | --: | --: | --: |"]
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
        "" if entry.milliseconds is None else f"{entry.milliseconds:g}",
    )
    return f"| {' | '.join(cells)} | {count * BYTES_PER_PARAMETER / 1e6:.0f} MB |"


def save(sizes: Mapping[str, Measured]) -> None:
    """Write what is known of each model, a line for each."""
    lines = (f" {json.dumps(entry.name)}: {json.dumps(sizes[entry.name])}" for entry in list_entries())
    write_text(SIZES, "{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs-only", action="store_true", help="measure nothing")
    parser.add_argument("--speed", action="store_true", help="measure the time of models that have none")
    parser.add_argument("--most", type=int, help="how many models at most")
    arguments = parser.parse_args()
    entries = list_entries()
    if arguments.docs_only:
        TABLE.write_text(table(entries), encoding="utf-8")
        return
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)  # fresh weights may let values fade to those, which are slow
    sizes: dict[str, Measured] = {entry.name: {} for entry in entries} | json.loads(SIZES.read_text(encoding="utf-8"))
    if arguments.speed:
        entries = [entry for entry in entries if "milliseconds" not in sizes[entry.name]]
        entries.sort(key=lambda entry: entry.gflops or 0)  # where it is stopped, most are done
    failures, twins = [], dict[str, Measured | str]()
    for entry in tqdm(entries[: arguments.most], unit="model", disable=None):
        if arguments.speed:
            key = network(entry)
            found = twins[key] = twins.get(key) or outcome(speed, entry)
        else:
            found = outcome(size, entry)
        if isinstance(found, str):
            failures.append(f"{entry.name}: {found}")
            continue
        sizes[entry.name] |= found
        save(sizes)
    print(*failures, "Now: python conversion/measure_models.py --docs-only", sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
