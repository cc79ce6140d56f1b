from hfpose.models.shared.letterbox import LetterboxImageProcessor


class YOLOXPoseImageProcessor(LetterboxImageProcessor):
    """Images for [`YOLOXPoseForPoseEstimation`] and instances from its outputs, see [`LetterboxImageProcessor`]."""

    score_threshold: float = 0.01
