"""Networks in ONNX files with weights of 8 bits, and what that costs in exactness.

Source: Jacob et al., 2018, https://arxiv.org/abs/1712.05877; `onnxruntime.quantization`.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfpose.backends.extras import require
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.errors import ConfigError
from hfpose.export.sample_inputs import Sample, distance_apart, make_samples
from hfpose.media.files import write_json
from hfpose.ops.quiet import without_warnings_of

Mode = Literal["dynamic", "static"]
MODES: tuple[Mode, ...] = get_args(Mode)

REPORT_NAME = "quantization.json"

_CALIBRATION_SAMPLES, _MEASURED_SAMPLES = 48, 24
_PURPOSE = "Quantizing a model"

# Below this 8 bits gain no time: measured with ONNX Runtime on a CPU with VNNI.
_LEAST_PRODUCTS = 64
_NO_FEATURE_MAPS = (None, "ReduceMean", "GlobalAveragePool")  # what images, and features of one place, come from


@dataclass(frozen=True)
class QuantizationReport:
    """What a network with 8 bits finds, compared with float32, in samples that it was not calibrated with.

    Args:
        mode: `"dynamic"` or `"static"`.
        measured_on: what the samples are.
        samples: how many there are.
        unit: of distances: pixels of the image, or meters for a lifter.
        largest, mean: distance of keypoints, or of the sides of boxes that both find; None where there are none.
        largest_score_difference: of a keypoint or box; None where there are none.
        lost_boxes, added_boxes: boxes that float32 finds alone, and that 8 bits find alone; None for keypoints.
        bytes, float32_bytes: sizes of the files.
    """

    mode: Mode
    measured_on: str
    samples: int
    unit: str
    largest: float | None
    mean: float | None
    largest_score_difference: float | None
    lost_boxes: int | None
    added_boxes: int | None
    bytes: int
    float32_bytes: int


def quantize_graph(
    model: PreTrainedModel,
    image_processor: Any,
    graph: Path,
    target: Path,
    mode: Mode,
    calibration: Path | None = None,
) -> QuantizationReport:
    """Write a network with weights of 8 bits, and measure what it finds otherwise.

    Dynamic: matrix products alone, whose inputs are rescaled at each run; for transformers. Static: convolutions that
    are wide enough to become faster, with scales of inputs that are found out beforehand; for convolutional networks.

    Args:
        model: that `graph` was exported from.
        graph: the ONNX file in float32.
        target: the file to write; `quantization.json` with the report is written beside it.
        calibration: folder of images, of which three quarters are for calibration and the rest for measuring; a pose
            model takes each as one crop. None: the few packaged ones.

    Raises:
        ConfigError: for another mode, if a package is missing, or where nothing would be quantized.
        InputError: if the folder has too few images.
    """
    if mode not in MODES:
        raise ConfigError(f"int8 mode is {mode!r}; expected {' or '.join(map(repr, MODES))}.")
    samples = list(make_samples(model, image_processor, _MEASURED_SAMPLES, calibration, to_measure=True))
    # The quantizer logs advice that has been followed.
    with without_warnings_of(""), tempfile.TemporaryDirectory(prefix=".quantize-", dir=target.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        shapes = require("onnxruntime.quantization.shape_inference", _PURPOSE)
        shapes.quant_pre_process(str(graph), str(prepared), skip_symbolic_shape=True)
        if mode == "dynamic":
            _quantize_dynamically(prepared, target)
        else:
            given = make_samples(model, image_processor, _CALIBRATION_SAMPLES, calibration)
            _quantize_statically(prepared, target, given)
    report = _measure(image_processor, graph, target, mode, samples, calibration)
    write_json(target.with_name(REPORT_NAME), asdict(report))
    return report


def _quantize_dynamically(graph: Path, target: Path) -> None:
    quantization = require("onnxruntime.quantization", _PURPOSE)
    quantization.quantize_dynamic(
        str(graph), str(target), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
        weight_type=quantization.QuantType.QInt8, extra_options={"MatMulConstBOnly": True},
    )  # fmt: skip
    onnx = require("onnx", _PURPOSE)
    if not any(node.op_type in ("MatMulInteger", "DynamicQuantizeLinear") for node in onnx.load(target).graph.node):
        raise ConfigError(
            "The network has no matrix products with weights, so dynamic quantization changes nothing. Use --int8 "
            "static."
        )


def _quantize_statically(graph: Path, target: Path, samples: Iterable[Sample]) -> None:
    quantization = require("onnxruntime.quantization", _PURPOSE)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def __init__(self) -> None:
            self._samples = iter(samples)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._samples, None)
            return None if sample is None else {name: value.numpy() for name, value in sample.inputs.items()}

    # The mean range of a sample, not the widest of all: values beyond it are few, and its steps are smaller.
    quantization.quantize_static(
        str(graph), str(target), Reader(), quant_format=quantization.QuantFormat.QDQ, per_channel=True,
        op_types_to_quantize=["Conv"], nodes_to_quantize=_wide_convolutions(graph),
        weight_type=quantization.QuantType.QInt8, activation_type=quantization.QuantType.QUInt8,
        calibrate_method=quantization.CalibrationMethod.MinMax, extra_options={"CalibMovingAverage": True},
    )  # fmt: skip


def _wide_convolutions(path: Path) -> list[str]:
    """Names of the convolutions that 8 bits make faster and that the outputs do not depend on directly.

    What they read and write is turned into 8 bits and back. Where each value takes part in few products (depthwise and
    narrow convolutions, the first one, those on pooled features) that costs more time than it saves, and exactness on
    top.

    Raises:
        ConfigError: if there are none.
    """
    graph = require("onnx", _PURPOSE).load(path).graph
    makers = {name: node for node in graph.node for name in node.output}
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    last = _last_layers(graph, makers)
    names = [
        node.name
        for node in graph.node
        if node.op_type == "Conv"
        and node.name not in last
        and getattr(makers.get(node.input[0]), "op_type", None) not in _NO_FEATURE_MAPS
        and _products_per_value(node, shapes[node.input[1]]) > _LEAST_PRODUCTS
    ]
    if not names:
        raise ConfigError(
            "The network has no wide convolutions between its first and its last layers, so static quantization "
            "changes nothing. Use --int8 dynamic for a transformer; other networks of this kind are fastest in "
            "float32."
        )
    return names


def _products_per_value(node: Any, weight_shape: Sequence[int]) -> float:
    """Multiplications of a convolution for each value that it reads or writes."""
    options = {attribute.name: attribute for attribute in node.attribute}
    strides = math.prod(options["strides"].ints) if "strides" in options else 1
    groups = options["group"].i if "group" in options else 1
    num_read = weight_shape[1] * groups * strides  # for each place of the output
    return math.prod(weight_shape) / (num_read + weight_shape[0])


def _last_layers(graph: Any, makers: Mapping[str, Any]) -> set[str]:
    """Names of the layers with weights between which and an output there is no other."""
    weights = {weight.name for weight in graph.initializer}
    found: set[str] = set()
    seen: set[str] = set()
    tensors = [output.name for output in graph.output]
    while tensors:
        name = tensors.pop()
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in ("Conv", "ConvTranspose", "Gemm") or (
            node.op_type == "MatMul" and node.input[1] in weights
        ):
            found.add(node.name)
        else:
            tensors.extend(node.input)
    return found


def _measure(
    image_processor: Any, graph: Path, target: Path, mode: Mode, samples: list[Sample], calibration: Path | None
) -> QuantizationReport:
    exact, rounded = OnnxSession(graph), OnnxSession(target)
    apart = [
        distance_apart(
            image_processor, sample, ModelOutput(**exact(sample.inputs)), ModelOutput(**rounded(sample.inputs))
        )
        for sample in samples
    ]
    distances = np.concatenate([each.distances for each in apart])
    scores = np.concatenate([each.scores for each in apart])
    lifts, detects = "keypoints_2d" in samples[0].inputs, samples[0].boxes is None
    return QuantizationReport(
        mode=mode,
        measured_on="packaged images" if calibration is None else f"images of {calibration.name}",
        samples=len(samples),
        unit="m" if lifts else "px",
        largest=_rounded(distances.max()) if distances.size else None,
        mean=_rounded(distances.mean()) if distances.size else None,
        largest_score_difference=_rounded(scores.max()) if scores.size else None,
        lost_boxes=sum(each.lost for each in apart) if detects and not lifts else None,
        added_boxes=sum(each.added for each in apart) if detects and not lifts else None,
        bytes=target.stat().st_size,
        float32_bytes=graph.stat().st_size,
    )


def _rounded(value: Any) -> float:
    return round(float(value), 6)
