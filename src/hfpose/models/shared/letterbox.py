"""Image processor of the one-stage estimators that take whole images fitted into a fixed size: RTMO and YOLOX-Pose.

Source: `mmpose.datasets.transforms.BottomupResize`, `mmpose.models.heads.YOLOXPoseHead.predict`,
`mmpose.models.pose_estimators.BottomupPoseEstimator`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hfpose.models.shared.one_stage import ImageOutputs, ImageSize, Instances, OneStageProcessing
from hfpose.models.shared.pixels import ChannelOrder, WholeImageProcessor
from hfpose.models.shared.top_down import crop_matrices
from hfpose.ops.affine import warp_affine
from hfpose.ops.boxes import nms


class LetterboxImageProcessor(OneStageProcessing, WholeImageProcessor):
    """Fits images into the middle of the network input, and turns outputs into instances in pixels of the images.

    The network takes pixels as they are, from 0 to 255, unless `do_rescale` or `do_normalize` say otherwise.

    Args:
        pad_value: value of the padding around the image from 0 to 255, in every channel.
        score_threshold: minimum score of an instance where the caller asks for none.
        nms_threshold: IoU of boxes above which the worse of two instances goes where the caller asks for none.
        max_candidates: best candidates that enter the suppression, None for all.
    """

    decoded_outputs = ("logits", "objectness", "pred_boxes", "pred_keypoints", "keypoint_logits")

    pad_value: int = 114
    channel_order: ChannelOrder = "bgr"
    do_rescale: bool = False
    do_normalize: bool = False
    score_threshold: float = 0.1
    nms_threshold: float = 0.65
    max_candidates: int | None = None

    def pixel_values(self, images: Sequence[np.ndarray], memory_format: torch.memory_format) -> Tensor:
        import cv2

        height, width = self.size["height"], self.size["width"]
        batch = np.empty((len(images), height, width, 3), dtype=np.uint8)
        fill = (self.pad_value,) * 3
        for image, fitted in zip(images, batch, strict=True):
            matrix = self.fit_matrix(*image.shape[:2])
            warp_affine(image, matrix, (width, height), dst=fitted, flags=cv2.INTER_LINEAR, borderValue=fill)
        return self.normalize_pixels(batch, memory_format)

    def fit_matrix(self, height: int, width: int) -> np.ndarray:
        center, region = self._region(height, width)
        return crop_matrices(center[None], region[None], (self.size["width"], self.size["height"]), use_udp=False)[0]

    def _region(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Center (2,) and size (2,) of what the network input shows, in pixels of the image."""
        input_width, input_height = self.size["width"], self.size["height"]
        factor = max(width / input_width, height / input_height)
        region = np.array([input_width * factor, input_height * factor], dtype=np.float32)
        return np.array([width / 2, height / 2], dtype=np.float32), region

    def image_instances(
        self, outputs: ImageOutputs, target_size: ImageSize, threshold: float | None, nms_threshold: float | None
    ) -> Instances:
        """See [`OneStageProcessing`]. Boxes end at the borders of the network input.

        Scores are those of `logits` (N,), times those of `objectness` (N,) where a model has it; `pred_boxes` (N, 4),
        `pred_keypoints` (N, K, 2) and `keypoint_logits` (N, K) are taken as they are.
        """
        least = self.score_threshold if threshold is None else threshold
        iou_threshold = self.nms_threshold if nms_threshold is None else nms_threshold
        probabilities = outputs["logits"].float().sigmoid()
        if "objectness" in outputs:
            probabilities = probabilities * outputs["objectness"].float().sigmoid()
        scores = probabilities.cpu().numpy()
        candidates = np.flatnonzero(scores > least)
        if self.max_candidates is not None and len(candidates) > self.max_candidates:
            candidates = candidates[np.argsort(-scores[candidates], kind="stable")[: self.max_candidates]]
        boxes = _rows(outputs["pred_boxes"], candidates)
        kept = nms(boxes, scores[candidates], iou_threshold)
        anchors, corners = candidates[kept], boxes[kept].reshape(-1, 2, 2)
        return Instances(
            self._on_image(corners.clip(0, [self.size["width"], self.size["height"]]), *target_size).reshape(-1, 4),
            scores[anchors],
            self._on_image(_rows(outputs["pred_keypoints"], anchors), *target_size),
            _rows(outputs["keypoint_logits"].sigmoid(), anchors),
        )

    def _on_image(self, points: np.ndarray, height: int, width: int) -> np.ndarray:
        """Points (N, M, 2) in pixels of the network input as pixels of the image."""
        center, region = self._region(height, width)
        size = np.array([self.size["width"], self.size["height"]], dtype=np.float32)
        return (points / size * region + center - np.float32(0.5) * region).astype(np.float32)


def _rows(values: Tensor, indices: np.ndarray) -> np.ndarray:
    """Rows (N, ...) of values, float32."""
    return values[torch.from_numpy(indices).to(values.device)].float().cpu().numpy()
