from hfpose.models.rtmpose.image_processing_rtmpose import RTMPoseImageProcessor


class RTMWImageProcessor(RTMPoseImageProcessor):
    """Crops for [`RTMWForPoseEstimation`] and keypoints from its SimCC outputs; see [`RTMPoseImageProcessor`]."""
