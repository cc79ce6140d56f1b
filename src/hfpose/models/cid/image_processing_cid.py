import numpy as np

from hfpose.models.shared.bottom_up import BottomUpImageProcessor, smooth_maps
from hfpose.models.shared.heatmaps import decode_heatmaps
from hfpose.models.shared.one_stage import ImageOutputs, ImageSize, Instances
from hfpose.models.shared.settings import Count, Odd


class CIDImageProcessor(BottomUpImageProcessor):
    """Images for [`CIDForPoseEstimation`] and people from its outputs, see [`BottomUpImageProcessor`].

    Args:
        center_threshold: minimum score of a center.
        smoothing_kernel_size: cells over which the heatmaps of the instances are smoothed.
        stride: pixels of the network input along a cell of the heatmaps.
    """

    decoded_outputs = ("heatmaps", "center_scores")

    center_threshold: float = 0.01
    smoothing_kernel_size: Odd = 3
    stride: Count = 4

    def image_instances(
        self, outputs: ImageOutputs, target_size: ImageSize, threshold: float | None, nms_threshold: float | None
    ) -> Instances:
        """See `OneStageProcessing.instances`."""
        center_scores = outputs["center_scores"].float()
        is_center = center_scores > self.center_threshold
        cells, scores = decode_heatmaps(
            smooth_maps(outputs["heatmaps"][is_center].float(), self.smoothing_kernel_size)
        )
        keypoints = (cells.numpy() + np.float32(0.5)) * np.float32(self.stride)
        keypoint_scores = (scores * center_scores[is_center, None].cpu()).numpy()
        return self.best_instances(keypoints, keypoint_scores, keypoint_scores.mean(1), target_size, threshold)
