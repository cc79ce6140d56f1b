"""hfpose: pose estimation the Hugging Face way.

    from hfpose import pipeline

    pipe = pipeline("pose-estimation", model="human")
    people = pipe("photo.jpg")

Importing the package makes its models known to transformers; it downloads, writes and opens nothing.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfpose.models.auto import ALL_FAMILIES as _FAMILIES
from hfpose.models.auto import TRANSFORMERS_TYPES as _TRANSFORMERS_TYPES
from hfpose.ops.garbage import without_garbage_collection as _without_garbage_collection
from hfpose.version import __version__ as __version__

if TYPE_CHECKING:
    from hfpose.checkpoints.convert_checkpoint import convert_checkpoint as convert_checkpoint
    from hfpose.errors import HFPoseError as HFPoseError
    from hfpose.errors import InputError as InputError
    from hfpose.keypoints import KeypointSchema as KeypointSchema
    from hfpose.keypoints import load_schema as load_schema
    from hfpose.models.sapiens2.image_processing_sapiens2 import Sapiens2ImageProcessor as Sapiens2ImageProcessor
    from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor as ViTPoseImageProcessor
    from hfpose.pipelines import HandPose3DPipeline as HandPose3DPipeline
    from hfpose.pipelines import PoseEstimation3DPipeline as PoseEstimation3DPipeline
    from hfpose.pipelines import PoseEstimationPipeline as PoseEstimationPipeline
    from hfpose.pipelines import PosePipeline as PosePipeline
    from hfpose.pipelines import WholeBody3DPipeline as WholeBody3DPipeline
    from hfpose.pipelines import pipeline as pipeline
    from hfpose.results import PoseOutput as PoseOutput

_MODULES = {
    "pipeline": "hfpose.pipelines",
    "PoseEstimationPipeline": "hfpose.pipelines",
    "PosePipeline": "hfpose.pipelines",
    "PoseEstimation3DPipeline": "hfpose.pipelines",
    "HandPose3DPipeline": "hfpose.pipelines",
    "WholeBody3DPipeline": "hfpose.pipelines",
    "PoseOutput": "hfpose.results",
    "HFPoseError": "hfpose.errors",
    "InputError": "hfpose.errors",
    "KeypointSchema": "hfpose.keypoints",
    "load_schema": "hfpose.keypoints",
    "convert_checkpoint": "hfpose.checkpoints.convert_checkpoint",
    **{name: f"hfpose.models.{kind}.image_processing_{kind}" for kind, name in _TRANSFORMERS_TYPES.items()},
    **{name: family.module(kind) for family in _FAMILIES for kind, name in family.classes.items()},
}
__all__ = sorted([*_MODULES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'hfpose' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


@cache
@_without_garbage_collection()  # which takes a sixth of the time of imports
def register() -> None:
    """Register models, image processors, cards and the task "pose-estimation" with transformers, and what converts
    checkpoints with the hub, at the first call.

    `import hfpose` calls it, except in the command `hfpose`, which does so when it knows what to do: its help needs no
    torch.
    """
    importlib.import_module("hfpose.checkpoints.cached")
    from hfpose.hub.push_mixin import register_trainer_cards
    from hfpose.models.auto import register_models
    from hfpose.pipelines.transformers_task import register_task

    register_models()
    register_task()
    register_trainer_cards()


_is_command = [Path(name).stem for name in sys.argv[:1]] == ["hfpose"] or sys.orig_argv[1:3] == ["-m", "hfpose"]
if not _is_command:
    register()
