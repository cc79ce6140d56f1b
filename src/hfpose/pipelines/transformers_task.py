"""What `transformers.pipeline("pose-estimation", ...)` gives once hfpose is imported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForPoseEstimation, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY

from hfpose.errors import ConfigError
from hfpose.models.shared.devices import default_device
from hfpose.pipelines.factory import DIRECT_3D, detector_for
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.pipelines.stage import load_stage

TASK = "pose-estimation"


class TransformersPosePipeline(PoseEstimationPipeline):
    """The 2D pipeline as transformers makes it: around a model that is loaded already, with options for all calls.

    As in other pipelines of transformers a list gives a list; streams and data sets are read lazily.

    Args:
        model: pose model.
        task: `"pose-estimation"`.
        image_processor: replaces the one that lies beside the model.
        detector, detector_labels, detector_weights: as for `hfpose.pipeline`. Default: the detector that goes with the
            model's keypoints.
        device: where the models go: a name, or the number of an accelerator, -1 for the CPU. Default: the accelerator
            if there is one, or where `device_map` has put the model.
        dtype: what transformers has loaded the model with; the detector takes the same.
        options: of calls, such as `batch_size` and `num_workers`; a call may give others.

    Raises:
        ConfigError: for a model of 3D hands.
    """

    # What transformers loads before; for the image processor None means "if it can".
    _load_processor = False
    _load_image_processor = None
    _load_video_processor = False
    _load_feature_extractor = False
    _load_tokenizer = False

    def __init__(
        self,
        model: PreTrainedModel,
        task: str = TASK,
        image_processor: Any = None,
        detector: str | Path | PreTrainedModel | None = None,
        detector_labels: Iterable[int | str] | None = None,
        detector_weights: str | Path | None = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
        **options: Any,
    ) -> None:
        if model.config.model_type in DIRECT_3D:
            raise ConfigError(
                "transformers.pipeline gives 2D poses, and this model finds 3D keypoints: use "
                'hfpose.pipeline("pose-estimation-3d", model=...).'
            )
        placed = getattr(model, "hf_device_map", None)
        target = model.device if placed else _device(device)
        stage = load_stage(model, "pose", _ours(image_processor), device=None if placed else target)
        found, labels = detector_for(stage, detector, detector_labels, detector_weights, target, model.dtype)
        super().__init__(stage, detector=found, detector_labels=labels)
        self.task = task
        self.options = {name: value for name, value in options.items() if value is not None}

    @property
    def model(self) -> PreTrainedModel:
        return self.estimator.stage.model

    @property
    def image_processor(self) -> Any:
        return self.estimator.stage.image_processor

    @property
    def dtype(self) -> torch.dtype:
        return self.model.dtype

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """See `PoseEstimationPipeline.__call__`; a list of inputs gives a list of results."""
        given = {name: value for name, value in options.items() if value is not None}
        return super().__call__(inputs, **{**self.options, **given})


def register_task() -> None:
    """Make `TransformersPosePipeline` what transformers' `pipeline` gives for the task."""
    PIPELINE_REGISTRY.register_pipeline(
        TASK, TransformersPosePipeline, pt_model=AutoModelForPoseEstimation, type="image"
    )


def _ours(image_processor: Any) -> Any:
    """Our image processor with the settings of transformers' own one for ViTPose; any other as it is."""
    if type(image_processor).__name__.startswith("VitPoseImageProcessor"):
        from hfpose.models.vitpose.image_processing_vitpose import ViTPoseImageProcessor

        return ViTPoseImageProcessor.from_dict(image_processor.to_dict())
    return image_processor


def _device(device: torch.device | str | int | None) -> torch.device:
    """The device that transformers means by a name or a number."""
    if device is None:
        return default_device()
    if not isinstance(device, int):
        return torch.device(device)
    best = default_device()
    return torch.device("cpu") if device < 0 or best.type == "cpu" else torch.device(best.type, device)
