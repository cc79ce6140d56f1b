from hfpose.models.shared.detection import DetectionImageProcessor


class RTMDetImageProcessor(DetectionImageProcessor):
    """Images for [`RTMDetForObjectDetection`] and boxes from its outputs, see [`DetectionImageProcessor`]."""
