"""Networks in OpenVINO's own format, and as exported programs of torch, compared with torch as they are written."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfpose.backends.extras import require
from hfpose.backends.fuse import fold_batch_norms
from hfpose.backends.onnx_graphs import (
    DEFAULT_OPSET,
    Difference,
    check_exportable,
    compare_graph,
    exact_copy,
    example_inputs,
    export_graph,
    varying_dimensions,
)
from hfpose.backends.openvino_sessions import OpenVinoSession

PROGRAM_NAME = "model.pt2"


def export_openvino(
    model: PreTrainedModel, image_processor: Any, path: Path, opset: int = DEFAULT_OPSET
) -> dict[str, Difference]:
    """Write a model as an `.xml` file of OpenVINO with a `.bin` file of weights beside it, all in float32.

    Arguments, result and errors are those of `export_graph`.
    """
    openvino = require("openvino", "Exporting to openvino")
    with tempfile.TemporaryDirectory(prefix=".onnx-", dir=path.parent) as folder:
        graph = Path(folder) / "model.onnx"
        export_graph(model, image_processor, graph, opset, OpenVinoSession)
        openvino.save_model(openvino.convert_model(str(graph)), str(path), compress_to_fp16=False)
    network = exact_copy(model)
    return compare_graph(OpenVinoSession(path), network, [example_inputs(network, image_processor, 3, seed=3)])


def export_program(model: PreTrainedModel, image_processor: Any, path: Path) -> dict[str, Difference]:
    """Write a model as a program that `torch.export.load` reads, whose `module()` takes a dict of tensors and returns
    one.

    What varies from call to call, arguments, result and errors are those of `export_graph`.
    """
    check_exportable(model)
    network = exact_copy(model)
    inputs = example_inputs(network, image_processor, 2)
    varying = varying_dimensions(list(inputs))
    if getattr(image_processor, "varies_in_size", False):
        varying["pixel_values"] |= {2: "height", 3: "width"}
    shapes = {name: dict.fromkeys(dimensions, torch.export.Dim.AUTO) for name, dimensions in varying.items()}
    named = _NamedTensors(fold_batch_norms(network)).eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program = torch.export.export(named, (dict(inputs),), dynamic_shapes=(shapes,), strict=False)
        torch.export.save(program, path)
        written = torch.export.load(path).module()
    others = (example_inputs(network, image_processor, count, seed=count) for count in (1, 3))
    return compare_graph(written, network, others)


class _NamedTensors(nn.Module):
    """A model as a function from tensors by name to tensors by name."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        outputs = self.model(**inputs)
        return {name: value for name, value in outputs.items() if isinstance(value, Tensor)}
