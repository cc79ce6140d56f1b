"""The stage that finds keypoints in boxes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hfpose.errors import InputError
from hfpose.keypoints import KeypointSchema, schema_for_config
from hfpose.models.vitpose.experts import forward_arguments
from hfpose.pipelines.options import CallOptions
from hfpose.pipelines.stage import Stage

# What a CPU takes least time per crop for: activations of more crops do not stay in its caches. An accelerator wants
# to be busy.
CPU_BATCH_SIZE, ACCELERATOR_BATCH_SIZE = 8, 64

ImagePoses = dict[str, Any]
"""Fields of a `PoseOutput` for the N instances of an image: `keypoints` (N, K, 2) in pixels, or what the image
processor decodes; `keypoint_scores` (N, K); where asked `heatmaps` (N, K, h, w) and `heatmap_boxes` (N, 4); what else
it finds."""


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
        self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], options: CallOptions
    ) -> list[ImagePoses]:
        """
        Args:
            images: RGB images (H, W, 3), uint8.
            boxes: for each image (N, 4) x1, y1, x2, y2 in pixels.
            options: of a call of the pipeline: `flip_test`, `pose_batch_size`, `return_heatmaps`, `wants_features`.

        Raises:
            InputError: if features are wanted of a graph that was exported.
        """
        if options.wants_features and getattr(self.stage.runner, "folder", None) is not None:
            raise InputError(
                "The appearance of people is read from the feature maps of the pose network, but this one is a graph "
                "without weights: give a model with its weights, or leave `appearance` out of `tracking`."
            )
        size = options.pose_batch_size
        if size is None:
            size = CPU_BATCH_SIZE if self.stage.device.type == "cpu" else ACCELERATOR_BATCH_SIZE
        parts = []
        for batch in _batches(boxes, size):
            crops_of = [images[index] for index, _ in batch]
            parts.append(self._estimate(crops_of, [some for _, some in batch], options))
        poses = _concatenate(parts) if parts else _no_poses(self.schema.num_keypoints, options.return_heatmaps)
        ends = accumulate(map(len, boxes))
        return [
            {name: array[end - len(some) : end] for name, array in poses.items()}
            for some, end in zip(boxes, ends, strict=True)
        ]

    def _estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], options: CallOptions) -> ImagePoses:
        """The instances in `boxes` [(n, 4), ...] of the images, which go through the network together."""
        stage, processor = self.stage, self.stage.image_processor
        pixel_values = self._pixel_values(images, boxes)
        arguments = forward_arguments(stage.model, len(pixel_values))
        if options.wants_features:  # which graphs of other backends leave out
            outputs = stage.model(pixel_values=pixel_values, output_hidden_states=True, **arguments)
        else:
            outputs = stage.run(pixel_values=pixel_values, **arguments)
        features = _pooled(outputs.hidden_states[-1]) if options.wants_features else None
        if options.flip_test:
            flipped = stage.run(pixel_values=pixel_values.flip(-1), **arguments)
            outputs = processor.merge_flipped(outputs, flipped, self.schema.required_flip_indices())
        flat = np.concatenate(boxes)
        keypoints, scores = processor.decode(outputs, flat)
        poses = {"keypoints": keypoints, "keypoint_scores": scores, **processor.instance_fields(outputs)}
        if features is not None:
            poses["features"] = features
        if options.return_heatmaps:
            poses["heatmaps"] = processor.heatmaps(outputs).float().cpu().numpy()
            poses["heatmap_boxes"] = processor.regions(flat)
        return poses

    def _pixel_values(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> Tensor:
        """Network input for the `boxes` [(n, 4), ...] of the images."""
        stage, processor, device = self.stage, self.stage.image_processor, self.stage.device
        if device.type == "cpu":
            return processor.pixel_values(images, boxes, stage.memory_format).to(stage.dtype)
        values = processor.pixel_values_on_device(images, boxes, device).to(stage.dtype)
        return values.contiguous(memory_format=stage.memory_format)


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


def _pooled(features: Tensor) -> np.ndarray:
    """The mean (N, C) over the crop of feature maps (N, C, h, w) or tokens (N, L, C)."""
    places = (2, 3) if features.ndim == 4 else 1
    return features.float().mean(places).cpu().numpy()


def _no_poses(num_keypoints: int, with_heatmaps: bool) -> ImagePoses:
    poses = {
        "keypoints": np.zeros((0, num_keypoints, 2), np.float32),
        "keypoint_scores": np.zeros((0, num_keypoints), np.float32),
    }
    if with_heatmaps:
        poses["heatmaps"] = np.zeros((0, num_keypoints, 0, 0), np.float32)
        poses["heatmap_boxes"] = np.zeros((0, 4), np.float32)
    return poses


def _concatenate(parts: Sequence[ImagePoses]) -> ImagePoses:
    first, *others = parts
    if not others:
        return first
    return {name: np.concatenate([part[name] for part in parts]) for name in first}
