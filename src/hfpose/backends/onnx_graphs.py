"""Networks as ONNX graphs, compared with torch as they are written.

Graphs are traced, which takes about a second; torch's newer exporter writes the same operators in seven times as long.
"""

from __future__ import annotations

import copy
import inspect
import math
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from hfpose.backends.extras import require
from hfpose.backends.fuse import fold_batch_norms
from hfpose.backends.graph_files import graph_metadata
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.errors import CheckpointError, ConfigError
from hfpose.models.auto import FAMILIES
from hfpose.models.shared.detection import DetectionImageProcessor
from hfpose.models.vitpose.experts import forward_arguments

# ED-Pose takes images of any size, and a graph is made for one.
EXPORTABLE_TYPES = frozenset({*(family.model_type for family in FAMILIES), "vitpose"} - {"edpose"})

DEFAULT_OPSET = 17
OPSETS = range(14, 21)
"""Versions of ONNX's operators: attention needs the first one, the exporter knows the last one."""

MAX_DIFFERENCE = 1e-4
"""Greatest difference to torch, relative to the greatest value of an output, with which a file counts as right."""

Session = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
SessionMaker = Callable[[Path], Session]

_LEAST_COMMON_PLACES = _STEADY_SHARE = 0.9
_STEADY_PROBABILITIES = 0.9999

_MAX_PROTOBUF_BYTES = 1_900_000_000  # weights beyond this lie in a file of their own


@dataclass(frozen=True)
class Difference:
    """How far an output of a file is from torch's.

    Args:
        absolute: greatest difference, in the units of the output.
        relative: the same relative to the greatest absolute value of the output.
    """

    absolute: float
    relative: float


def check_exportable(model: PreTrainedModel) -> None:
    """Raises ConfigError for a model that no graph can be made of."""
    if model.config.model_type not in EXPORTABLE_TYPES:
        raise ConfigError(
            f"{type(model).__name__} ({model.config.model_type}) is not one of the models that hfpose exports to "
            f'ONNX: {", ".join(sorted(EXPORTABLE_TYPES))}. Run it with backend="torch"; where another stage of the '
            'pipeline should use a graph, give that as `load_stage(..., backend="onnxruntime")`.'
        )


def export_graph(
    model: PreTrainedModel,
    image_processor: Any,
    path: Path,
    opset: int = DEFAULT_OPSET,
    session: SessionMaker = OnnxSession,
    any_size: bool = False,
) -> dict[str, Difference]:
    """Write a model as an ONNX file, with the names of its inputs and outputs, and compare the file with torch.

    The number of images or clips varies, of clips also the number of frames; images have the processor's size, except
    those of bottom-up models, which have any that `input_size` gives. Batch normalizations are folded. `keypoints_2d`
    come with a `frame_mask`, all true where no frame only pads.

    Args:
        model: of a family of ours, or transformers' ViTPose.
        path: the file to write. Large models get a second one beside it, with `.data` added to its name.
        session: runs the file for the comparison.
        any_size: of a detector, let height and width of images vary, too.

    Returns:
        The difference to torch of each output.

    Raises:
        ConfigError: for a model or opset that cannot be exported, or if a package is missing.
        CheckpointError: if the file does not compute what torch computes.
    """
    check_exportable(model)
    network = exact_copy(model)
    example = example_inputs(network, image_processor, 2)
    with torch.inference_mode():
        expected = network(**example)
    names = tuple(name for name, value in expected.items() if isinstance(value, Tensor))
    folded = fold_batch_norms(network)
    folded.set_attn_implementation("eager")  # transformers' other ones fix the number of frames in a trace
    traced = _PositionalNetwork(folded, tuple(example), names)
    varying = varying_dimensions((*example, *names))
    others = [(image_processor, 1), (image_processor, 3)]
    if any_size:
        others.append((_with_larger_images(model, image_processor), 2))
    if any_size or getattr(image_processor, "varies_in_size", False):
        _add_sides(varying, {**example, **expected})
    outputs = {name: expected[name] for name in names}
    write_graph(traced, example, outputs, varying, path, opset, graph_metadata(model, image_processor))
    examples = (example_inputs(network, processor, count, seed=count) for processor, count in others)
    return compare_graph(session(path), network, examples)


def exact_copy(model: PreTrainedModel) -> PreTrainedModel:
    """The model in float32 on the CPU: itself if it is, else a copy."""
    weight = next(model.parameters())
    if weight.device.type == "cpu" and weight.dtype == torch.float32:
        return model
    return torch.nn.Module.to(copy.deepcopy(model), device="cpu", dtype=torch.float32)


def example_inputs(model: PreTrainedModel, image_processor: Any, count: int, seed: int = 0) -> dict[str, Tensor]:
    """Inputs of a model by name, for B = `count` noisy images or clips: `pixel_values` (B, 3, H, W), or `keypoints_2d`
    (B, T, K, C) with `frame_mask` (B, T)."""
    rng = np.random.default_rng(seed)
    if model.main_input_name == "keypoints_2d":
        frames = max(1, min(3 + seed, model.config.max_frames))
        shape = (count, frames, int(model.config.num_labels or 0), model.config.num_channels)
        keypoints = rng.standard_normal(shape)
        mask = torch.ones(count, frames, dtype=torch.bool, device="cpu")
        mask[1:, frames // 2 + 1 :] = False
        return {"keypoints_2d": torch.from_numpy(keypoints.astype(np.float32)), "frame_mask": mask}
    height, width = image_processor.size["height"], image_processor.size["width"]
    coarse = rng.integers(0, 256, (count, -(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    images = coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]
    pixel_values = image_processor.normalize_pixels(np.ascontiguousarray(images))
    return {"pixel_values": pixel_values, **forward_arguments(model, count)}


def varying_dimensions(names: Sequence[str]) -> dict[str, dict[int, str]]:
    """Names of the dimensions of inputs and outputs whose size may change from call to call."""
    clips = ("keypoints_2d", "frame_mask", "keypoints_3d")
    return {name: {0: "batch", 1: "frames"} if name in clips else {0: "batch"} for name in names}


def _with_larger_images(model: PreTrainedModel, image_processor: Any) -> Any:
    """The processor of a detector for larger images of another shape."""
    if not isinstance(image_processor, DetectionImageProcessor):
        raise ConfigError(
            f"{type(model).__name__} takes images of the size that it was trained with; only those that detectors "
            "take may have any size."
        )
    size = image_processor.size
    return image_processor.with_settings(size={"height": size["height"] + 64, "width": size["width"] + 128})


def _add_sides(varying: Mapping[str, dict[int, str]], tensors: Mapping[str, Any]) -> None:
    """Add the height and width of the images and of the heatmaps, or the number of anchor points, to what varies.

    Args:
        varying: names of these dimensions, by input or output and number.
        tensors: examples of inputs and outputs.
    """
    if "heatmaps" not in tensors:
        for name, dimensions in varying.items():
            dimensions |= {2: "height", 3: "width"} if name == "pixel_values" else {1: "points"}
        return
    height, width = tensors["pixel_values"].shape[-2:]
    map_height, map_width = tensors["heatmaps"].shape[-2:]
    stride = height // map_height
    names = {
        (height, width): ("height", "width"),
        (map_height, map_width): (f"height / {stride}", f"width / {stride}"),
    }
    for name, dimensions in varying.items():
        shape = tensors[name].shape
        if tuple(shape[-2:]) in names:
            dimensions |= dict(zip((len(shape) - 2, len(shape) - 1), names[tuple(shape[-2:])], strict=True))


class _PositionalNetwork(nn.Module):
    """A model as a function of tensors that returns tensors, which is what can be traced."""

    def __init__(self, model: nn.Module, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model = model
        self.inputs = inputs
        self.outputs = outputs

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs = self.model(**dict(zip(self.inputs, tensors, strict=True)))
        return tuple(outputs[name] for name in self.outputs)


def write_graph(
    network: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Mapping[str, Tensor],
    varying: Mapping[str, Mapping[int, str]],
    path: Path,
    opset: int,
    metadata: Mapping[str, str],
) -> None:
    """Trace a network into an ONNX file.

    Args:
        network: takes the tensors of `inputs` one after the other, and returns a tuple.
        inputs: examples by name, of any shape.
        outputs: what the network returns for them, by name.
        varying: name of each dimension that varies, by input or output and its number.
        metadata: texts by name that go with the graph.

    Raises:
        ConfigError: for an opset that the exporter does not know, or if onnx is not installed.
    """
    onnx = require("onnx", "Exporting a model")
    if opset not in OPSETS:
        raise ConfigError(f"opset is {opset}; expected {OPSETS[0]} to {OPSETS[-1]}. The default is {DEFAULT_OPSET}.")
    options: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    # Weights of large models come as a file each, so they go through a folder of their own.
    folder = Path(tempfile.mkdtemp(prefix=".export-", dir=path.parent))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporter: that it is the older one, and that sizes become numbers
            torch.onnx.export(
                network.eval(),
                tuple(inputs.values()),
                str(folder / path.name),
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: dict(axes) for name, axes in varying.items()},
                opset_version=opset,
                **options,
            )
        graph = onnx.load(str(folder / path.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for value in graph.graph.output:
        _name_dimensions(value.type.tensor_type.shape, outputs[value.name].shape, varying.get(value.name, {}))
    onnx.helper.set_model_props(graph, dict(metadata))
    _save(graph, path)


def _name_dimensions(shape: Any, sizes: Sequence[int], varying: Mapping[int, str]) -> None:
    """State the shape of an output, which the exporter does not always follow to the end."""
    del shape.dim[:]
    for number, size in enumerate(sizes):
        dimension = shape.dim.add()
        if number in varying:
            dimension.dim_param = varying[number]
        else:
            dimension.dim_value = size


def _save(graph: Any, path: Path) -> None:
    onnx = require("onnx", "Exporting a model")
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # onnx would append to it
    is_large = sum(len(tensor.raw_data) for tensor in graph.graph.initializer) > _MAX_PROTOBUF_BYTES
    onnx.save_model(graph, str(path), save_as_external_data=is_large, location=data.name if is_large else None)


def compare_graph(session: Session, network: Any, examples: Any) -> dict[str, Difference]:
    """Differences between the outputs of a file and of a network, by name, the greatest of all examples.

    Args:
        network: takes inputs by name and returns outputs by name.
        examples: inputs by name, several times.

    Raises:
        CheckpointError: if they are too large.
    """
    differences: dict[str, Difference] = {}
    for inputs in examples:
        with torch.inference_mode():
            expected: ModelOutput = network(**inputs)
        for name, (value, other) in comparable_outputs(session(inputs), expected).items():
            difference = _difference(value, other, _steady_share(name, expected))
            _check_difference(name, difference)
            differences[name] = max(difference, differences.get(name, difference), key=lambda each: each.relative)
    return differences


def _steady_share(name: str, outputs: Mapping[str, Any]) -> float:
    """Share of an output's values that rounding leaves where they are.

    A keypoint that is classified in bins of a box follows how the box is rounded, in a few places by far. A
    probability jumps from 0 to 1 where weights give logits of millions and one of these is near 0.
    """
    if name == "pred_keypoints" and "keypoint_logits" in outputs:
        return _STEADY_SHARE
    return _STEADY_PROBABILITIES if name == "heatmaps" and "centers" in outputs else 1.0


def comparable_outputs(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], least_common: float = _LEAST_COMMON_PLACES
) -> dict[str, tuple[Tensor, Tensor]]:
    """The values of each output to compare: found and expected.

    A network that chooses the best of its `places` may choose them in another order, or others in the end, where
    scores are almost the same; of its outputs (B, N, ...) the rows of the same places are compared.

    Raises:
        CheckpointError: if a smaller share than `least_common` of the places is the same.
    """
    if "places" not in found:
        return {name: (value, expected[name]) for name, value in found.items()}
    same = found["places"][:, :, None] == expected["places"][:, None]
    share = same.any(2).float().mean().item()
    if share < least_common:
        raise CheckpointError(
            f"The exported file computes something else than torch: {share:.0%} of the places that it chooses are "
            f"those that torch chooses, and {least_common:.0%} are needed. Try another --opset, or other versions of "
            "onnxruntime and torch."
        )
    image, row, other = same.nonzero(as_tuple=True)
    return {
        name: (value[image, row], expected[name][image, other])
        if value.shape[:2] == found["places"].shape
        else (value, expected[name])
        for name, value in found.items()
    }


def _difference(found: Tensor, expected: Tensor, share: float = 1.0) -> Difference:
    """The greatest difference, or the greatest of the smallest `share` of all."""
    apart = torch.where(found == expected, 0.0, found.double() - expected.double())  # infinities may be equal
    ordered = apart.abs().flatten().sort().values  # NaN comes last
    absolute = ordered[max(math.ceil(share * len(ordered)) - 1, 0)].item()
    scale = expected.double().abs().max().item()
    return Difference(absolute, absolute / scale if scale > 0 else absolute)


def _check_difference(name: str, difference: Difference) -> None:
    if not difference.relative <= MAX_DIFFERENCE:  # NaN is refused, too
        raise CheckpointError(
            f"The exported file computes something else than torch: {name} differs by {difference.absolute:.3g}, "
            f"{difference.relative:.1e} of its greatest value, and {MAX_DIFFERENCE:.0e} is allowed. Weights that are "
            "not finite or far too large give this; check the model on an image first. Else try another --opset, or "
            "other versions of onnxruntime and torch."
        )
