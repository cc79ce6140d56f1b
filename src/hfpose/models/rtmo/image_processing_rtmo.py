from hfpose.models.shared.letterbox import LetterboxImageProcessor


class RTMOImageProcessor(LetterboxImageProcessor):
    """Images for [`RTMOForPoseEstimation`] and instances from its outputs, see [`LetterboxImageProcessor`]."""
