"""MMPose's inference API over hfpose's pipelines: change the import line, keep the rest.

    from hfpose.compat.mmpose import MMPoseInferencer

    inferencer = MMPoseInferencer("human")
    result = next(inferencer("photo.jpg", out_dir="output"))

Names, arguments and results are those of MMPose 1.3.2 (`mmpose.apis`, and what its inference guide uses of
`mmpose.structures`, `mmpose.registry` and `mmcv`). Where it differs on purpose is said in docs/mmpose.md.

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hfpose.compat.mmpose.aliases import get_model_aliases as get_model_aliases
    from hfpose.compat.mmpose.inference import convert_keypoint_definition as convert_keypoint_definition
    from hfpose.compat.mmpose.inference import inference_bottomup as inference_bottomup
    from hfpose.compat.mmpose.inference import inference_pose_lifter_model as inference_pose_lifter_model
    from hfpose.compat.mmpose.inference import inference_topdown as inference_topdown
    from hfpose.compat.mmpose.inference import init_model as init_model
    from hfpose.compat.mmpose.inferencers import Hand3DInferencer as Hand3DInferencer
    from hfpose.compat.mmpose.inferencers import MMPoseInferencer as MMPoseInferencer
    from hfpose.compat.mmpose.inferencers import Pose2DInferencer as Pose2DInferencer
    from hfpose.compat.mmpose.inferencers import Pose3DInferencer as Pose3DInferencer
    from hfpose.compat.mmpose.structures import InstanceData as InstanceData
    from hfpose.compat.mmpose.structures import PixelData as PixelData
    from hfpose.compat.mmpose.structures import PoseDataSample as PoseDataSample
    from hfpose.compat.mmpose.structures import merge_data_samples as merge_data_samples
    from hfpose.compat.mmpose.visualizers import VISUALIZERS as VISUALIZERS
    from hfpose.compat.mmpose.visualizers import PoseLocalVisualizer as PoseLocalVisualizer
    from hfpose.compat.mmpose.visualizers import imread as imread
    from hfpose.compat.mmpose.visualizers import visualize as visualize

_PLACES = {
    "convert_keypoint_definition": "inference",
    "get_model_aliases": "aliases",
    "inference_bottomup": "inference",
    "inference_pose_lifter_model": "inference",
    "inference_topdown": "inference",
    "init_model": "inference",
    "Hand3DInferencer": "inferencers",
    "MMPoseInferencer": "inferencers",
    "Pose2DInferencer": "inferencers",
    "Pose3DInferencer": "inferencers",
    "InstanceData": "structures",
    "PixelData": "structures",
    "PoseDataSample": "structures",
    "merge_data_samples": "structures",
    "PoseLocalVisualizer": "visualizers",
    "VISUALIZERS": "visualizers",
    "imread": "visualizers",
    "visualize": "visualizers",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hfpose.compat.mmpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hfpose.compat.mmpose.{_PLACES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
