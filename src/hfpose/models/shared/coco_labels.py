"""Labels of models out of annotations in COCO's format, for the image processors.

Source of the form: `transformers.models.detr.image_processing_detr`.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfpose.annotations import is_crowd, keypoint_rows, usable_area
from hfpose.errors import InputError
from hfpose.ops.pose_similarity import AREA_OF_BOX

Annotations = Mapping[str, Any] | Sequence[Mapping[str, Any]]


def annotated_objects(annotations: Annotations, num_images: int) -> list[list[Mapping[str, Any]]]:
    """The objects of each image, without crowds and, as DETR does, without those whose box has no area.

    Args:
        annotations: for each image `{"image_id": ..., "annotations": [object, ...]}`; an object has a `bbox` x, y,
            width, height in pixels, and a `category_id` or `keypoints` [x, y, visibility, ...].

    Raises:
        InputError: for another form, or another number of images; for a box that is not four numbers.
    """
    images = [annotations] if isinstance(annotations, Mapping) else list(annotations)
    if len(images) != num_images or not all("annotations" in image for image in images):
        raise InputError(
            f"Got {len(images)} annotations for {num_images} images. Give one "
            '{"image_id": ..., "annotations": [{"bbox": [x, y, width, height], ...}, ...]} for each image.'
        )
    return [[one for one in image["annotations"] if not is_crowd(one) and min(_box(one)[2:]) > 0] for image in images]


def _box(annotation: Mapping[str, Any]) -> np.ndarray:
    """The `bbox` (4,) of an object, float32."""
    given, box = annotation.get("bbox"), np.zeros(0, np.float32)
    with suppress(TypeError, ValueError):
        box = np.asarray(given, dtype=np.float32)
    if box.shape != (4,) or not np.isfinite(box).all():
        raise InputError(f"An object has bbox={given!r}; expected four numbers: x, y, width and height in pixels.")
    return box


def object_boxes(objects: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Boxes (n, 4) x1, y1, x2, y2 in pixels, float32, of objects that `annotated_objects` gave."""
    boxes = np.array([one["bbox"] for one in objects], dtype=np.float32).reshape(-1, 4)
    return np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)


def object_classes(objects: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """The `category_id` (n,) of each object.

    Raises:
        InputError: for an object without it, or one that is no whole number from 0.
    """
    classes = [one.get("category_id") for one in objects]
    if not all(isinstance(each, Integral) and int(each) >= 0 for each in classes):
        raise InputError(f"The objects have category_id {classes[:20]}; expected the index of a class for each.")
    return np.array(classes, dtype=np.int64)


def object_keypoints(objects: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (n, K, 2) in pixels and weights (n, K), 1 where a keypoint is labeled, float32.

    Raises:
        InputError: for objects without keypoints, with different numbers of them, or not finite.
    """
    given = [np.asarray(one.get("keypoints", ()), dtype=np.float64) for one in objects]
    if len({each.size for each in given}) > 1 or any(each.size % 3 or each.size == 0 for each in given):
        raise InputError(
            f"The objects have {[each.size for each in given][:20]} numbers of keypoints. Give [x, y, visibility, "
            "...] for each, with the same number of keypoints."
        )
    rows = [row for each in given if (row := keypoint_rows(each.tolist())) is not None]
    if len(rows) < len(given):
        raise InputError("A labeled keypoint of an object has numbers that are not finite.")
    points = np.stack(rows).astype(np.float32) if rows else np.zeros((0, 0, 3), np.float32)
    return points[..., :2], (points[..., 2] > 0).astype(np.float32)


def moved(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) where an affine matrix (2, 3) takes them."""
    return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def instance_labels(objects: Sequence[Mapping[str, Any]], matrix: np.ndarray) -> dict[str, Tensor]:
    """Labels of a one-stage estimator for an image that an affine matrix (2, 3) takes to the network input.

    Returns:
        In pixels of the network input `boxes` (n, 4) x1, y1, x2, y2, `keypoints` (n, K, 2), `keypoint_weights` (n, K),
        0 for those that are not labeled, and `areas` (n,), by default `AREA_OF_BOX` of the boxes'.
    """
    boxes = object_boxes(objects)
    keypoints, weights = object_keypoints(objects)
    box_areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    given = [
        usable_area(one.get("area"), area) or area * AREA_OF_BOX for one, area in zip(objects, box_areas, strict=True)
    ]
    areas = np.array(given, dtype=np.float32) * abs(np.linalg.det(matrix[:, :2]))
    return {
        "boxes": torch.from_numpy(moved(boxes.reshape(-1, 2, 2), matrix).reshape(-1, 4)),
        "keypoints": torch.from_numpy(moved(keypoints, matrix)),
        "keypoint_weights": torch.from_numpy(weights),
        "areas": torch.from_numpy(areas.astype(np.float32)),
    }


def one_per_image(labels: Sequence[Mapping[str, Tensor]], num_images: int) -> Sequence[Mapping[str, Tensor]]:
    """The labels of a batch of images, such as `boxes` (n, 4) of each, which the losses of whole images take.

    Raises:
        InputError: unless they are one dict for each image.
    """
    if (
        not isinstance(labels, Sequence)
        or len(labels) != num_images
        or not all(isinstance(x, Mapping) for x in labels)
    ):
        given = f"{len(labels)} labels" if isinstance(labels, Sequence) else f"labels of type {type(labels).__name__}"
        raise InputError(
            f"Got {given} for {num_images} images; give a list with one dict for each image, as "
            "`image_processor(images, annotations=...)` makes it."
        )
    return labels


# Labels of detectors, as transformers' DETR has them.


def normalized_boxes(boxes: Tensor, image_size: Sequence[int]) -> Tensor:
    """Boxes (n, 4) x1, y1, x2, y2 as center x, center y, width and height in shares of the (height, width) of an
    image."""
    height, width = image_size
    both = torch.cat(((boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]), dim=1)
    return both / both.new_tensor([width, height] * 2)


def labels_in_pixels(
    labels: Sequence[Mapping[str, Tensor]], image_size: Sequence[int], num_labels: int
) -> list[dict[str, Tensor]]:
    """Labels with `boxes` (n, 4) as `normalized_boxes` gives them, as labels with x1, y1, x2, y2 in pixels.

    Args:
        labels: for each image a dict of `class_labels` (n,) and `boxes`.
        image_size: height and width of `pixel_values`.
        num_labels: how many classes there are.

    Raises:
        InputError: for boxes in pixels, without `class_labels`, or for a class that the model does not have.
    """
    found = []
    for index, label in enumerate(labels):
        classes, boxes = (label.get(name, torch.zeros(0)) for name in ("class_labels", "boxes"))
        boxes = boxes.float().reshape(-1, 4)
        is_share = (boxes >= -1e-3) & (boxes <= 1 + 1e-3)
        if not {"class_labels", "boxes"} <= {*label} or len(classes) != len(boxes) or not is_share.all():
            span = f" with boxes from {boxes.min():g} to {boxes.max():g}" if boxes.numel() else ""
            raise InputError(
                f"The labels of image {index} are {sorted(label)}{span}. Give class_labels (n,) and boxes (n, 4): "
                "center x, center y, width and height in shares of the image, as `image_processor(images, "
                "annotations=...)` makes them; boxes x1, y1, x2, y2 in pixels are not taken."
            )
        if bool(((classes < 0) | (classes >= num_labels)).any()):
            raise InputError(
                f"The class_labels of image {index} are {classes.tolist()[:20]}; the model has classes 0 to "
                f"{num_labels - 1}."
            )
        pixels = boxes * boxes.new_tensor([image_size[1], image_size[0]] * 2)
        corners = torch.cat((pixels[:, :2] - pixels[:, 2:] / 2, pixels[:, :2] + pixels[:, 2:] / 2), dim=1)
        found.append({"boxes": corners, "class_labels": classes})
    return found
