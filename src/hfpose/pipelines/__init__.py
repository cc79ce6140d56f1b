"""Pipelines: from images to keypoints, by way of a detector, a 2D estimator and, for 3D, a lifter."""

from hfpose.pipelines.base_pipeline import PosePipeline
from hfpose.pipelines.factory import pipeline
from hfpose.pipelines.hand_pose_3d import HandPose3DPipeline
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.pipelines.pose_estimation_3d import PoseEstimation3DPipeline
from hfpose.pipelines.whole_body_3d import WholeBody3DPipeline

__all__ = [
    "HandPose3DPipeline",
    "PoseEstimation3DPipeline",
    "PoseEstimationPipeline",
    "PosePipeline",
    "WholeBody3DPipeline",
    "pipeline",
]
