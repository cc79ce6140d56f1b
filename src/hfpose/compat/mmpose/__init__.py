"""MMPose's inference API over hfpose's pipelines: change the import line, keep the rest.

    from hfpose.compat.mmpose import MMPoseInferencer

    inferencer = MMPoseInferencer("human")
    result = next(inferencer("photo.jpg", out_dir="output"))

Names, arguments and results are those of MMPose 1.3.2 (`mmpose.apis`, and what its inference guide and its demos use
of `mmpose.structures`, `mmpose.evaluation`, `mmpose.utils`, `mmpose.registry`, `mmcv` and `mmdet.apis`). Where it
differs on purpose is said in docs/mmpose.md.

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfpose.compat.mmdet import DetInferencer as DetInferencer
    from hfpose.compat.mmdet import inference_detector as inference_detector
    from hfpose.compat.mmdet import init_detector as init_detector
    from hfpose.compat.mmpose.aliases import get_model_aliases as get_model_aliases
    from hfpose.compat.mmpose.bgr_images import imread as imread
    from hfpose.compat.mmpose.configs import adapt_mmdet_pipeline as adapt_mmdet_pipeline
    from hfpose.compat.mmpose.configs import register_all_modules as register_all_modules
    from hfpose.compat.mmpose.data_samples import nms as nms
    from hfpose.compat.mmpose.data_samples import split_instances as split_instances
    from hfpose.compat.mmpose.inference import inference_bottomup as inference_bottomup
    from hfpose.compat.mmpose.inference import inference_pose_lifter_model as inference_pose_lifter_model
    from hfpose.compat.mmpose.inference import inference_topdown as inference_topdown
    from hfpose.compat.mmpose.inference import init_model as init_model
    from hfpose.compat.mmpose.inferencers import Hand3DInferencer as Hand3DInferencer
    from hfpose.compat.mmpose.inferencers import MMPoseInferencer as MMPoseInferencer
    from hfpose.compat.mmpose.inferencers import Pose2DInferencer as Pose2DInferencer
    from hfpose.compat.mmpose.inferencers import Pose3DInferencer as Pose3DInferencer
    from hfpose.compat.mmpose.sequences import collate_pose_sequence as collate_pose_sequence
    from hfpose.compat.mmpose.sequences import collect_multi_frames as collect_multi_frames
    from hfpose.compat.mmpose.sequences import convert_keypoint_definition as convert_keypoint_definition
    from hfpose.compat.mmpose.sequences import extract_pose_sequence as extract_pose_sequence
    from hfpose.compat.mmpose.structures import InstanceData as InstanceData
    from hfpose.compat.mmpose.structures import PixelData as PixelData
    from hfpose.compat.mmpose.structures import PoseDataSample as PoseDataSample
    from hfpose.compat.mmpose.structures import merge_data_samples as merge_data_samples
    from hfpose.compat.mmpose.structures import revert_heatmap as revert_heatmap
    from hfpose.compat.mmpose.visualizers import VISUALIZERS as VISUALIZERS
    from hfpose.compat.mmpose.visualizers import PoseLocalVisualizer as PoseLocalVisualizer
    from hfpose.compat.mmpose.visualizers import visualize as visualize

_NAMES = {
    "mmdet": "DetInferencer inference_detector init_detector",
    "mmpose.aliases": "get_model_aliases",
    "mmpose.configs": "adapt_mmdet_pipeline register_all_modules",
    "mmpose.bgr_images": "imread",
    "mmpose.inference": "inference_bottomup inference_pose_lifter_model inference_topdown init_model",
    "mmpose.inferencers": "Hand3DInferencer MMPoseInferencer Pose2DInferencer Pose3DInferencer",
    "mmpose.data_samples": "nms split_instances",
    "mmpose.sequences": "collate_pose_sequence collect_multi_frames convert_keypoint_definition extract_pose_sequence",
    "mmpose.structures": "InstanceData PixelData PoseDataSample merge_data_samples revert_heatmap",
    "mmpose.visualizers": "PoseLocalVisualizer VISUALIZERS visualize",
}
_PLACES = {name: f"hfpose.compat.{module}" for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hfpose.compat.mmpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
