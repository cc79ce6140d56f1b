"""From samples to batches that the models take, labels included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfpose.models.shared.coco_labels import normalized_boxes


@dataclass(frozen=True)
class PoseCollator:
    """Batches of `PersonCrops`: `pixel_values` (B, 3, H, W), `labels` (B, K, 2) and `keypoint_weights` (B, K).

    Args:
        image_processor: of the model; it normalizes the pixels.
    """

    image_processor: Any

    def __call__(self, samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        return {
            "pixel_values": self.image_processor.normalize_pixels(np.stack([sample["crop"] for sample in samples])),
            "labels": torch.from_numpy(np.stack([sample["keypoints"] for sample in samples])),
            "keypoint_weights": torch.from_numpy(np.stack([sample["weights"] for sample in samples])),
        }


@dataclass(frozen=True)
class DetectionCollator:
    """Batches of `FittedImages`: `pixel_values` (B, 3, H, W) and `labels`, as transformers' object detection has them.

    Args:
        image_processor: of the model; it normalizes the pixels.
    """

    image_processor: Any

    def __call__(self, samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        return {
            "pixel_values": self.image_processor.normalize_pixels(np.stack([sample["image"] for sample in samples])),
            "labels": [
                {
                    "boxes": normalized_boxes(torch.from_numpy(sample["boxes"]), sample["image"].shape[:2]),
                    "class_labels": torch.from_numpy(sample["labels"]),
                }
                for sample in samples
            ],
        }


@dataclass(frozen=True)
class InstanceCollator:
    """Batches of `FittedInstances`: `pixel_values` (B, 3, H, W) and `labels`, a dict of `boxes` (n, 4), `keypoints`
    (n, K, 2), `keypoint_weights` (n, K) and `areas` (n,) each.

    Args:
        image_processor: of the model; it normalizes the pixels.
    """

    image_processor: Any

    def __call__(self, samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Any]:
        names = ("boxes", "keypoints", "keypoint_weights", "areas")
        return {
            "pixel_values": self.image_processor.normalize_pixels(np.stack([sample["image"] for sample in samples])),
            "labels": [{name: torch.from_numpy(sample[name]) for name in names} for sample in samples],
        }
