"""YOLOX-Pose image processor."""

from __future__ import annotations

from typing import Any

from hfpose.models.shared.letterbox import LetterboxImageProcessor


class YOLOXPoseImageProcessor(LetterboxImageProcessor):
    """Images for [`YOLOXPoseForPoseEstimation`] and instances from its outputs, see [`LetterboxImageProcessor`]."""

    def __init__(self, score_threshold: float = 0.01, **kwargs: Any) -> None:
        super().__init__(score_threshold=score_threshold, **kwargs)
