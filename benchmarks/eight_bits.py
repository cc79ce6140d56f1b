"""The benchmark's models as ONNX files with weights of 8 bits, and how exact such files are where weights are
trained."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hfpose.export.graph_folders import export_folder
from hfpose.export.quantization import REPORT_NAME, QuantizationReport
from hfpose.hub.resolve import resolve
from hfpose.pipelines.stage import load_stage
from workloads import Workload


def export_eight_bits(workload: Workload) -> dict[str, Path]:
    """Folders by stage, written beside the models as `hfpose export --int8 static` writes them."""
    folders = {"pose": workload.pose} | ({"detector": workload.detector} if workload.detector is not None else {})
    for task, folder in folders.items():
        _export(folder, task, _beside(folder), workload)
    return {task: _beside(folder) for task, folder in folders.items()}


def errors_with_trained_weights(workload: Workload) -> dict[str, dict[str, Any]]:
    """What 8 bits change, by network: in hfpose's own trained one, and in the workload's detector if it has been
    exported."""
    demo = resolve("demo", "pose") / "pose"
    errors = {"The demo's RTMPose": asdict(_export(demo, "pose", workload.pose.with_name("demo-int8"), workload))}
    if workload.detector is not None:
        report = _beside(workload.detector) / REPORT_NAME
        errors["RTMDet-nano"] = json.loads(report.read_text())
    return errors


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-int8")


def _export(source: Path, task: str, target: Path, workload: Workload) -> QuantizationReport:
    stage = load_stage(source, task)  # type: ignore[arg-type]
    written = export_folder(
        stage.model, stage.image_processor, target, int8="static", calibration=workload.calibration
    )
    assert written.quantization is not None
    return written.quantization
