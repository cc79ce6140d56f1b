"""Runs a model over annotated images and measures what it finds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from hfpose.annotations import (
    AnnotatedImage,
    CocoFile,
    PoseInstances,
    annotation_name,
    check_keypoints,
    finite_number,
    finite_numbers,
    id_lookup,
    listed_id,
)
from hfpose.errors import InputError
from hfpose.evaluation.coco import evaluate_boxes, with_sigmas
from hfpose.evaluation.coco_results import Result, box_results, keypoint_results
from hfpose.evaluation.metrics import Metrics
from hfpose.evaluation.protocols import COCO, Protocol, measure, measured_instances
from hfpose.evaluation.scoring import NmsMode, ScoreMode, instance_scores, keypoint_areas, suppress
from hfpose.keypoints import KeypointSchema
from hfpose.media.images import image_size
from hfpose.media.left_out import LeftOut
from hfpose.media.sources import Source, open_source
from hfpose.pipelines import PoseEstimationPipeline
from hfpose.pipelines.detection_stage import BoxDetector
from hfpose.pipelines.stage import Stage
from hfpose.pipelines.whole_image_stage import is_one_stage
from hfpose.results import PoseOutput

BOX_THRESHOLD = 0.3

# Where boxes come from: the pipeline's detector, the annotations, or a list of detections in COCO's format.
Boxes = Literal["detector", "annotations"] | Sequence[Result]


@dataclass
class Evaluation:
    """What a run found.

    Attributes:
        metrics: numbers by name, and what could not be measured.
        results: instances in COCO's format.
        num_images, num_instances: how many went through.
        seconds: from the first image to the last result.
        failures: images and boxes that could not be used.
    """

    metrics: Metrics
    results: list[Result]
    num_images: int
    num_instances: int
    seconds: float
    failures: LeftOut = field(default_factory=LeftOut)


@dataclass(frozen=True)
class _GivenBoxes:
    """Boxes (n, 4) x1, y1, x2, y2 of an image, with scores (n,), categories and, where they are annotated,
    annotations."""

    boxes: np.ndarray
    scores: np.ndarray
    category_ids: list[Any]
    annotation_ids: list[Any] | None = None

    def within(self, width: int, height: int, name: str, failures: LeftOut) -> _GivenBoxes:
        """Those that lie in an image at least in part; the others are counted."""
        boxes = self.boxes
        inside = (boxes[:, 2:] > 0).all(1) & (boxes[:, 0] < width) & (boxes[:, 1] < height)
        for box in boxes[~inside]:
            failures.add(f"box outside of its image of {width} x {height} pixels", f"{box.tolist()} of {name}")
        rows = np.flatnonzero(inside).tolist()
        return _GivenBoxes(
            boxes[rows],
            self.scores[rows],
            [self.category_ids[row] for row in rows],
            None if self.annotation_ids is None else [self.annotation_ids[row] for row in rows],
        )


def evaluate_pose_pipeline(
    pipe: PoseEstimationPipeline,
    coco: CocoFile,
    boxes: Boxes = "detector",
    *,
    protocol: Protocol = COCO,
    schema: KeypointSchema | None = None,
    score_mode: ScoreMode | None = None,
    nms_mode: NmsMode | None = None,
    box_threshold: float | None = None,
    nms_threshold: float | None = None,
    flip_test: bool = False,
    batch_size: int = 8,
    pose_batch_size: int | None = None,
    show_progress: bool = False,
) -> Evaluation:
    """Measure a pipeline on annotated images.

    On annotated boxes it is known which prediction is for which instance, so that distances are measured beside
    average precision: PCK (in units of the longer side of the box), AUC (up to 30 pixels), EPE (pixels) and, for
    faces, NME.

    Args:
        coco: the annotations; their keypoints must be the pipeline's.
        boxes: where they come from, see `Boxes`.
        protocol: of the data set; see `hfpose.evaluation.protocols.PROTOCOLS`.
        schema: of the keypoints, where its sigmas are others than the pipeline's.
        score_mode, nms_mode: see `instance_scores` and `suppress`. Default: `"bbox_keypoint"` and `"oks"`; models that
            find instances by themselves have scores of their own, which are kept, and no suppression.
        box_threshold: minimum score of a box. Default: 0.3 for a detector's, as in the pipeline; all of a list's, as
            in papers. A model that finds people without a detector has its own.
        nms_threshold: of two detected boxes with a greater IoU the one with the lower score is removed; default as for
            `box_threshold`.
        flip_test: average over flipped crops.
        batch_size, pose_batch_size: images and crops at once, as for a call of the pipeline.
        show_progress: draw a progress bar.

    Raises:
        InputError: if the annotations have other keypoints than the pipeline, or no instance or box that can be used.
    """
    schema = schema or pipe.schema
    check_keypoints(coco, schema)
    failures, num_images = LeftOut(), 0
    images, given = _images_and_boxes(coco, boxes, schema, protocol, box_threshold or 0.0, failures)
    if given is None and box_threshold is None and not pipe.is_one_stage:
        box_threshold = BOX_THRESHOLD
    if given is None and protocol.precision is not None and protocol.precision.by_category:
        _refuse_several_categories(coco)
    stage = pipe.estimator.stage
    score_mode, nms_mode = _chosen_modes(stage, score_mode, nms_mode)
    category_id = (coco.keypoint_category_ids or [1])[0]
    results: list[Result] = []
    kept: list[Result] = []
    start = time.perf_counter()
    with _open_images(images) as source:
        outputs = pipe.stream(
            source,
            boxes=None if given is None else [of_image.boxes for of_image in given],
            flip_test=flip_test,
            box_threshold=box_threshold,
            nms_threshold=nms_threshold,
            batch_size=batch_size,
            pose_batch_size=pose_batch_size,
        )
        shown = tqdm(outputs, total=len(images), unit=" images", disable=not show_progress)
        for index, (_, output) in enumerate(shown):
            image = images[index]
            if output.error is not None or output.boxes is None or output.box_scores is None:
                failures.add("image that could not be used", image.path.name)
                continue
            num_images += 1
            detected = _GivenBoxes(output.boxes, output.box_scores, [category_id] * len(output))
            of_image = detected if given is None else given[index]
            found, indices = _results_of(image.id, output, of_image, stage, schema, score_mode, nms_mode)
            results += found
            kept += [found[place] for place in indices]
    seconds = time.perf_counter() - start
    metrics = measure(coco, kept, schema, protocol, results if boxes == "annotations" else None)
    told = results if protocol.precision is None else kept  # distances need the result of each annotation
    return Evaluation(metrics, told, num_images, len(results), seconds, failures)


def _open_images(images: Sequence[AnnotatedImage]) -> Source:
    """One frame for each image: the first of a file with several, such as a GIF or a TIFF, which is annotated."""
    return open_source([{"image": str(image.path)} for image in images])


def _refuse_several_categories(coco: CocoFile) -> None:
    """
    Raises:
        InputError: if the file has more categories than one, which a pose pipeline does not tell apart.
    """
    if len(categories := coco.keypoint_categories) > 1:
        names = ", ".join(str(category.get("name")) for category in categories[:3])
        raise InputError(
            f"{coco.path} has {len(categories)} categories ({names}, ...) that this protocol measures one by one, but "
            "poses in the boxes of a detector have none. Use --gt-boxes, or --boxes with a `category_id` each."
        )


def _chosen_modes(stage: Stage, score_mode: ScoreMode | None, nms_mode: NmsMode | None) -> tuple[ScoreMode, NmsMode]:
    """The modes that are given, else those that suit the model."""
    if is_one_stage(stage):  # its scores are of whole instances, and it has suppressed already
        return score_mode or "bbox", nms_mode or "none"
    is_rle = getattr(stage.model.config, "head_type", None) == "rle"
    return score_mode or ("bbox_rle" if is_rle else "bbox_keypoint"), nms_mode or "oks"


def _images_and_boxes(
    coco: CocoFile, boxes: Boxes, schema: KeypointSchema, protocol: Protocol, threshold: float, failures: LeftOut
) -> tuple[list[AnnotatedImage], list[_GivenBoxes] | None]:
    """Images to look at, and the boxes of each, None where the pipeline finds them."""
    if boxes == "detector":
        return list(coco.images), None
    if boxes == "annotations":
        images, given = _annotated_boxes(measured_instances(coco, schema, protocol))
    else:
        images, given = _detections(coco, boxes, threshold)
    return _within_images(images, given, failures)


def _annotated_boxes(instances: PoseInstances) -> tuple[list[AnnotatedImage], list[_GivenBoxes]]:
    """Images that show instances, and the annotated boxes of each."""
    images, given = [], []
    for index in np.unique(instances.image_indices):
        rows = np.flatnonzero(instances.image_indices == index).tolist()
        images.append(instances.images[index])
        entries = [instances.annotations[row] for row in rows]
        categories, annotations = ([entry.get(key) for entry in entries] for key in ("category_id", "id"))
        given.append(_GivenBoxes(instances.boxes[rows], np.ones(len(rows), np.float32), categories, annotations))
    return images, given


def _detections(
    coco: CocoFile, detections: Sequence[Result], threshold: float
) -> tuple[list[AnnotatedImage], list[_GivenBoxes]]:
    """Images with detected boxes, and the boxes of each that can be cropped; the others are counted in
    `coco.left_out`."""
    images_by_id, categories = id_lookup(image.id for image in coco.images), id_lookup(coco.keypoint_category_ids)
    found: dict[Any, list[tuple[list[float], float, Any]]] = {}
    for index, detection in enumerate(detections):
        box, score = finite_numbers(detection.get("bbox"), 4), finite_number(detection.get("score"))
        image_id = listed_id(detection.get("image_id"), images_by_id)
        category_id = listed_id(detection.get("category_id"), categories)
        if box is None or score is None:
            reason = "detection without bbox of four numbers and a score"
        elif image_id is None:
            reason = "detection of an image that the annotations do not list"
        elif category_id is None and categories:
            reason = f"detection of another category than {', '.join(map(str, coco.keypoint_category_ids[:5]))}"
        elif box[2] <= 0 or box[3] <= 0:
            reason = "detection without area"
        elif score < threshold:
            reason = f"detection with a score below {threshold:g}"
        else:
            x, y, width, height = box
            found.setdefault(image_id, []).append(([x, y, x + width, y + height], score, category_id))
            continue
        coco.left_out.add(reason, f"detection {index} of image {detection.get('image_id')}")
    if not found:
        raise InputError(
            f"None of the {len(detections)} detections can be used for {coco.path}: "
            f"{'; '.join(coco.left_out.lines()) or 'the list is empty'}. Check that the files belong together."
        )
    images = [image for image in coco.images if image.id in found]
    given = []
    for image in images:
        boxes, scores, category_ids = zip(*found[image.id], strict=True)
        given.append(_GivenBoxes(np.array(boxes, np.float32), np.array(scores, np.float32), list(category_ids)))
    return images, given


def _within_images(
    images: Sequence[AnnotatedImage], given: Sequence[_GivenBoxes], failures: LeftOut
) -> tuple[list[AnnotatedImage], list[_GivenBoxes]]:
    """The images that can be read, and those of their boxes that lie in them; images without any are left out."""
    kept: list[tuple[AnnotatedImage, _GivenBoxes]] = []
    for image, boxes in zip(images, given, strict=True):
        try:
            inside = boxes.within(*image_size(image.path), image.path.name, failures)
        except InputError:
            failures.add("image that could not be used", image.path.name)
            continue
        if len(inside.boxes):
            kept.append((image, inside))
    return [image for image, _ in kept], [boxes for _, boxes in kept]


def _results_of(
    image_id: Any,
    output: PoseOutput,
    given: _GivenBoxes,
    stage: Stage,
    schema: KeypointSchema,
    score_mode: ScoreMode,
    nms_mode: NmsMode,
) -> tuple[list[Result], list[int]]:
    """All instances of an image in COCO's format, and indices of those that stay."""
    keypoints, boxes = output.keypoints, np.asarray(output.boxes)
    scores = instance_scores(output.keypoint_scores, given.scores, score_mode)
    if is_one_stage(stage):
        areas = keypoint_areas(keypoints)
    else:
        areas = stage.image_processor.centers_and_scales(boxes)[1].prod(1)
    found = keypoint_results(image_id, given.category_ids, keypoints, output.keypoint_scores, scores, boxes)
    for result, annotation_id in zip(found, given.annotation_ids or (), strict=False):
        result["annotation_id"] = annotation_id
    sigmas = with_sigmas(schema)[0].sigmas or ()
    return found, suppress(keypoints, areas, scores, sigmas, nms_mode).tolist()


def evaluate_detector(stage: Stage, coco: CocoFile, *, batch_size: int = 8, show_progress: bool = False) -> Evaluation:
    """Measure a detector on annotated images, on the classes whose names are categories of the annotations,
    with the thresholds of its image processor.

    Raises:
        InputError: if detector and annotations have no class in common.
    """
    category_ids = matching_categories(stage.model.config.id2label or {}, coco)
    detector, failures, results, count = BoxDetector(stage), LeftOut(), [], 0
    start = time.perf_counter()
    with _open_images(coco.images) as source:
        frames = iter(tqdm(source, total=len(coco.images), unit=" images", disable=not show_progress))
        images = iter(coco.images)
        while batch := list(zip(islice(images, batch_size), frames, strict=False)):
            readable = [(annotated, frame.image) for annotated, frame in batch if frame.image is not None]
            for annotated, frame in batch:
                if frame.image is None:
                    failures.add("image that could not be used", annotated.path.name)
            found = detector.detections([image for _, image in readable]) if readable else []
            for (annotated, _), one in zip(readable, found, strict=True):
                results += box_results(annotated.id, one.boxes, one.labels, one.scores, category_ids)
            count += len(readable)
    seconds = time.perf_counter() - start
    metrics = evaluate_boxes(coco, results, list(category_ids.values()))
    for annotation in coco.annotations:
        if annotation.get("category_id") not in category_ids.values():
            reason = "annotation of a category that the detector has no class for"
            metrics.left_out.add(reason, annotation_name(annotation))
    return Evaluation(metrics, results, count, len(results), seconds, failures)


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
