"""What bfloat16 costs in accuracy: the demo's networks on rendered scenes that they were not trained on.

    python benchmarks/half_precision.py --write-docs    # and the table in docs/performance.md

By this table `dtype="auto"` knows the families that lose nothing, see `hfpose.backends.auto_backend`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hfpose.annotations import CocoFile, read_coco
from hfpose.backends.select import make_runner
from hfpose.evaluation.evaluation_run import evaluate_pose_pipeline
from hfpose.hub.resolve import resolve
from hfpose.ops.boxes import pairwise_iou
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.pipelines.stage import Stage, load_stage
from measuring import OUT, machine, machine_sentence, table, write_report

# The stages in bfloat16, and what runs them; the first is what others are compared with.
VARIANTS: dict[str, tuple[tuple[str, ...], Any]] = {
    "float32": ((), "torch"),
    "pose in bfloat16, torch": (("pose",), "torch"),
    "pose in bfloat16, OpenVINO": (("pose",), "openvino"),
    "detector in bfloat16, torch": (("detector",), "torch"),
    "detector in bfloat16, OpenVINO": (("detector",), "openvino"),
}
SAME_BOX = 0.5


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--output", type=Path, default=OUT)
    parser.add_argument("--write-docs", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        from rendered_people.scene_files import write_scenes

        coco = read_coco(write_scenes(Path(folder), range(options.scenes)))
        found = {name: measure(coco, *variant) for name, variant in VARIANTS.items()}
        results = {"machine": machine(None), "scenes": options.scenes, "variants": _compared(found)}
    write_report("half_precision", options.output, report(results), results, options.write_docs)


def measure(coco: CocoFile, stages: Sequence[str], backend: Any) -> dict[str, Any]:
    """Average precision with the boxes of the detector and with annotated ones, and what is found in each image."""
    folder = resolve("demo", "pose")
    loaded = {name: _stage(folder / name, name, backend if name in stages else None) for name in ("detector", "pose")}
    pipe = PoseEstimationPipeline(loaded["pose"], detector=loaded["detector"])
    people = [pipe(str(image.path)) for image in coco.images]
    return {
        "detected": evaluate_pose_pipeline(pipe, coco).metrics["AP"],
        "annotated": evaluate_pose_pipeline(pipe, coco, "annotations").metrics["AP"],
        "people": people,
        "pipe": pipe,
        "images": [str(image.path) for image in coco.images],
    }


def _stage(folder: Path, name: Any, backend: Any) -> Stage:
    stage = load_stage(folder, name)
    if backend is None:
        return stage
    runner = make_runner(stage.model, stage.image_processor, backend, True, inner_dtype=torch.bfloat16)
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


def report(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    rows = [
        [name, f"{each['detected']:.4f}", f"{each['annotated']:.4f}", f"{each['mean']:.3f}", f"{each['largest']:.2f}",
         each["lost"], each["added"]]
        for name, each in results["variants"].items()
    ]  # fmt: skip
    header = ("", "AP, own boxes", "AP, annotated boxes", "mean distance, px", "largest, px", "boxes lost", "added")
    return (
        f"Measured with `python benchmarks/half_precision.py` on {results['scenes']} rendered scenes that the demo's networks "
        f"(RTMPose, RTMDet) were not trained on. {machine_sentence(results['machine'])}\n\n"
        f"{table(header, rows)}"
    )


if __name__ == "__main__":
    main()
