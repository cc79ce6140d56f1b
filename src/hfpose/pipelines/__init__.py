"""Pipelines: from pictures to keypoints, by way of a detector, a 2D estimator and, for 3D, a lifter."""

from hfpose.pipelines.factory import pipeline
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline

__all__ = ["PoseEstimationPipeline", "pipeline"]
