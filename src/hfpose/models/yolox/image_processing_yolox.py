from typing import Any

import torch
from torch import Tensor

from hfpose.models.shared.detection import DetectionImageProcessor


class YOLOXImageProcessor(DetectionImageProcessor):
    """Images for [`YOLOXForObjectDetection`] and boxes from its outputs, see [`DetectionImageProcessor`].

    The network takes pixels as they are, from 0 to 255. Each anchor point gives at most one box, of its best class,
    and boxes may reach beyond the image, as in the reference.
    """

    do_rescale: bool = False
    do_normalize: bool = False
    score_threshold: float = 0.01
    nms_threshold: float | None = 0.65
    max_candidates: int | None = None
    max_detections: int | None = None
    clip_boxes: bool = False

    def _scores(self, outputs: Any) -> Tensor:
        """Probability (B, P, C) of an object of the best class at each anchor point; 0 for all other classes."""
        best, labels = outputs.logits.float().sigmoid().max(dim=-1, keepdim=True)
        scores = best * outputs.objectness.float().sigmoid()[..., None]
        return torch.zeros_like(outputs.logits, dtype=scores.dtype).scatter_(-1, labels, scores)
