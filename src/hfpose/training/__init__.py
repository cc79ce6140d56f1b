"""Training: data sets, augmentation and metrics for transformers' `Trainer`, and fine-tuning."""

from hfpose.training.augmentation import DetectionAugmentation, PoseAugmentation
from hfpose.training.rows import DetectionRows, PoseRowCollator, PoseRows, collate_detections
from hfpose.training.trainer_metrics import detection_metrics, pose_metrics

__all__ = [
    "DetectionAugmentation", "DetectionRows", "PoseAugmentation", "PoseRowCollator", "PoseRows", "collate_detections",
    "detection_metrics", "pose_metrics",
]  # fmt: skip
