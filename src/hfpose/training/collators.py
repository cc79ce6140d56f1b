"""From samples to batches that the models take, labels included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfpose.models.shared.coco_labels import normalized_boxes

Samples = Sequence[Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Collator:
    """Batches of samples: `pixel_values` (B, 3, H, W), normalized by the model's image processor, and what `labels`
    makes."""

    image_processor: Any

    def __call__(self, samples: Samples) -> dict[str, Any]:
        images = np.stack([sample["image"] for sample in samples])
        return {"pixel_values": self.image_processor.normalize_pixels(images), **self.labels(samples)}

    def labels(self, samples: Samples) -> dict[str, Any]:
        """The targets of the samples."""
        raise NotImplementedError


class PoseCollator(Collator):
    """Batches of `PersonCrops`, with `labels` (B, K, 2) and `keypoint_weights` (B, K)."""

    def labels(self, samples: Samples) -> dict[str, Any]:
        names = {"labels": "keypoints", "keypoint_weights": "weights"}
        return {key: torch.from_numpy(np.stack([one[name] for one in samples])) for key, name in names.items()}


class DetectionCollator(Collator):
    """Batches of `FittedImages`, with `labels` as transformers' object detection has them."""

    def labels(self, samples: Samples) -> dict[str, Any]:
        return {
            "labels": [
                {
                    "boxes": normalized_boxes(torch.from_numpy(sample["boxes"]), sample["image"].shape[:2]),
                    "class_labels": torch.from_numpy(sample["labels"]),
                }
                for sample in samples
            ]
        }


class InstanceCollator(Collator):
    """Batches of `FittedInstances`, with `labels`, a dict of `boxes` (n, 4), `keypoints` (n, K, 2),
    `keypoint_weights` (n, K) and `areas` (n,) each.
    """

    def labels(self, samples: Samples) -> dict[str, Any]:
        names = ("boxes", "keypoints", "keypoint_weights", "areas")
        return {"labels": [{name: torch.from_numpy(sample[name]) for name in names} for sample in samples]}
