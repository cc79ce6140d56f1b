"""Folders with a graph and all that belongs to it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from transformers import PreTrainedModel

from hfpose.backends.graph_files import DESCRIPTION_NAME, graph_metadata, write_description
from hfpose.backends.onnx_graphs import DEFAULT_OPSET, Difference, export_graph
from hfpose.errors import ConfigError
from hfpose.export.detections import export_detections
from hfpose.export.network_formats import PROGRAM_NAME, export_openvino, export_program
from hfpose.export.quantization import REPORT_NAME, Mode, QuantizationReport, quantize_graph
from hfpose.hub.model_folders import GRAPH_NAME, OPENVINO_NAME

Format = Literal["onnx", "openvino", "torch"]

DETECTIONS_NAME = "end2end.onnx"  # MMDeploy's name of such a file
# What an export may write beside the JSON files of the model and its image processor.
_WRITTEN = ("model.onnx", "model.onnx.data", "model.xml", "model.bin", "model.pt2", DETECTIONS_NAME, REPORT_NAME)


@dataclass(frozen=True)
class Export:
    """A folder that was written.

    Args:
        folder: it holds the graph and the JSON files of the model, its image processor and the graph.
        differences: to torch, of each output.
        detections_share: of the detections that torch finds in noise, the share that `end2end.onnx` finds; None
            without that file.
        quantization: what 8 bits cost; None for float32.
    """

    folder: Path
    differences: Mapping[str, Difference]
    detections_share: float | None = None
    quantization: QuantizationReport | None = None


def export_folder(
    model: PreTrainedModel,
    image_processor: Any,
    folder: Path,
    *,
    format: Format = "onnx",
    opset: int = DEFAULT_OPSET,
    with_nms: bool = False,
    any_size: bool = False,
    int8: Mode | None = None,
    calibration: Path | None = None,
) -> Export:
    """Write a model as a folder of a graph and JSON that needs no other file, in place of an earlier export there.

    Files appear whole or not at all.

    Args:
        model: of a family of ours, or transformers' ViTPose.
        folder: what to write; it is made if it is not there.
        format: `"onnx"` writes `model.onnx`, `"openvino"` `model.xml` and `model.bin`, `"torch"` `model.pt2`, which
            `torch.export.load` reads.
        with_nms: of a detector, write a second file whose outputs are boxes, see `export_detections`.
        any_size: of a detector, let height and width of images vary, too.
        int8: write `model.onnx` with weights of 8 bits, and `quantization.json`; see `quantize_graph`.
        calibration: images for that.

    Raises:
        ConfigError: for a model, opset or folder that cannot be used, or if a package is missing.
        CheckpointError: if a file does not compute what torch computes.
        InputError: if there are too few images.
    """
    if calibration is not None and int8 is None:
        raise ConfigError("Images for calibration have a use only with int8.")
    if format != "onnx" and (with_nms or any_size or int8 is not None):
        raise ConfigError(f"Suppressing boxes, images of any size and int8 are for format='onnx', not {format!r}.")
    if format == "torch" and opset != DEFAULT_OPSET:
        raise ConfigError(f"opset {opset} is a version of ONNX's operators, which format='torch' has no use for.")
    folder = folder.absolute()
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; give a folder to write the export to.")
    existing = next(path for path in (folder, *folder.parents) if path.is_dir())
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=existing))
    try:
        share = None
        if with_nms:  # first, for it may refuse the model
            share = export_detections(model, image_processor, unfinished / DETECTIONS_NAME, opset)
        differences = _write_graph(model, image_processor, unfinished, format, opset, any_size)
        report = None
        if int8 is not None:
            report = _quantize(model, image_processor, unfinished / GRAPH_NAME, int8, calibration)
        graphs = [unfinished / name for name in _WRITTEN if (unfinished / name).is_file()]
        write_description(unfinished, graphs, graph_metadata(model, image_processor))
        model.config.save_pretrained(unfinished)
        image_processor.save_pretrained(unfinished)
        _replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Export(folder, differences, share, report)


def _write_graph(
    model: PreTrainedModel, image_processor: Any, folder: Path, format: Format, opset: int, any_size: bool
) -> Mapping[str, Difference]:
    if format == "torch":
        return export_program(model, image_processor, folder / PROGRAM_NAME)
    if format == "openvino":
        return export_openvino(model, image_processor, folder / OPENVINO_NAME, opset)
    return export_graph(model, image_processor, folder / GRAPH_NAME, opset, any_size=any_size)


def _replace(unfinished: Path, folder: Path) -> None:
    """Put finished files instead of those of an earlier export."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _WRITTEN:
        if not (unfinished / name).is_file():
            (folder / name).unlink(missing_ok=True)
    for path in sorted(unfinished.iterdir(), key=lambda path: path.name == DESCRIPTION_NAME):  # it vouches for others
        path.replace(folder / path.name)


def _quantize(
    model: PreTrainedModel, image_processor: Any, graph: Path, mode: Mode, calibration: Path | None
) -> QuantizationReport:
    """Put a network with weights of 8 bits instead of a graph."""
    with tempfile.TemporaryDirectory(prefix=".float32-", dir=graph.parent) as folder:
        exact = Path(folder) / graph.name
        for path in graph.parent.glob(f"{graph.name}*"):
            path.replace(exact.with_name(path.name))
        return quantize_graph(model, image_processor, exact, graph, mode, calibration)
