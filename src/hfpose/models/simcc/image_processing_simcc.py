from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor


class SimCCImageProcessor(RTMPoseImageProcessor):
    """Crops for [`SimCCForPoseEstimation`] and keypoints from its SimCC outputs; see [`RTMPoseImageProcessor`]."""
