"""The stage that finds keypoints in boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers.utils import ModelOutput

from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.models.vitpose.experts import forward_arguments
from hfpose.pipelines.stage import Stage

# What a CPU takes least time per crop for: activations of more crops do not stay in its caches. An accelerator wants to be
# busy.
CPU_BATCH_SIZE, ACCELERATOR_BATCH_SIZE = 8, 64


class EstimatedPoses(NamedTuple):
    """The N people of one image.

    `keypoints` (N, K, 2) in pixels, or what the image processor decodes; `scores` (N, K); where asked `heatmaps`
    (N, K, h, w), each over the region of the image in `heatmap_boxes` (N, 4); further fields of a `PoseOutput`.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    heatmaps: np.ndarray | None = None
    heatmap_boxes: np.ndarray | None = None
    fields: Mapping[str, Any] = {}

    def select(self, part: slice) -> EstimatedPoses:
        """Some of the people."""
        return EstimatedPoses(
            self.keypoints[part],
            self.scores[part],
            None if self.heatmaps is None else self.heatmaps[part],
            None if self.heatmap_boxes is None else self.heatmap_boxes[part],
            {name: array[part] for name, array in self.fields.items()},
        )


class TopDownEstimator:
    """Keypoints of every box of a batch of images.

    Args:
        stage: a pose model with its image processor.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.schema: KeypointSchema = schema_for_config(stage.model.config)

    @torch.inference_mode()
    def __call__(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        *,
        flip_test: bool,
        batch_size: int | None = None,
        return_heatmaps: bool = False,
    ) -> list[EstimatedPoses]:
        """
        Args:
            images: RGB images (H, W, 3), uint8.
            boxes: for each image (N, 4) x1, y1, x2, y2 in pixels.
            flip_test: average over the mirrored crop.
            batch_size: crops that go through the network at once, whichever images they are of; default
                `CPU_BATCH_SIZE` or `ACCELERATOR_BATCH_SIZE`.
            return_heatmaps: keep the heatmaps, hundreds of kilobytes for each keypoint.
        """
        if batch_size is None:
            batch_size = CPU_BATCH_SIZE if self.stage.device.type == "cpu" else ACCELERATOR_BATCH_SIZE
        parts = [
            self._estimate(
                [images[index] for index, _ in batch], [some for _, some in batch], flip_test, return_heatmaps
            )
            for batch in _batches(boxes, batch_size)
        ]
        people = _concatenate(parts) if parts else _nobody(self.schema.num_keypoints, return_heatmaps)
        ends = accumulate(map(len, boxes))
        return [people.select(slice(end - len(some), end)) for some, end in zip(boxes, ends, strict=True)]

    def _estimate(
        self,
        images: Sequence[np.ndarray],
        boxes: Sequence[np.ndarray],
        flip_test: bool,
        return_heatmaps: bool,
    ) -> EstimatedPoses:
        """The people in `boxes` [(n, 4), ...] of the images, who go through the network together."""
        processor = self.stage.image_processor
        outputs = self._run(self._pixel_values(images, boxes), flip_test)
        flat = np.concatenate(boxes)
        keypoints, scores = processor.decode(outputs, flat)
        heatmaps, regions = None, None
        if return_heatmaps:
            heatmaps, regions = processor.heatmaps(outputs).float().cpu().numpy(), processor.regions(flat)
        return EstimatedPoses(keypoints, scores, heatmaps, regions, processor.instance_fields(outputs))

    def _pixel_values(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> Tensor:
        """Network input for the `boxes` [(n, 4), ...] of the images."""
        stage, processor, device = self.stage, self.stage.image_processor, self.stage.device
        if device.type == "cpu":
            return processor.pixel_values(images, boxes, stage.memory_format).to(stage.dtype)
        values = processor.pixel_values_on_device(images, boxes, device).to(stage.dtype)
        return values.contiguous(memory_format=stage.memory_format)

    def _run(self, pixel_values: Tensor, flip_test: bool) -> ModelOutput:
        outputs = self._forward(pixel_values)
        if not flip_test:
            return outputs
        flipped = self._forward(pixel_values.flip(-1))
        return self.stage.image_processor.merge_flipped(outputs, flipped, self.schema.flip_indices)

    def _forward(self, pixel_values: Tensor) -> ModelOutput:
        arguments = forward_arguments(self.stage.model, len(pixel_values))
        return self.stage.run(pixel_values=pixel_values, **arguments)


def _batches(boxes: Sequence[np.ndarray], size: int) -> Iterator[list[tuple[int, np.ndarray]]]:
    """The boxes [(n, 4), ...] of images, `size` at a time: the index of each image and those of its boxes."""
    batch: list[tuple[int, np.ndarray]] = []
    room = size
    for index, rest in enumerate(boxes):
        while len(rest):
            some, rest = rest[:room], rest[room:]
            batch.append((index, some))
            room -= len(some)
            if room == 0:
                yield batch
                batch, room = [], size
    if batch:
        yield batch


def _nobody(num_keypoints: int, with_heatmaps: bool) -> EstimatedPoses:
    keypoints, scores = np.zeros((0, num_keypoints, 2), np.float32), np.zeros((0, num_keypoints), np.float32)
    if not with_heatmaps:
        return EstimatedPoses(keypoints, scores)
    return EstimatedPoses(
        keypoints, scores, np.zeros((0, num_keypoints, 0, 0), np.float32), np.zeros((0, 4), np.float32)
    )


def _concatenate(parts: Sequence[EstimatedPoses]) -> EstimatedPoses:
    first, *others = parts
    if not others:
        return first
    return EstimatedPoses(
        np.concatenate([part.keypoints for part in parts]),
        np.concatenate([part.scores for part in parts]),
        None if first.heatmaps is None else np.concatenate([part.heatmaps for part in parts]),
        None if first.heatmap_boxes is None else np.concatenate([part.heatmap_boxes for part in parts]),
        {name: np.concatenate([part.fields[name] for part in parts]) for name in first.fields},
    )
