"""Rows of the `datasets` library as training data: an `image` and its `objects`, as the Hub's detection data sets have
them.

    {"image": PIL.Image, "image_id": 7, "objects": {"bbox": [[x, y, width, height]], "keypoints": [[x, y, v, ...]],
    ...}}

`objects` may have `category`, `area` and `id` too. Coordinates are pixels of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from hfpose.annotations import finite_numbers
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema
from hfpose.media.images import load_image
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
        InputError: if no row has an instance with a box and labeled keypoints.
    """

    def __init__(
        self,
        rows: Any,
        image_processor: Any,
        schema: KeypointSchema,
        augmentation: PoseAugmentation | None = None,
        seed: int = 0,
    ) -> None:
        self.rows, self.image_processor, self.schema = rows, image_processor, schema
        self.make = PersonCrops(image_processor, schema, augmentation)
        self.collator = PoseCollator(image_processor)
        self.changes = RandomChanges(seed)
        self.instances = [
            (row, instance)
            for row, objects in enumerate(_column(rows, "objects"))
            for instance in pose_objects(objects, schema)
        ]
        if not self.instances:
            raise InputError(
                f"No row has an instance with bbox and {schema.num_keypoints} labeled keypoints in `objects` "
                f"({schema.name})."
            )

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
    """

    def __init__(
        self, rows: Any, image_processor: Any, augmentation: DetectionAugmentation | None = None, seed: int = 0
    ) -> None:
        self.rows = rows
        self.make = FittedImages(image_processor, augmentation)
        self.collator = DetectionCollator(image_processor)
        self.changes = RandomChanges(seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`pixel_values` (3, H, W) and `labels`, a dict of `boxes` (n, 4) and `class_labels` (n,); see
        `DetectionCollator`."""
        row = self.rows[index]
        boxes = np.array(row["objects"]["bbox"], np.float32).reshape(-1, 4)
        boxes = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1)
        labels = np.array(row["objects"].get("category", [0] * len(boxes)), np.int64)
        sample = ImageSample(load_image(row["image"]), boxes, labels)
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
        found = PoseRows(rows, self.image_processor, self.schema, self.augmentation)
        found.changes = self.changes
        samples = [found[index] for index in range(len(found))]
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


Instance = tuple[np.ndarray, np.ndarray, np.ndarray, float]


def pose_objects(objects: Mapping[str, Any], schema: KeypointSchema) -> list[Instance]:
    """Box (4,) x1, y1, x2, y2, keypoints (K, 2), visibility (K,) and area of each instance that can be used."""
    boxes, keypoints = objects.get("bbox") or [], objects.get("keypoints") or []
    areas = objects.get("area") or [None] * len(boxes)
    found = []
    for given, points, area in zip(boxes, keypoints, areas, strict=False):
        box = finite_numbers(np.asarray(given).tolist(), 4)
        values = finite_numbers(np.asarray(points).tolist(), 3 * schema.num_keypoints)
        if box is None or values is None:
            continue
        x, y, width, height = box
        rows = np.array(values, np.float32).reshape(-1, 3)
        if width > 0 and height > 0 and (rows[:, 2] > 0).any():
            corners = np.array([x, y, x + width, y + height], np.float32)
            found.append((corners, rows[:, :2], rows[:, 2], float(area or width * height * AREA_OF_BOX)))
    return found


def _column(rows: Any, name: str) -> Any:
    """An entry of all rows, without decoding an image."""
    return rows[name] if hasattr(rows, "column_names") else [row[name] for row in rows]


def _has_column(rows: Any, name: str) -> bool:
    return name in rows.column_names if hasattr(rows, "column_names") else all(name in row for row in rows)
