"""What half precision costs in accuracy: the demo's networks on rendered scenes that they were not trained on.

    python benchmarks/half_precision.py --write-docs    # and the table in docs/performance.md
    python benchmarks/half_precision.py --device cuda --write-docs    # float16 there, beside the CPU
    python benchmarks/half_precision.py --parts families --write-docs    # how far outputs of other families move

By the first table `dtype="auto"` knows the families that lose nothing, see `hfpose.backends.auto_backend`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

import measuring
from hfpose.annotations import CocoFile, read_coco
from hfpose.backends.onnx_graphs import comparable_outputs, example_inputs
from hfpose.backends.select import make_runner
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError
from hfpose.evaluation.evaluation_run import evaluate_pose_pipeline
from hfpose.hub.resolve import resolve
from hfpose.hub.zoo import get_entry
from hfpose.ops.boxes import pairwise_iou
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.pipelines.stage import Stage, load_stage
from measuring import in_turns, machine, machine_sentence, processor_seconds, table, write_report
from workloads import set_statistics


@dataclass(frozen=True)
class Variant:
    """Where stages compute, those in half precision, and what runs these."""

    halved: tuple[str, ...] = ()
    backend: Any = "torch"
    device: str = "cpu"
    dtype: torch.dtype = torch.bfloat16


# The first is what others are compared with.
VARIANTS = {
    "float32": Variant(),
    "pose in bfloat16, torch": Variant(("pose",)),
    "pose in bfloat16, OpenVINO": Variant(("pose",), "openvino"),
    "detector in bfloat16, torch": Variant(("detector",)),
    "detector in bfloat16, OpenVINO": Variant(("detector",), "openvino"),
}


def accelerator_variants(device: str) -> dict[str, Variant]:
    """What is measured where an accelerator computes."""
    halves = {"float32": (), "pose in float16": ("pose",), "detector in float16": ("detector",)}
    halves["both in float16, the default"] = ("detector", "pose")
    on_device = {name: Variant(halved, device=device, dtype=torch.float16) for name, halved in halves.items()}
    return {"float32 on the CPU": Variant(), **on_device}


SAME_BOX = 0.5
# A small published network of each family.
FAMILIES: dict[str, Any] = {
    "rtmpose-m_8xb256-420e_coco-256x192": "pose",
    "rtmdet_nano_320-8xb32_coco-person": "detector",
    "rtmo-s_8xb32-600e_coco-640x640": "pose",
    "yoloxpose_tiny_4xb64-300e_coco-416": "pose",
    "yolox_s_8xb8-300e_coco": "detector",
    "ssdlite_mobilenetv2-scratch_8xb24-600e_coco": "detector",
    "td-hm_mobilenetv2_8xb64-210e_coco-256x192": "pose",
    "td-hm_hrnet-w32_8xb64-210e_coco-256x192": "pose",
    "td-hm_ViTPose-small_8xb64-210e_coco-256x192": "pose",
    "simcc_mobilenetv2_wo-deconv-8xb64-210e_coco-256x192": "pose",
    "td-reg_mobilenetv2_rle-pretrained-8xb64-210e_coco-256x192": "pose",
    "motionbert_dstformer-243frm_8xb32-240e_h36m": "lifter",
    "video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m": "lifter",
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--parts", nargs="+", default=["demo"], choices=("demo", "families"))
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--device", default="cpu", help="an accelerator, which is set beside the CPU")
    options = parser.parse_args(arguments)
    if "families" in options.parts:
        moved = {name: moved_outputs(name, task) for name, task in FAMILIES.items()}
        facts = {"machine": machine(None), "families": moved}
        write_report("half_precision_families", options.output, family_report(facts), facts, options.write_docs)
    if "demo" not in options.parts:
        return
    with tempfile.TemporaryDirectory() as folder:
        from rendered_people.scene_files import write_scenes

        coco = read_coco(write_scenes(Path(folder), range(options.scenes)))
        is_on_cpu = torch.device(options.device).type == "cpu"
        variants = VARIANTS if is_on_cpu else accelerator_variants(options.device)
        found = {}
        for name, variant in variants.items():
            try:
                found[name] = measure(coco, variant)
            except ConfigError as error:  # the machine has no such type
                print(f"{name} is left out: {error}", flush=True)
        facts = {"machine": machine(None, options.device), "scenes": options.scenes, "variants": _compared(found)}
    name = "half_precision" if is_on_cpu else "half_precision_accelerator"
    write_report(name, options.output, report(facts), facts, options.write_docs)


def measure(coco: CocoFile, variant: Variant) -> dict[str, Any]:
    """Average precision with the boxes of the detector and with annotated ones, and what is found in each image."""
    folder = resolve("demo", "pose")
    loaded = {name: _stage(folder / name, name, variant) for name in ("detector", "pose")}
    pipe = PoseEstimationPipeline(loaded["pose"], detector=loaded["detector"])
    people = [pipe(str(image.path)) for image in coco.images]
    return {
        "detected": evaluate_pose_pipeline(pipe, coco).metrics["AP"],
        "annotated": evaluate_pose_pipeline(pipe, coco, "annotations").metrics["AP"],
        "people": people,
        "pipe": pipe,
        "images": [str(image.path) for image in coco.images],
    }


def _stage(folder: Path, name: Any, variant: Variant) -> Stage:
    stage = load_stage(folder, name, device=variant.device)
    if name not in variant.halved:
        return stage
    runner = make_runner(stage.model, stage.image_processor, variant.backend, True, inner_dtype=variant.dtype)
    return replace(stage, runner=runner)


def _compared(found: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Each variant beside the first: its keypoints in the boxes of the first, and its boxes."""
    (_, first), *_ = found.items()
    results = {}
    for name, each in found.items():
        distances, lost, added = [np.zeros(0)], 0, 0
        for path, mine, other in zip(each["images"], first["people"], each["people"], strict=True):
            if len(mine):
                again = each["pipe"](path, boxes=mine.boxes.tolist())
                distances.append(np.linalg.norm(again.keypoints - mine.keypoints, axis=-1).ravel())
            overlaps = pairwise_iou(mine.boxes, other.boxes) >= SAME_BOX
            lost += int((~overlaps.any(1)).sum())
            added += int((~overlaps.any(0)).sum())
        apart = np.concatenate(distances)
        results[name] = {
            "detected": each["detected"],
            "annotated": each["annotated"],
            "mean": float(apart.mean()),
            "largest": float(apart.max()),
            "lost": lost,
            "added": added,
        }
    return results


@torch.inference_mode()
def moved_outputs(name: str, task: Any) -> dict[str, Any]:
    """How far bfloat16 moves the outputs of a network with seeded weights, and how much processor time it saves."""
    source = ModelSource.from_entry(get_entry(name, task))
    torch.manual_seed(0)
    model = source.conversion.MODEL_CLASS(source.conversion.config_from_reference(source.reference, source.schema))
    processor = source.conversion.image_processor_from_reference(source.reference)
    inputs = example_inputs(model, processor, 4)
    if "pixel_values" in inputs:
        set_statistics(model, **inputs)
    for name, parameter in model.named_parameters():
        if "box_predictions" in name:  # else boxes are larger than numbers can be
            torch.nn.init.zeros_(parameter)
    model.eval()
    runners: dict[torch.dtype, Any] = {
        dtype: make_runner(model, processor, "openvino", True, inner_dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    }
    exact, rounded = (runner(**inputs) for runner in runners.values())
    actions = {str(dtype): partial(processor_seconds, partial(runner, **inputs)) for dtype, runner in runners.items()}
    times = in_turns(actions, repetitions=5)
    return {"outputs": _moved(exact, rounded), "seconds": {dtype: min(seconds) for dtype, seconds in times.items()}}


def _moved(exact: Mapping[str, torch.Tensor], rounded: Mapping[str, torch.Tensor]) -> dict[str, list[float]]:
    """By output the root of the mean square that it moves by, and the most, relative to its standard deviation.

    Of RTMO's candidates, which are in the order of their scores, those are compared that are in both.
    """
    found = {}
    for name, (value, other) in comparable_outputs(rounded, exact, least_common=0.0).items():
        if name == "places":
            continue
        apart, spread = (value - other).double(), other.double().std().item()
        found[name] = [apart.square().mean().sqrt().item() / spread, apart.abs().max().item() / spread]
    return found


def family_report(results: Mapping[str, Any]) -> str:
    """How far outputs of each family move, as Markdown."""
    rows = []
    for name, each in results["families"].items():
        moved = (
            f"{output} {100 * mean:.1f} ({100 * most:.0f})" for output, (mean, most) in each["outputs"].items() if most
        )
        exact, rounded = each["seconds"].values()
        rows.append((name, ", ".join(moved), f"{exact / rounded:.2f}"))
    header = ("network", "outputs move by the mean (the most), % of their standard deviation", "times as fast")
    return (
        "Measured with `python benchmarks/half_precision.py --parts families`: OpenVINO in bfloat16 beside float32, "
        "batches of four, seeded weights, processor time. "
        f"{machine_sentence(results['machine'])}\n\n{table(header, rows)}"
    )


def report(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    rows = [
        [name, f"{each['detected']:.4f}", f"{each['annotated']:.4f}", f"{each['mean']:.3f}", f"{each['largest']:.2f}",
         each["lost"], each["added"]]
        for name, each in results["variants"].items()
    ]  # fmt: skip
    header = ("", "AP, own boxes", "AP, annotated boxes", "mean distance, px", "largest, px", "boxes lost", "added")
    return (
        f"Measured with `python benchmarks/half_precision.py` on {results['scenes']} rendered scenes that the demo's "
        f"networks (RTMPose, RTMDet) were not trained on. {machine_sentence(results['machine'])}\n\n"
        f"{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
