"""Detectors whose ONNX file suppresses overlapping boxes itself, in the layout that MMDeploy writes and rtmlib reads.

Source: `mmdeploy.mmcv.ops.nms.multiclass_nms`; `rtmlib.RTMDet`, `rtmlib.YOLOX`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hfpose.backends.fuse import fold_batch_norms
from hfpose.backends.graph_files import graph_metadata
from hfpose.backends.onnx_graphs import DEFAULT_OPSET, check_exportable, exact_copy, example_inputs, write_graph
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.errors import CheckpointError, ConfigError
from hfpose.models.shared.detection import DetectionImageProcessor
from hfpose.ops.boxes import nms

INPUT, OUTPUTS = "input", ("dets", "labels")

# What MMDeploy states for detectors: boxes below this score are of no use, and so many are enough.
_SCORE_THRESHOLD = 0.05
_MOST_DETECTIONS = 100

# Of the detections this share must be those of torch; where scores or overlaps are almost equal others are as good.
_LEAST_SHARE = 0.95


def export_detections(model: PreTrainedModel, image_processor: Any, path: Path, opset: int = DEFAULT_OPSET) -> float:
    """Write a detector with the suppression of its image processor as an ONNX file, and compare the file with torch.

    Input `input` (B, 3, H, W). Outputs `dets` (B, N, 5), x1, y1, x2, y2 in pixels of the input and score, best first,
    and `labels` (B, N); rows behind the last detection are zeros, with label -1.

    Returns:
        Share of torch's detections that the file finds.

    Raises:
        ConfigError: for another kind of model, an opset that cannot be exported, or if a package is missing.
        CheckpointError: if the file does not find what torch finds.
    """
    check_exportable(model)
    if not isinstance(image_processor, DetectionImageProcessor):
        raise ConfigError(
            f"{type(model).__name__} finds no boxes, so there are none to suppress. Leave --with-nms out."
        )
    network = exact_copy(model)
    inputs = {INPUT: example_inputs(network, image_processor, 2)["pixel_values"]}
    detector = _Detector(fold_batch_norms(network), image_processor)
    shapes = (2, detector.count, 5), (2, detector.count)
    outputs = {name: torch.empty(shape, device="meta") for name, shape in zip(OUTPUTS, shapes, strict=True)}
    write_graph(
        detector,
        inputs,
        outputs,
        {name: {0: "batch"} for name in (INPUT, *OUTPUTS)},
        path,
        opset,
        graph_metadata(model, image_processor),
    )
    return _compare(path, _Detector(network, image_processor), network, image_processor)


class _Detector(nn.Module):
    """Images to detections."""

    def __init__(self, model: nn.Module, image_processor: DetectionImageProcessor) -> None:
        super().__init__()
        self.model = model
        self.processor = image_processor
        self.score_threshold = max(image_processor.score_threshold, _SCORE_THRESHOLD)
        self.count = min(image_processor.max_detections or _MOST_DETECTIONS, _MOST_DETECTIONS)
        # Without suppression no two boxes overlap too much.
        self.overlap = 1.0 if image_processor.nms_threshold is None else image_processor.nms_threshold

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        outputs = self.model(pixel_values=pixel_values)
        boxes, scores = outputs.pred_boxes, self.processor._scores(outputs)
        if self.processor.clip_boxes:
            size = self.processor.size
            boxes = boxes.clamp(min=0).minimum(boxes.new_tensor([size["width"], size["height"]] * 2))
        kept = _Suppression.apply(boxes, scores.transpose(1, 2), self.count, self.overlap, self.score_threshold)
        images, classes, places = kept.unbind(1)
        # Every image has a row of all detections, in which those of others count nothing; and enough of nothing.
        num_images = boxes.shape[0]  # not `len`, which becomes a number in a trace
        is_own = images == torch.arange(num_images)[:, None]
        row = torch.where(is_own, scores[images, places, classes], scores.new_zeros(()))
        row = torch.cat((row, row.new_zeros(num_images, self.count)), dim=1)
        best, order = row.topk(self.count)
        nothing = boxes.new_zeros(self.count, 4)
        found = torch.cat((boxes[images, places], nothing))[order]
        labels = torch.cat((classes, classes.new_full((self.count,), -1)))[order]
        is_found = best > 0
        dets = torch.cat((found, best[..., None]), dim=-1) * is_found[..., None]
        return dets, torch.where(is_found, labels, labels.new_full((), -1))


class _Suppression(torch.autograd.Function):
    """Suppression as torch computes it here, and as ONNX has an operator for it."""

    @staticmethod
    def forward(
        context: Any, boxes: Tensor, scores: Tensor, count: int, overlap: float, score_threshold: float
    ) -> Tensor:
        """Image, class and place (M, 3) of the boxes (B, P, 4) that stay, by their scores (B, C, P)."""
        kept = [np.zeros((0, 3), np.int64)]
        for image, (places, by_class) in enumerate(zip(boxes.numpy(), scores.numpy(), strict=True)):
            for label, of_class in enumerate(by_class):
                candidates = np.flatnonzero(of_class > score_threshold)
                chosen = candidates[nms(places[candidates], of_class[candidates], overlap, max_detections=count)]
                kept.append(np.stack(np.broadcast_arrays(image, label, chosen), axis=1))
        return torch.from_numpy(np.concatenate(kept))

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, count: int, overlap: float, score_threshold: float) -> Any:
        limits = (torch.tensor([count]), torch.tensor([overlap]), torch.tensor([score_threshold]))
        return graph.op("NonMaxSuppression", boxes, scores, *(graph.op("Constant", value_t=limit) for limit in limits))


def _compare(path: Path, detector: nn.Module, model: PreTrainedModel, image_processor: Any) -> float:
    """Share of the detections of torch that a file finds, for batches of other sizes than were traced."""
    session = OnnxSession(path)
    found = total = 0
    for count in (1, 2):
        pixel_values = example_inputs(model, image_processor, count, seed=count)["pixel_values"]
        with torch.inference_mode():
            expected = detector(pixel_values)
        given = session({INPUT: pixel_values})
        for image in range(count):
            dets, labels = (outputs[image] for outputs in expected)
            other_dets, other_labels = (given[name][image] for name in OUTPUTS)
            limits = dets.new_tensor([0.1] * 4 + [1e-3]) + 1e-4 * dets.abs()[:, None]
            close = ((dets[:, None] - other_dets).abs() <= limits).all(-1) & (labels[:, None] == other_labels)
            found += int((close.any(1) & (labels >= 0)).sum())
            total += int((labels >= 0).sum())
    share = found / total if total else 1.0
    if share < _LEAST_SHARE:
        raise CheckpointError(
            f"Of {total} boxes that torch finds in images of noise the exported file finds {found}. Try another "
            "--opset, or other versions of onnxruntime and torch."
        )
    return share
