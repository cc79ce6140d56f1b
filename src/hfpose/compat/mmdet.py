"""What MMPose's users take from `mmdet.apis`: a detector of its own, and boxes in an image.

Source: `mmdet.apis.inference` and `mmdet.apis.det_inferencer` of MMDetection 3.3.0; reimplemented over hfpose's
stages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hfpose.checkpoints.reference_config import reference_variables
from hfpose.compat.mmpose.bgr_images import rgb_image, rgb_inputs
from hfpose.compat.mmpose.configs import ConfigDict
from hfpose.compat.mmpose.loaded_models import LoadedModel, model_folder
from hfpose.compat.mmpose.structures import DataElement, InstanceData
from hfpose.errors import ConfigError, InputError
from hfpose.media.sources import open_source
from hfpose.models.shared.devices import default_device
from hfpose.pipelines.detection_stage import BoxDetector
from hfpose.pipelines.stage import Stage, load_stage

Image = str | Path | np.ndarray


class DetDataSample(DataElement):
    """What is known of an image: `pred_instances` with `bboxes` (N, 4), `scores` (N,) and `labels` (N,), tensors."""


class DetectionModel(LoadedModel):
    """A detector as `init_detector` returns it.

    Attributes:
        network, image_processor: see [`LoadedModel`].
        dataset_meta: `{"classes": names}`.
        cfg: its config, as far as it is known. Changes have no effect.
    """

    def __init__(self, stage: Stage, variables: Mapping[str, Any] | None = None) -> None:
        super().__init__(stage)
        self.dataset_meta = {"classes": tuple((stage.model.config.id2label or {}).values())}
        self.cfg = ConfigDict(variables)
        self.cfg.setdefault("default_scope", "mmdet")


def init_detector(
    config: str | Path,
    checkpoint: str | Path | None = None,
    palette: str = "none",
    device: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> DetectionModel:
    """Load a detector.

    Args:
        config: alias, config name, or path of a config file (parsed, never executed); also a hub repository or a
            folder.
        checkpoint: path or URL of its weights. Default: the published ones.
        palette: of MMDetection's drawings, which hfpose does not make.
        device: where it goes; default: the accelerator if there is one.
        cfg_options: must be empty: nothing of a detector's config can be changed here.

    Raises:
        UnknownModelError, ConfigError, CheckpointError, DownloadError: if there is no such model, or it cannot be
            loaded.
    """
    if cfg_options:
        raise ConfigError(f"cfg_options cannot change {', '.join(cfg_options)} of a detector. Change its config file.")
    folder = model_folder(str(config), checkpoint, "detector")
    stage = load_stage(folder, "detector", device=device or default_device())
    return DetectionModel(stage, reference_variables(config)).eval()


def inference_detector(
    model: DetectionModel, imgs: Image | Sequence[Image], test_pipeline: Any = None, text_prompt: str | None = None
) -> Any:
    """Find boxes.

    Args:
        model: from `init_detector`.
        imgs: path, URL or BGR array (H, W, 3), or several.
        test_pipeline, text_prompt: must be None: the model's own image processor prepares images, and there are no
            models that take a text.

    Returns:
        The data sample of the image, or a list of those of several: all boxes that the model's own thresholds leave,
        best first.

    Raises:
        InputError: for an image that cannot be used.
        ConfigError: for another model, or a pipeline or prompt.
    """
    if not isinstance(model, DetectionModel):
        raise ConfigError(f"Expected a model from init_detector, got {type(model).__name__}.")
    if test_pipeline is not None or text_prompt is not None:
        raise ConfigError("inference_detector takes no test_pipeline and no text_prompt here; leave them out.")
    if isinstance(imgs, (str, Path, np.ndarray)):
        return _sample(model, rgb_image(imgs))
    return [_sample(model, rgb_image(image)) for image in imgs]


def _sample(model: DetectionModel, image: np.ndarray) -> DetDataSample:
    (found,) = BoxDetector(model.stage).detections([image])
    height, width = image.shape[:2]
    instances = InstanceData(
        bboxes=torch.from_numpy(found.boxes),
        scores=torch.from_numpy(found.scores),
        labels=torch.from_numpy(found.labels),
    )
    return DetDataSample(metainfo={"ori_shape": (height, width)}, pred_instances=instances)


class DetInferencer:
    """Finds boxes in images.

    Args:
        model, weights, device, palette: see [`init_detector`]; also a model of its.
        scope: `"mmdet"`.
        show_progress: has no effect.
    """

    def __init__(
        self,
        model: str | Path | DetectionModel,
        weights: str | Path | None = None,
        device: str | None = None,
        scope: str | None = "mmdet",
        palette: str = "none",
        show_progress: bool = False,
    ) -> None:
        if scope not in (None, "mmdet", "mmpose"):
            raise ConfigError(f"scope is {scope!r}, and only 'mmdet' is known: hfpose runs no code of other projects.")
        self.model = model if isinstance(model, DetectionModel) else init_detector(model, weights, palette, device)
        self.cfg = self.model.cfg

    def __call__(self, inputs: Any, batch_size: int = 1, return_datasamples: bool = False) -> dict[str, list[Any]]:
        """
        Args:
            inputs: path or URL of an image, a folder, a BGR array (H, W, 3), or a list of images.
            batch_size: has no effect.
            return_datasamples: give `DetDataSample` objects instead of dicts.

        Returns:
            `predictions` has for each image a dict of the lists `bboxes`, `scores` and `labels`; `visualization` is
            empty.

        Raises:
            InputError: for an image that cannot be used.
        """
        samples = []
        for frame in open_source(rgb_inputs(inputs)):
            if frame.image is None:
                raise InputError(str(frame.error))
            samples.append(_sample(self.model, frame.image))
        if return_datasamples:
            return {"predictions": samples, "visualization": []}
        names = ("labels", "scores", "bboxes")
        predictions = [{name: getattr(each.pred_instances, name).tolist() for name in names} for each in samples]
        return {"predictions": predictions, "visualization": []}
