import numpy as np

from hfpose.models.shared.bottom_up import BottomUpImageProcessor
from hfpose.models.shared.one_stage import ImageOutputs, ImageSize, Instances
from hfpose.ops.pose_nms import unlike_poses


class DEKRImageProcessor(BottomUpImageProcessor):
    """Images for [`DEKRForPoseEstimation`] and people from its outputs, see [`BottomUpImageProcessor`].

    Args:
        center_threshold: least response of a center.
        nms_threshold: two keypoints are close when their distance is less than this share of the diagonal of a pose.
            Poses most of whose keypoints are close suppress each other. 0 for no suppression.
    """

    decoded_outputs = ("pred_keypoints", "keypoint_scores", "center_scores", "pose_scores")

    center_threshold: float = 0.01
    nms_threshold: float = 0.05

    def image_instances(
        self, outputs: ImageOutputs, target_size: ImageSize, threshold: float | None, nms_threshold: float | None
    ) -> Instances:
        """See `OneStageProcessing.instances`; for the meaning of `nms_threshold` see the processor's own."""
        closeness = self.nms_threshold if nms_threshold is None else nms_threshold
        keypoints, keypoint_scores, center_scores, pose_scores = (
            outputs[name].float().cpu().numpy() for name in self.decoded_outputs
        )
        kept = np.flatnonzero(center_scores > self.center_threshold)
        if closeness > 0:
            poses = keypoints[kept]
            unlike = unlike_poses(poses, keypoint_scores[kept].mean(1), closeness, poses.shape[1] // 2)
            kept = kept[unlike[: self.max_instances]]
        scores = (center_scores[kept] * pose_scores[kept])[:, None] * keypoint_scores[kept]
        return self.best_instances(keypoints[kept], scores, scores.mean(1), target_size, threshold)
