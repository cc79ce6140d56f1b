"""`compute_metrics` of transformers' `Trainer` for pose models and detectors: COCO's numbers.

Trainer(..., compute_metrics=pose_metrics(processor, rows))
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import EvalPrediction
from transformers.utils import ModelOutput

from hfpose.annotations import AnnotatedImage, CocoFile
from hfpose.errors import ConfigError
from hfpose.evaluation.coco import evaluate_boxes, evaluate_keypoints
from hfpose.evaluation.coco_results import box_results, keypoint_results
from hfpose.evaluation.metrics import auc, box_sizes, epe, pck
from hfpose.evaluation.scoring import instance_scores
from hfpose.keypoints import KeypointSchema
from hfpose.keypoints.library import schema_for_count
from hfpose.media.left_out import LeftOut
from hfpose.ops.pose_similarity import AREA_OF_BOX
from hfpose.training.rows import PoseRows

ComputeMetrics = Callable[[EvalPrediction], dict[str, float]]

# What the outputs of pose models hold, in their order, by the number of their tensors.
_FIELDS = (
    ("heatmaps",),
    ("coordinates",),
    ("coordinates", "sigmas"),
    ("coordinates", "heatmaps"),
    ("simcc_x", "simcc_y"),
)


def pose_metrics(
    image_processor: Any, rows: PoseRows | None = None, schema: KeypointSchema | None = None
) -> ComputeMetrics:
    """A function that gives COCO's AP and AR, PCK@0.05 and PCK@0.2 (of the longer side of the box), AUC and EPE.

    Args:
        image_processor: of the model.
        rows: the evaluation data, in whose images everything is measured then. None: in the crops, each of which is an
            image with one instance, whose box is the crop without its padding; then pass
            `TrainingArguments(label_names=["labels", "keypoint_weights"])`, so that unlabeled keypoints do not count.
        schema: of the keypoints, for their sigmas. None: that of `rows`, or the usual one of so many keypoints.
    """

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        labels, weights = _labels_and_weights(prediction.label_ids, rows)
        chosen = schema or (schema_for_count(labels.shape[1]) if rows is None else rows.schema)
        boxes, targets, areas, image_ids = _targets(labels, weights, image_processor, rows)
        keypoints, scores = image_processor.decode(_outputs(prediction.predictions), boxes)
        annotations: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        instance = instance_scores(scores, np.ones(len(scores)))
        for index, image_id in enumerate(image_ids):
            one = slice(index, index + 1)
            annotations += keypoint_results(image_id, [1], targets[one], 2 * weights[one], instance[one], boxes[one])
            annotations[-1] |= {"id": index + 1, "area": float(areas[index])}
            results += keypoint_results(image_id, [1], keypoints[one], scores[one], instance[one], boxes[one])
        metrics = dict(evaluate_keypoints(_coco_file(image_ids, annotations), results, chosen))
        sizes, mask = box_sizes(boxes), weights > 0
        if mask.any():
            metrics |= {f"PCK@{t:g}": pck(keypoints, targets, mask, sizes, t) for t in (0.05, 0.2)}
            metrics |= {"AUC": auc(keypoints, targets, mask), "EPE": epe(keypoints, targets, mask)}
        return metrics

    return compute


def detection_metrics(image_processor: Any) -> ComputeMetrics:
    """A function that gives COCO's AP and AR of boxes, in pixels of the network's input; the thresholds are those of
    the image processor.

    Pass `TrainingArguments(eval_do_concat_batches=False)`: labels of images are lists of different lengths.
    """

    def compute(prediction: EvalPrediction) -> dict[str, float]:
        if not isinstance(prediction.predictions, list):
            raise ConfigError("Metrics of detections need TrainingArguments(eval_do_concat_batches=False).")
        annotations: list[dict[str, Any]] = []
        results: list[dict[str, Any]] = []
        labels = [one for batch in prediction.label_ids for one in batch]
        size = np.array([image_processor.size["width"], image_processor.size["height"]])
        category_ids = {int(label): int(label) for one in labels for label in np.asarray(one["class_labels"])}
        for image_id, one in enumerate(labels):
            boxes = np.asarray(one["boxes"], np.float64).reshape(-1, 2, 2) * size  # center and size
            rows = np.concatenate((boxes[:, 0] - boxes[:, 1] / 2, boxes[:, 1]), 1)
            for box, label in zip(rows.tolist(), np.asarray(one["class_labels"]).tolist(), strict=True):
                entry = {"image_id": image_id, "category_id": label, "bbox": box, "area": box[2] * box[3]}
                annotations.append(entry | {"id": len(annotations) + 1})
        image_id = 0
        for logits, pred_boxes in prediction.predictions:
            outputs: Any = SimpleNamespace(logits=torch.as_tensor(logits), pred_boxes=torch.as_tensor(pred_boxes))
            for found in image_processor.detections(outputs):
                results += box_results(image_id, found.boxes, found.labels, found.scores, category_ids)
                image_id += 1
        return dict(evaluate_boxes(_coco_file(range(len(labels)), annotations), results, list(category_ids)))

    return compute


def _labels_and_weights(label_ids: Any, rows: PoseRows | None) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (N, K, 2) in pixels of the crops and their weights (N, K)."""
    if isinstance(label_ids, (tuple, list)):
        return np.asarray(label_ids[0]), np.asarray(label_ids[1])
    labels = np.asarray(label_ids)
    if rows is not None:
        return labels, np.stack([(instance[2] > 0).astype(np.float32) for _, instance in rows.instances])
    return labels, np.ones(labels.shape[:2], np.float32)


def _targets(
    labels: np.ndarray, weights: np.ndarray, image_processor: Any, rows: PoseRows | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Any]]:
    """Boxes (N, 4), keypoints (N, K, 2) and areas (N,) in one frame, and an image for each."""
    if rows is not None:
        if len(labels) != len(rows):
            raise ConfigError(f"There are labels of {len(labels)} instances, but rows with {len(rows)}.")
        found = [np.stack(values) for values in zip(*(instance for _, instance in rows.instances), strict=True)]
        return found[0], found[1], found[3], rows.image_ids()
    size = np.array([image_processor.size["width"], image_processor.size["height"]], np.float32)
    box = np.concatenate(
        (size / 2 - size / image_processor.box_padding / 2, size / 2 + size / image_processor.box_padding / 2)
    )
    boxes = np.repeat(box[None], len(labels), 0)
    areas = np.full(len(labels), float((box[2:] - box[:2]).prod()) * AREA_OF_BOX)
    return boxes, image_processor.to_image(labels, boxes), areas, list(range(len(labels)))


def _outputs(predictions: Any) -> ModelOutput:
    """Outputs of a pose model from the arrays that `Trainer` has made of them."""
    arrays = [
        torch.as_tensor(array) for array in (predictions if isinstance(predictions, (tuple, list)) else [predictions])
    ]
    for fields in _FIELDS:
        if len(fields) == len(arrays) and all(_fits(name, array) for name, array in zip(fields, arrays, strict=True)):
            return ModelOutput(zip(fields, arrays, strict=True))
    shapes = ", ".join(str(tuple(array.shape)) for array in arrays)
    raise ConfigError(f"Outputs of the shapes {shapes} are of no pose model that is known here.")


def _fits(name: str, array: torch.Tensor) -> bool:
    if name == "heatmaps":
        return array.ndim == 4
    return array.ndim == 3 and (array.shape[2] == 2) == (name in ("coordinates", "sigmas"))


def _coco_file(image_ids: Any, annotations: list[dict[str, Any]]) -> CocoFile:
    images = tuple(AnnotatedImage(image_id, Path(str(image_id)), None) for image_id in dict.fromkeys(image_ids))
    classes = sorted({annotation["category_id"] for annotation in annotations})
    return CocoFile(
        Path("the evaluation data"), images, tuple(annotations), tuple({"id": one} for one in classes), LeftOut()
    )
