"""hfpose: pose estimation the Hugging Face way.

    from hfpose import pipeline

    pipe = pipeline("pose-estimation", model="human")
    people = pipe("photo.jpg")

Public names are imported when they are first used; importing the package downloads, writes and opens nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from hfpose.models import auto as _auto

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hfpose.checkpoints.conversion import convert_checkpoint as convert_checkpoint
    from hfpose.keypoints import KeypointSchema as KeypointSchema
    from hfpose.keypoints import load_schema as load_schema
    from hfpose.pipelines import HandPose3DPipeline as HandPose3DPipeline
    from hfpose.pipelines import PoseEstimation3DPipeline as PoseEstimation3DPipeline
    from hfpose.pipelines import PoseEstimationPipeline as PoseEstimationPipeline
    from hfpose.pipelines import PosePipeline as PosePipeline
    from hfpose.pipelines import WholeBody3DPipeline as WholeBody3DPipeline
    from hfpose.pipelines import pipeline as pipeline
    from hfpose.results import PoseOutput as PoseOutput

_PLACES = {
    "pipeline": "hfpose.pipelines",
    "PoseEstimationPipeline": "hfpose.pipelines",
    "PosePipeline": "hfpose.pipelines",
    "PoseEstimation3DPipeline": "hfpose.pipelines",
    "HandPose3DPipeline": "hfpose.pipelines",
    "WholeBody3DPipeline": "hfpose.pipelines",
    "PoseOutput": "hfpose.results",
    "KeypointSchema": "hfpose.keypoints",
    "load_schema": "hfpose.keypoints",
    "convert_checkpoint": "hfpose.checkpoints.conversion",
    **{name: family.module(kind) for family in _auto.FAMILIES for kind, name in family.classes.items()},
    **{name: family.module(kind) for family in _auto.OUR_BACKBONES for kind, name in family.classes.items()},
}
__all__ = sorted([*_PLACES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'hfpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_auto.register()
