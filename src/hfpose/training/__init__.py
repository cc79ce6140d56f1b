"""Training: data sets, augmentation and metrics for transformers' `Trainer`, and fine-tuning."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfpose.training.rows import DetectionRows as DetectionRows
    from hfpose.training.rows import PoseRowCollator as PoseRowCollator
    from hfpose.training.rows import PoseRows as PoseRows
    from hfpose.training.rows import collate_detections as collate_detections
    from hfpose.training.trainer_metrics import detection_metrics as detection_metrics
    from hfpose.training.trainer_metrics import pose_metrics as pose_metrics

_MODULES = {
    **dict.fromkeys(("PoseRows", "DetectionRows", "PoseRowCollator", "collate_detections"), "hfpose.training.rows"),
    **dict.fromkeys(("pose_metrics", "detection_metrics"), "hfpose.training.trainer_metrics"),
}
__all__ = sorted(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hfpose.training' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
