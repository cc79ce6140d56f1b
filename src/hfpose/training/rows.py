"""Rows of the `datasets` library as training data: an `image` and its `objects`, as the Hub's detection data sets have
them.

    {"image": PIL.Image, "image_id": 7, "objects": {"bbox": [[x, y, width, height]], "keypoints": [[x, y, v, ...]],
    ...}}

`objects` may have `category`, `area` and `id` too, and may be a list of dicts. Coordinates are pixels of the image.
What cannot be used is left out, counted and named in the log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from hfpose.annotations import annotated_keypoints, finite_numbers, usable_area
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.images import load_image
from hfpose.media.left_out import LeftOut
from hfpose.ops.pose_similarity import AREA_OF_BOX
from hfpose.training.augmentation import (
    DetectionAugmentation,
    FittedImages,
    ImageSample,
    PersonCrops,
    PersonSample,
    PoseAugmentation,
)
from hfpose.training.collators import DetectionCollator, PoseCollator
from hfpose.training.data_faults import NORMALIZED, SEVERE_SHARES, is_normalized

logger = logging.getLogger(__name__)

Objects = Mapping[str, Sequence[Any]]


class RandomChanges:
    """Random numbers of a seed. Each worker of a `DataLoader` has its own, others in each pass: what a worker has
    drawn is lost with it, and the next one would begin where this one did.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._made: tuple[int | None, np.random.Generator] = (None, np.random.default_rng(seed))

    def generator(self) -> np.random.Generator:
        """Of this process."""
        worker = get_worker_info()
        if worker is not None and self._made[0] != worker.seed:
            self._made = (worker.seed, np.random.default_rng([self.seed, worker.seed]))
        return self._made[1]


class PoseRows(Dataset):
    """The instances of rows, one sample each, under the names that a model's `forward` has for them: so `Trainer` can
    do with them what it does with any, whatever `remove_unused_columns` is, and `default_data_collator` makes batches.

    Args:
        rows: a `datasets.Dataset`, or a list of such rows.
        image_processor: of the model.
        schema: of the keypoints.
        augmentation: random changes; None for none, as for evaluation.
        seed: of the changes, which differ each time a sample is taken.

    Raises:
        InputError: if no row has an instance with a box and labeled keypoints, or if these are from 0 to 1.
    """

    def __init__(
        self,
        rows: Any,
        image_processor: Any,
        schema: KeypointSchema,
        augmentation: PoseAugmentation | None = None,
        seed: int = 0,
        *,
        _told: set[str] | None = None,
    ) -> None:
        self.rows, self.image_processor, self.schema = rows, image_processor, schema
        self.make = PersonCrops(image_processor, schema, augmentation)
        self.collator = PoseCollator(image_processor)
        self.changes = RandomChanges(seed)
        left_out = LeftOut()
        self.instances = [
            (row, instance)
            for row, objects in enumerate(_column(rows, "objects"))
            for instance in pose_objects(by_field(objects), schema, left_out, row)
        ]
        if not self.instances:
            raise InputError(
                f"No row has an instance with bbox and {schema.num_keypoints} labeled keypoints in `objects` "
                f"({schema.name}). Left out: {left_out}."
            )
        _tell(left_out, set() if _told is None else _told)
        _refuse_normalized([(box, points[seen > 0]) for _, (box, points, seen, _) in self.instances])

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`pixel_values` (3, H, W), `labels` (K, 2) and `keypoint_weights` (K,)."""
        row, instance = self.instances[index]
        sample = PersonSample(load_image(self.rows[row]["image"]), *instance[:3])
        batch = self.collator([self.make(sample, self.changes.generator())])
        return {name: values[0] for name, values in batch.items()}

    def image_ids(self) -> list[Any]:
        """Of the rows that show the instances."""
        ids = list(_column(self.rows, "image_id")) if _has_column(self.rows, "image_id") else range(len(self.rows))
        return [ids[row] for row, _ in self.instances]


class DetectionRows(Dataset):
    """Rows with the boxes of their objects, under the names that a detector's `forward` has for them.
    `collate_detections` makes batches.

    Args:
        rows: a `datasets.Dataset`, or a list of such rows; `objects` has `bbox` and `category`, the index of the
            class.
        image_processor: of the model.
        augmentation: random changes; None for none.
        seed: of the changes.

    Raises:
        InputError: if no row has a box, or if they are from 0 to 1.
    """

    def __init__(
        self, rows: Any, image_processor: Any, augmentation: DetectionAugmentation | None = None, seed: int = 0
    ) -> None:
        left_out = LeftOut()
        self.rows = rows
        self.boxes = [
            box_objects(by_field(objects), left_out, row) for row, objects in enumerate(_column(rows, "objects"))
        ]
        if not any(len(boxes) for boxes, _ in self.boxes):
            raise InputError(f"No row has a box (x, y, width, height) in `objects`. Left out: {left_out}.")
        _tell(left_out, set())
        _refuse_normalized([(box, np.empty((0, 2))) for boxes, _ in self.boxes for box in boxes])
        self.make = FittedImages(image_processor, augmentation)
        self.collator = DetectionCollator(image_processor)
        self.changes = RandomChanges(seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`pixel_values` (3, H, W) and `labels`, a dict of `boxes` (n, 4) and `class_labels` (n,); see
        `DetectionCollator`."""
        boxes, labels = self.boxes[index]
        sample = ImageSample(load_image(self.rows[index]["image"]), boxes.copy(), labels.copy())
        batch = self.collator([self.make(sample, self.changes.generator())])
        return {name: values[0] for name, values in batch.items()}


def collate_detections(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch of `DetectionRows`: `pixel_values` (B, 3, H, W) and a list of `labels`."""
    return {
        "pixel_values": torch.stack([sample["pixel_values"] for sample in samples]),
        "labels": [sample["labels"] for sample in samples],
    }


class PoseRowCollator:
    """Makes a batch of all instances of some rows, for a `Trainer` that is given the `datasets.Dataset` itself; with
    `TrainingArguments(remove_unused_columns=False)`, else the rows come without their image. The arguments are those
    of `PoseRows`.
    """

    def __init__(
        self, image_processor: Any, schema: KeypointSchema, augmentation: PoseAugmentation | None = None, seed: int = 0
    ) -> None:
        self.image_processor, self.schema, self.augmentation = image_processor, schema, augmentation
        self.changes = RandomChanges(seed)
        self.told: set[str] = set()

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`pixel_values` (B, 3, H, W), `labels` (B, K, 2) and `keypoint_weights` (B, K).

        Raises:
            ConfigError: if the rows have no image.
            InputError: if they have no instance.
        """
        if any("image" not in row or "objects" not in row for row in rows):
            raise ConfigError(
                f"A row has {', '.join(rows[0]) or 'nothing'}; expected `image` and `objects`. Set "
                "TrainingArguments(remove_unused_columns=False), which keeps the columns that `forward` does not name."
            )
        found = PoseRows(rows, self.image_processor, self.schema, self.augmentation, _told=self.told)
        found.changes = self.changes
        samples = [found[index] for index in range(len(found))]
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


_NO_BOX = "object without bbox of x, y, width, height"

Instance = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def by_field(objects: Any) -> Objects:
    """The objects of a row as lists by field; newer data sets have a list of dicts there."""
    if isinstance(objects, Mapping):
        return objects
    names = dict.fromkeys(name for one in objects for name in one)
    return {name: [one.get(name) for one in objects] for name in names}


def pose_objects(objects: Objects, schema: KeypointSchema, left_out: LeftOut, row: int) -> list[Instance]:
    """Box (4,) x1, y1, x2, y2, keypoints (K, 2), visibility (K,) and area of each instance that can be used; the
    others are counted in `left_out`.
    """
    boxes, keypoints, areas = (_values(objects, name) for name in ("bbox", "keypoints", "area"))
    found = []
    for index, (given, points, area) in enumerate(zip_longest(boxes, keypoints, areas)):
        box = _corners(given)
        reason, rows = annotated_keypoints({"keypoints": _plain(points)}, schema)
        if box is None or rows is None:
            left_out.add(str(reason if box is not None else _NO_BOX), f"object {index} of row {row}")
        else:
            rows, size = rows.astype(np.float32), float((box[2:] - box[:2]).prod())
            found.append((box, rows[:, :2], rows[:, 2], usable_area(area, size) or size * AREA_OF_BOX))
    return found


def box_objects(objects: Objects, left_out: LeftOut, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (n, 4) x1, y1, x2, y2 and classes (n,) of a row; those that cannot be used are counted in `left_out`."""
    boxes, labels = [], []
    given = _values(objects, "bbox")
    classes = _values(objects, "category") or [0] * len(given)
    for index, (values, label) in enumerate(zip_longest(given, classes)):
        box = _corners(values)
        if box is None or label is None:
            reason = _NO_BOX if box is None else "object without category"
            left_out.add(reason, f"object {index} of row {row}")
        else:
            boxes.append(box)
            labels.append(label)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64)


def _values(objects: Objects, name: str) -> Sequence[Any]:
    values = objects.get(name)
    return [] if values is None else values


def _plain(values: Any) -> Any:
    return None if values is None else np.asarray(values).tolist()


def _corners(given: Any) -> np.ndarray | None:
    """x1, y1, x2, y2 of a box x, y, width, height; None if it is none, or has no area."""
    box = finite_numbers(_plain(given), 4)
    if box is None or min(box[2:]) <= 0:
        return None
    return np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]], np.float32)


def _tell(left_out: LeftOut, told: set[str]) -> None:
    """Log what was left out, unless its reason was told before."""
    if not left_out.counts.keys() <= told:
        logger.warning("Left out of the rows: %s.", left_out)
    told.update(left_out.counts)


def _refuse_normalized(annotated: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """
    Raises:
        InputError: if so many boxes x1, y1, x2, y2 or labeled keypoints (n, 2) are from 0 to 1 that all must be.
    """
    count = sum(is_normalized(box, points) for box, points in annotated)
    if count >= SEVERE_SHARES[NORMALIZED] * len(annotated):
        raise InputError(
            f"{count} of {len(annotated)} objects have {NORMALIZED}. Multiply them by width and height of their image."
        )


def _column(rows: Any, name: str) -> Any:
    """An entry of all rows, without decoding an image."""
    return rows[name] if hasattr(rows, "column_names") else [row[name] for row in rows]


def _has_column(rows: Any, name: str) -> bool:
    return name in rows.column_names if hasattr(rows, "column_names") else all(name in row for row in rows)
