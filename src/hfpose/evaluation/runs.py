"""Runs a model over annotated images and measures what it finds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch

from hfpose.annotations import (
    AnnotatedImage,
    CocoFile,
    LeftOut,
    PoseInstances,
    check_keypoints,
    pose_instances,
)
from hfpose.errors import InputError
from hfpose.evaluation.coco import (
    Result,
    box_results,
    evaluate_boxes,
    evaluate_keypoints,
    instance_scores,
    keypoint_results,
    oks_nms,
)
from hfpose.evaluation.metrics import NME_KEYPOINTS, auc, box_sizes, epe, keypoint_sizes, nme, pck
from hfpose.keypoints import KeypointSchema
from hfpose.media.sources import open_source
from hfpose.models.shared.top_down import box_centers_and_scales
from hfpose.pipelines import PoseEstimationPipeline
from hfpose.pipelines.stage import Stage
from hfpose.results import PoseOutput

BOX_THRESHOLD = 0.3
PCK_THRESHOLDS = (0.05, 0.2)

# Where boxes come from: the pipeline's detector, the annotations, or a list of detections in COCO's format.
Boxes = Literal["detector", "annotations"] | Sequence[Result]


@dataclass
class Evaluation:
    """What a run found.

    Attributes:
        metrics: name -> value.
        results: instances in COCO's format.
        num_images, num_instances: how many went through.
        seconds: from the first image to the last result.
        failures: images that could not be used.
    """

    metrics: dict[str, float]
    results: list[Result]
    num_images: int
    num_instances: int
    seconds: float
    failures: LeftOut = field(default_factory=LeftOut)


@dataclass(frozen=True)
class _Prediction:
    """Instances of one image: keypoints (N, K, 2), their scores (N, K), boxes (N, 4) and their scores (N,)."""

    image: AnnotatedImage
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    boxes: np.ndarray
    box_scores: np.ndarray


def evaluate_pose_pipeline(
    pipe: PoseEstimationPipeline,
    coco: CocoFile,
    boxes: Boxes = "detector",
    *,
    box_threshold: float | None = None,
    nms_threshold: float | None = None,
    flip_test: bool = False,
    batch_size: int = 8,
    pose_batch_size: int | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """Measure a pipeline on annotated images.

    On annotated boxes there is one prediction for each instance, so that PCK (in units of the longer side of the box), AUC
    (up to 30 pixels), EPE (pixels) and, for faces, NME are measured beside average precision.

    Args:
        pipe: the pipeline.
        coco: the annotations; their keypoints must be the pipeline's.
        boxes: where they come from, see `Boxes`.
        box_threshold: least score of a detected box. Default: 0.3; a model that finds people without a detector has its
            own, as in the reference's evaluation.
        nms_threshold: of two detected boxes that overlap by more than this the worse one goes; default as for
            `box_threshold`.
        flip_test: average over mirrored crops.
        batch_size, pose_batch_size: images and crops at once, as for a call of the pipeline.
        show_progress: draw a progress bar.

    Raises:
        InputError: if the annotations have other keypoints than the pipeline, or no instance that can be used.
    """
    schema = pipe.schema
    check_keypoints(coco, schema)
    instances = pose_instances(coco, schema)
    if box_threshold is None and not pipe.is_one_stage:
        box_threshold = BOX_THRESHOLD
    images, given, given_scores = _boxes_by_image(coco, instances, boxes, box_threshold or 0.0)
    failures = LeftOut()
    start = time.perf_counter()
    outputs = pipe(
        (str(image.path) for image in images),
        boxes=given,
        flip_test=flip_test,
        box_threshold=box_threshold,
        nms_threshold=nms_threshold,
        batch_size=batch_size,
        pose_batch_size=pose_batch_size,
    )
    with_progress = _progress(outputs, len(images), show_progress)
    predictions = list(_collect(images, with_progress, given_scores, failures))
    seconds = time.perf_counter() - start
    category_id = coco.keypoint_category_ids[0]
    processor = pipe.estimator.stage.image_processor
    results = [r for p in predictions for r in _results_of(p, category_id, processor, schema)]
    metrics = evaluate_keypoints(coco, results, schema) if schema.sigmas is not None else {}
    if boxes == "annotations":
        metrics |= _distance_metrics(instances, predictions, schema)
    count = sum(len(prediction.keypoints) for prediction in predictions)
    return Evaluation(metrics, results, len(predictions), count, seconds, failures)


def _boxes_by_image(
    coco: CocoFile, instances: PoseInstances, boxes: Boxes, threshold: float
) -> tuple[list[AnnotatedImage], list[np.ndarray] | None, list[np.ndarray] | None]:
    """Images to run on, and the boxes (N, 4) and scores (N,) of each where a detector is not asked."""
    if isinstance(boxes, str):
        if boxes == "detector":
            return list(coco.images), None, None
        by_index: dict[int, list[int]] = {}
        for row, index in enumerate(instances.image_indices.tolist()):
            by_index.setdefault(index, []).append(row)
        images = [instances.images[index] for index in sorted(by_index)]
        rows = [by_index[index] for index in sorted(by_index)]
        return images, [instances.boxes[row] for row in rows], [np.ones(len(row), np.float32) for row in rows]
    detections = _detections(coco, boxes, threshold)
    images = [image for image in coco.images if image.id in detections]
    found = [np.array(detections[image.id], np.float32) for image in images]
    return images, [rows[:, :4] for rows in found], [rows[:, 4] for rows in found]


def _detections(coco: CocoFile, detections: Sequence[Result], threshold: float) -> dict[Any, list[list[float]]]:
    """Image id -> x1, y1, x2, y2, score of the detected boxes that can be cropped."""
    known = {image.id for image in coco.images}
    categories = coco.keypoint_category_ids
    found: dict[Any, list[list[float]]] = {}
    for index, detection in enumerate(detections):
        box, score = detection.get("bbox"), detection.get("score")
        if not isinstance(box, list) or len(box) != 4 or not isinstance(score, (int, float)):
            raise InputError(
                f"Detection {index} has bbox {box!r} and score {score!r}; expected [x, y, width, height] and a number."
            )
        x, y, width, height = box
        is_wanted = detection.get("image_id") in known and detection.get("category_id") in categories
        if is_wanted and score >= threshold and width > 0 and height > 0:
            found.setdefault(detection["image_id"], []).append([x, y, x + width, y + height, score])
    if not found:
        raise InputError(
            f"None of the {len(detections)} detections is of an image of {coco.path}, of the categories {categories} "
            f"and has a score of at least {threshold:g}. Check that the files belong together."
        )
    return found


def _collect(
    images: Sequence[AnnotatedImage],
    outputs: Iterable[PoseOutput],
    given_scores: Sequence[np.ndarray] | None,
    failures: LeftOut,
) -> Iterator[_Prediction]:
    for index, (image, output) in enumerate(zip(images, outputs, strict=True)):
        if output.error is not None:
            failures.add("image that could not be used", image.path.name)
            continue
        assert output.boxes is not None and output.box_scores is not None  # the pipeline is top-down
        scores = output.box_scores if given_scores is None else given_scores[index]
        yield _Prediction(image, output.keypoints, output.keypoint_scores, output.boxes, scores)


def _results_of(prediction: _Prediction, category_id: Any, processor: Any, schema: KeypointSchema) -> list[Result]:
    keypoints, keypoint_scores = prediction.keypoints, prediction.keypoint_scores
    if getattr(processor, "is_one_stage", False):  # its scores are of whole instances, and it has suppressed already
        return keypoint_results(prediction.image.id, category_id, keypoints, keypoint_scores, prediction.box_scores)
    scores = instance_scores(keypoint_scores, prediction.box_scores)
    if schema.sigmas is not None:
        width, height = processor.size["width"], processor.size["height"]
        regions = box_centers_and_scales(prediction.boxes, width / height, processor.box_padding)[1]
        keep = oks_nms(keypoints, regions.prod(1), scores, schema.sigmas)
        keypoints, keypoint_scores, scores = keypoints[keep], keypoint_scores[keep], scores[keep]
    return keypoint_results(prediction.image.id, category_id, keypoints, keypoint_scores, scores)


def _distance_metrics(
    instances: PoseInstances, predictions: Sequence[_Prediction], schema: KeypointSchema
) -> dict[str, float]:
    """Measures of predictions for annotated boxes, which are in the order of the boxes of each image."""
    by_image = {prediction.image.id: prediction.keypoints for prediction in predictions}
    ids = [instances.images[index].id for index in instances.image_indices]
    rows, predicted, seen = [], [], dict.fromkeys(by_image, 0)
    for row, image_id in enumerate(ids):
        if image_id in by_image:
            rows.append(row)
            predicted.append(by_image[image_id][seen[image_id]])
            seen[image_id] += 1
    if not rows:
        return {}
    found, target = np.stack(predicted), instances.keypoints[rows]
    mask = instances.visibility[rows] > 0
    sizes = box_sizes(instances.boxes[rows])
    metrics = {f"PCK@{threshold:g}": pck(found, target, mask, sizes, threshold) for threshold in PCK_THRESHOLDS}
    metrics |= {"AUC": auc(found, target, mask), "EPE": epe(found, target, mask)}
    if schema.name in NME_KEYPOINTS:
        metrics["NME"] = nme(found, target, mask, keypoint_sizes(target, *NME_KEYPOINTS[schema.name]))
    return metrics


def evaluate_detector(stage: Stage, coco: CocoFile, *, batch_size: int = 8, show_progress: bool = False) -> Evaluation:
    """Measure a detector on annotated images, on the classes whose names are categories of the annotations.

    Args:
        stage: one of our detectors with its image processor, whose thresholds apply.
        coco: the annotations.
        batch_size: images at once.
        show_progress: draw a progress bar.

    Raises:
        InputError: if detector and annotations have no class in common.
    """
    category_ids = matching_categories(stage.model.config.id2label or {}, coco)
    failures, results, count = LeftOut(), [], 0
    start = time.perf_counter()
    with open_source([str(annotated.path) for annotated in coco.images]) as source:
        frames = iter(_progress(source, len(coco.images), show_progress))
        images = iter(coco.images)
        while batch := list(zip(islice(images, batch_size), frames, strict=False)):
            readable = [(annotated, frame.image) for annotated, frame in batch if frame.image is not None]
            for annotated, frame in batch:
                if frame.image is None:
                    failures.add("image that could not be used", annotated.path.name)
            if not readable:
                continue
            found = _detect(stage, [image for _, image in readable])
            for (annotated, _), one in zip(readable, found, strict=True):
                results += box_results(annotated.id, *one, category_ids)
            count += len(readable)
    seconds = time.perf_counter() - start
    metrics = evaluate_boxes(coco, results, list(category_ids.values()))
    return Evaluation(metrics, results, count, len(results), seconds, failures)


@torch.inference_mode()
def _detect(stage: Stage, images: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Boxes (N, 4), classes (N,) and scores (N,) of RGB images."""
    inputs = stage.image_processor(images=list(images), return_tensors="pt").to(stage.device, stage.model.dtype)
    sizes = [image.shape[:2] for image in images]
    found = stage.image_processor.post_process_object_detection(stage.model(**inputs), target_sizes=sizes)
    return [tuple(one[key].cpu().numpy() for key in ("boxes", "labels", "scores")) for one in found]


def matching_categories(id2label: Mapping[Any, str], coco: CocoFile) -> dict[int, Any]:
    """Class of a detector -> category id of the annotations with the same name.

    Raises:
        InputError: if there is none.
    """
    by_name = {str(category.get("name")).lower(): category.get("id") for category in coco.categories}
    matching = {int(index): by_name[name.lower()] for index, name in id2label.items() if name.lower() in by_name}
    if not matching:
        raise InputError(
            f"The detector's classes ({', '.join(list(id2label.values())[:10])}) and the categories of {coco.path} "
            f"({', '.join(list(by_name)[:10]) or 'none'}) have no name in common."
        )
    return matching


def _progress(items: Iterable[Any], total: int, show: bool) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, total=total, unit=" images", disable=not show)
