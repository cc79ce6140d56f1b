"""The 3D pipeline for hands."""

from __future__ import annotations

import numpy as np

from hfpose.pipelines.direct_3d import Direct3DPipeline
from hfpose.pipelines.options import CallOptions3D
from hfpose.results import PoseOutput


class HandPose3DPipeline(Direct3DPipeline):
    """
    Finds pairs of hands in images and the place of their joints in space.

    Every image is taken as one box with a pair of hands in it, unless there is a detector or boxes are given.

    Args:
        See [`PosePipeline`]; `model` is an [`InterNetForHandPose`].

    Example:

    ```python
    >>> from hfpose import pipeline

    >>> pipe = pipeline("pose-estimation-3d", model="hand3d")
    >>> hands = pipe("hands.jpg")
    >>> hands.keypoints  # (N, 42, 3): pixels across the image, millimeters along depth; z up
    >>> hands.hand_types  # (N, 2): is there a right hand, is there a left one
    ```
    """

    def assemble(self, decoded: PoseOutput, options: CallOptions3D) -> dict[str, np.ndarray]:
        """Both hands of each pair in one space; joints of a hand that is not there have score 0."""
        assert decoded.hand_types is not None and decoded.root_depths is not None
        keypoints, scores = self.image_processor.assemble_hands(
            decoded.keypoints,
            decoded.keypoint_scores,
            decoded.hand_types,
            decoded.root_depths,
            options.axes,
            options.ground is not None,
        )
        return {"keypoints": keypoints, "keypoint_scores": scores}

    def space(self, options: CallOptions3D) -> tuple[str, str]:
        return options.axes or self.image_processor.axes, "pixels across the image, millimeters along depth"
