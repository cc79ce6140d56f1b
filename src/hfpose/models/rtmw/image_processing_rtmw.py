"""RTMW image processor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from transformers.utils import ModelOutput

from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor
from hfpose.models.shared.simcc import decode_simcc


class RTMWImageProcessor(RTMPoseImageProcessor):
    """Crops for [`RTMWForPoseEstimation`], and keypoints from its SimCC outputs.

    Args:
        decode_visibility: tell how likely each keypoint is to be visible, from how narrow its distributions are.
        visibility_beta: factor on the outputs before the softmax that makes distributions of them.
        simcc_sigma: standard deviations, in bins along x and y, of the targets in training.
        kwargs: see [`RTMPoseImageProcessor`].
    """

    decode_visibility: bool = False
    visibility_beta: float = 150.0
    simcc_sigma: Sequence[float] = (4.9, 5.66)

    def instance_fields(self, outputs: ModelOutput) -> dict[str, np.ndarray]:
        """`keypoints_visible` (N, K) from 0 to 1, where the model tells it.

        Source: `mmpose.codecs.SimCCLabel.decode`.
        """
        if not self.decode_visibility:
            return {}
        x, y = (
            (outputs[name].float() * self.visibility_beta * sigma).softmax(-1)
            for name, sigma in zip(("simcc_x", "simcc_y"), self.simcc_sigma, strict=False)
        )
        _, visibility = decode_simcc(x, y, self.simcc_split_ratio)
        return {"keypoints_visible": visibility.cpu().numpy()}
