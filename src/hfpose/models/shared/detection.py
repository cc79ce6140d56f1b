"""Image processor that the box detectors share.

Source: `mmdet.datasets.transforms.Resize` and `Pad`, `mmdet.models.dense_heads.BaseDenseHead`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers.image_processing_base import BatchFeature
from transformers.utils import ModelOutput

from hfpose.errors import InputError
from hfpose.models.shared.coco_labels import normalized_boxes, object_boxes, object_classes
from hfpose.models.shared.pixels import ChannelOrder, WholeImageProcessor, check_target_sizes, detached
from hfpose.models.shared.settings import Count
from hfpose.ops.boxes import nms


@dataclass
class ObjectDetectionOutput(ModelOutput):
    """Output of a detector. P counts the anchor points of all levels, level by level, row by row.

    Args:
        loss: scalar, where `labels` were given.
        logits: (B, P, num_labels) score of each class before the sigmoid.
        pred_boxes: (B, P, 4) x1, y1, x2, y2 in pixels of `pixel_values`; they may reach beyond its borders.
        hidden_states: outputs of the neck, where asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    pred_boxes: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class Detections(NamedTuple):
    """Boxes (N, 4) x1, y1, x2, y2, their scores (N,) and classes (N,), best first."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


class DetectionImageProcessor(WholeImageProcessor):
    """Resizes images to the size of the network, pads the rest, and turns outputs into boxes.

    Args:
        keep_aspect_ratio: resize by one factor and pad at the right and bottom, else stretch.
        pad_value: value of the padding from 0 to 255, in every channel.
        score_threshold: boxes below it are never returned, whatever the caller asks for.
        nms_threshold: IoU above which the worse of two boxes of one class goes; None for no suppression.
        nms_across_classes: whether the worse of two boxes of different classes goes, too.
        max_candidates: best candidates per feature level that enter the suppression, None for all.
        max_detections: best boxes per image that are returned, None for all.
        clip_boxes: whether boxes end at the borders of the network input.
        min_box_size: boxes that are not wider and higher than this many pixels of the image are never returned.
        strides: strides of the feature levels in the order of the outputs.
    """

    keep_aspect_ratio: bool = True
    pad_value: int = 114
    channel_order: ChannelOrder = "bgr"
    score_threshold: float = 0.05
    nms_threshold: float | None = 0.6
    nms_across_classes: bool = False
    max_candidates: int | None = 1000
    max_detections: int | None = 100
    clip_boxes: bool = True
    min_box_size: float = 0
    strides: Sequence[Count] = (8, 16, 32)

    def pixel_values(self, images: Sequence[np.ndarray], memory_format: torch.memory_format) -> Tensor:
        import cv2

        batch = np.empty((len(images), self.size["height"], self.size["width"], 3), dtype=np.uint8)
        for image, fitted in zip(images, batch, strict=True):
            height, width = self._fitted_size(*image.shape[:2])
            fitted[height:] = self.pad_value
            fitted[:height, width:] = self.pad_value
            cv2.resize(image, (width, height), dst=fitted[:height, :width], interpolation=cv2.INTER_LINEAR)
        return self.normalize_pixels(batch, memory_format)

    def labels(self, image: np.ndarray, objects: Sequence[Mapping[str, Any]]) -> BatchFeature:
        """`class_labels` (n,), the category ids, and `boxes` (n, 4), see `normalized_boxes`."""
        factors = np.tile(self.scale_factors(*image.shape[:2]), 2)
        boxes = torch.from_numpy(object_boxes(objects) * factors)
        classes = torch.from_numpy(object_classes(objects))
        size = self.size["height"], self.size["width"]
        return BatchFeature({"class_labels": classes, "boxes": normalized_boxes(boxes, size).clamp(0, 1)})

    def post_process_object_detection(
        self,
        outputs: Any,
        threshold: float | None = None,
        target_sizes: Tensor | Sequence[tuple[int, int]] | None = None,
        nms_threshold: float | None = None,
    ) -> list[dict[str, Tensor]]:
        """Boxes of each image, best first.

        Args:
            threshold: minimum score; None and anything below it mean `score_threshold`.
            target_sizes: (height, width) of each original image; None leaves boxes in pixels of the network input.
            nms_threshold: replaces the processor's own.

        Returns:
            One dict an image: `scores` (N,), `labels` (N,), `boxes` (N, 4) x1, y1, x2, y2.

        Raises:
            InputError: unless there is one target size for each image.
        """
        detections = self.detections(outputs, threshold, target_sizes, nms_threshold)
        return [{name: torch.from_numpy(array) for name, array in found._asdict().items()} for found in detections]

    def detections(
        self,
        outputs: Any,
        threshold: float | None = None,
        target_sizes: Tensor | Sequence[tuple[int, int]] | None = None,
        nms_threshold: float | None = None,
    ) -> list[Detections]:
        """What `post_process_object_detection` returns, as arrays, see `Detections`."""
        outputs = detached(outputs)
        least = max(threshold or 0.0, self.score_threshold)
        iou_threshold = self.nms_threshold if nms_threshold is None else nms_threshold
        all_scores, all_boxes = self._scores(outputs).cpu().numpy(), outputs.pred_boxes.float().cpu().numpy()
        if target_sizes is not None:
            check_target_sizes(target_sizes, len(all_boxes))
        limits = np.array([self.size["width"], self.size["height"]] * 2, dtype=np.float32)
        results = []
        for index in range(len(all_boxes)):
            anchors, labels = self._candidates(all_scores[index], least)
            scores, boxes = all_scores[index, anchors, labels], all_boxes[index, anchors]
            if self.clip_boxes:
                boxes = np.minimum(np.maximum(boxes, 0), limits)
            if target_sizes is not None:
                height, width = (int(side) for side in target_sizes[index])
                boxes = (boxes.reshape(-1, 2, 2) / self.scale_factors(height, width)).reshape(-1, 4)
            solid = (boxes[:, 2:] - boxes[:, :2] > self.min_box_size).all(-1)
            scores, labels, boxes = scores[solid], labels[solid], boxes[solid]
            if iou_threshold is None:
                keep = np.argsort(-scores, kind="stable")[: self.max_detections]
            else:
                groups = None if self.nms_across_classes else labels
                keep = nms(boxes, scores, iou_threshold, groups, self.max_detections)
            results.append(Detections(boxes[keep], scores[keep], labels[keep]))
        return results

    def _scores(self, outputs: Any) -> Tensor:
        """Probability (B, P, C) of each class at each anchor point."""
        return outputs.logits.float().sigmoid()

    def _candidates(self, scores: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Places and classes, each (M,), of the scores (P, C) above `threshold`, the best of each level alone."""
        anchors, labels = np.nonzero(scores > threshold)
        if self.max_candidates is None or len(anchors) <= self.max_candidates:
            return anchors, labels
        picked = []
        for start, end in self._level_ranges(len(scores)):
            inside = np.flatnonzero((anchors >= start) & (anchors < end))
            order = np.argsort(-scores[anchors[inside], labels[inside]], kind="stable")
            picked.append(inside[order[: self.max_candidates]])
        chosen = np.concatenate(picked)
        return anchors[chosen], labels[chosen]

    def _level_ranges(self, num_boxes: int) -> list[tuple[int, int]]:
        """First anchor point and end of each feature level in the flattened outputs.

        Raises:
            InputError: for outputs of a network input of another size.
        """
        ends = np.cumsum(self._boxes_per_level()).tolist()
        if ends[-1] != num_boxes:
            raise InputError(
                f"The outputs have {num_boxes} boxes, but for images of {self.size['width']}x"
                f"{self.size['height']} pixels there are {ends[-1]}. Give the outputs for `pixel_values` of this "
                "processor."
            )
        return list(zip([0, *ends], ends, strict=False))

    def _boxes_per_level(self) -> list[int]:
        """Number of boxes that the model returns for each feature level."""
        return [-(-self.size["height"] // stride) * -(-self.size["width"] // stride) for stride in self.strides]

    def _fitted_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of an image after the resize and before the padding."""
        if not self.keep_aspect_ratio:
            return self.size["height"], self.size["width"]
        factor = min(self.size["height"] / height, self.size["width"] / width)
        return max(int(height * factor + 0.5), 1), max(int(width * factor + 0.5), 1)

    def scale_factors(self, height: int, width: int) -> np.ndarray:
        """Factors (2,) for x and y from pixels of the image to pixels of the network input."""
        fitted_height, fitted_width = self._fitted_size(height, width)
        return np.array([fitted_width / width, fitted_height / height], dtype=np.float32)
