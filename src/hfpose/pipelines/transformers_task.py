"""What `transformers.pipeline("pose-estimation", ...)` and `"pose-estimation-3d"` give once hfpose is imported."""

from __future__ import annotations

import inspect
import os
from functools import wraps
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants
from transformers import AutoModel, AutoModelForPoseEstimation, ObjectDetectionPipeline, PreTrainedModel
from transformers.pipelines import PIPELINE_REGISTRY, Pipeline

from hfpose.errors import ConfigError
from hfpose.hub.model_folders import PIPELINE_INDEX
from hfpose.hub.resolve import PACKAGED, resolve
from hfpose.hub.zoo import find_entry
from hfpose.models.auto import processor_for_transformers
from hfpose.models.shared.devices import default_device
from hfpose.pipelines.base_pipeline import PosePipeline
from hfpose.pipelines.factory import DEFAULT_MODELS, DIRECT_3D, HUB_TASK, pipeline
from hfpose.pipelines.options import make_options
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.results import PoseOutput

TASK, TASK_3D = "pose-estimation", "pose-estimation-3d"
TASK_NAMES = (TASK, HUB_TASK, TASK_3D)
_FACTORY_ARGUMENTS = frozenset(inspect.signature(pipeline).parameters) - {"batch_size", "num_workers"}


class ModelByName(os.PathLike[str]):
    """A model by a name that hfpose knows; its folder is looked for when it is asked for."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __fspath__(self) -> str:
        return str(resolve(self.name))

    def __str__(self) -> str:
        return self.name


class TransformersPosePipeline(ObjectDetectionPipeline):
    """A pipeline of ours as one of transformers: lists of plain dicts.

    It is an object detector that tells keypoints too, so what shows detections shows its results.

    Args:
        model: pose model that is loaded already; in 3D a lifter or a model of 3D keypoints too. Or a pipeline of
            hfpose, with all that it was made with.
        task: `"pose-estimation"`, `"keypoint-detection"` or `"pose-estimation-3d"`.
        image_processor: replaces the one that lies beside the model.
        device: where the models go: a name, or the number of an accelerator, -1 for the CPU. Default: the accelerator
            if there is one, or where `device_map` has put the model.
        options: arguments of `hfpose.pipeline`, such as `detector`, and of its calls, such as `batch_size`; a call may
            give others.

    Raises:
        ConfigError: for a model of 3D keypoints in 2D.
        TypeError: for an option that calls do not have.
    """

    # By it gradio's `Interface.from_pipeline` knows what pipelines of transformers are.
    __module__ = "transformers.pipelines.pose_estimation"

    # What transformers loads before; for the image processor None means "if it can".
    _load_processor: Any = False
    _load_image_processor: Any = None
    _load_video_processor: Any = False
    _load_feature_extractor: Any = False
    _load_tokenizer: Any = False

    def __init__(
        self,
        model: PreTrainedModel | PosePipeline | ModelByName,
        task: str = TASK,
        image_processor: Any = None,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(device, int) and default_device().type == "cpu":
            device = "cpu"  # transformers means it by 0, where there is no accelerator
        given = {name: options.pop(name) for name in _FACTORY_ARGUMENTS & set(options)}
        self.options = {name: value for name, value in options.items() if value is not None}
        if isinstance(model, PosePipeline):
            self.poses = model
        else:
            if isinstance(model, ModelByName):
                given |= {"model": model.name, "device": device, "dtype": dtype}
            else:
                _check_dimensions(task, model)
                image_processor = _ours(image_processor, model)
                # transformers has loaded it in the type and to the device map that are asked for
                spread = getattr(model, "hf_device_map", None)
                given |= {"model": model, "device": model.device if spread else device, "dtype": model.dtype}
            self.poses = pipeline(TASK_3D if task == TASK_3D else TASK, image_processor=image_processor, **given)
        make_options(self.poses.options_class, self.options)  # checks them
        task = task if isinstance(self.poses, PoseEstimationPipeline) else TASK_3D
        stage = self.poses.estimator.stage
        model = model if isinstance(model, PreTrainedModel) else stage.model
        # Not `ObjectDetectionPipeline`'s, which takes no model but a detector.
        placed = None if getattr(model, "hf_device_map", None) else model.device
        Pipeline.__init__(
            self, model, image_processor=image_processor or stage.image_processor, task=task, device=placed
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (), vars(self)

    def _sanitize_parameters(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        return {}, {}, {}

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Instances in images and videos.

        Args:
            args: the input, whatever `hfpose.pipeline` takes; it may also be given as `inputs=` or `images=`.
            options: of a call of `hfpose.pipeline`.

        Returns:
            For one image a list of dicts, best instance first: `score`, `label`, `box` with `xmin`, `ymin`, `xmax`,
            `ymax`, and `keypoints`, for each a dict of `label`, `score`, `x`, `y` and in 3D `z`. For a list of images
            a list of these; for a data set, a generator or a video they come one after the other.

        Raises:
            InputError: for an image that cannot be read.
        """
        names = [name for name in ("inputs", "images") if name in options]
        inputs = args or [options.pop(name) for name in names]
        given = {name: value for name, value in options.items() if value is not None}
        results = self.poses(*inputs, **{**self.options, **given})
        if isinstance(results, PoseOutput):
            return self._instances(results)
        lists = map(self._instances, results)
        return list(lists) if isinstance(results, list) else lists

    def _instances(self, output: PoseOutput) -> list[dict[str, Any]]:
        names: Any = (
            self.model.config.id2label if output.schema is None else dict(enumerate(output.schema.keypoint_names))
        )
        return [self._instance(one, names) for one in output.predictions]

    def _instance(self, one: dict[str, Any], names: dict[int, str]) -> dict[str, Any]:
        keypoints = [
            {"label": names[index], "score": score, **dict(zip("xyz", place, strict=False))}
            for index, (place, score) in enumerate(zip(one["keypoints"], one["keypoint_scores"], strict=True))
        ]
        found: dict[str, Any] = {"score": one.get("bbox_score"), "label": "instance", "keypoints": keypoints}
        if one.get("bbox") is not None:
            found["box"] = dict(zip(("xmin", "ymin", "xmax", "ymax"), map(round, one["bbox"]), strict=True))
        return found

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Save all stages, as a folder that `hfpose.pipeline` loads."""
        self.poses.save_pretrained(save_directory, **kwargs)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload what `save_pretrained` writes, with a card; for the options see `push_to_hub` of hfpose's
        pipelines."""
        return self.poses.push_to_hub(repo_id, **options)


def _empty() -> TransformersPosePipeline:
    """A pipeline without anything in it, to be filled when one is unpickled: its `__module__` is no place to import it
    from."""
    return TransformersPosePipeline.__new__(TransformersPosePipeline)


def register_task() -> None:
    """Make `TransformersPosePipeline` what transformers' `pipeline` gives for the tasks."""
    for task in TASK_NAMES:
        default = ModelByName(_default_model(task))
        models: Any = (AutoModelForPoseEstimation, AutoModel) if task == TASK_3D else AutoModelForPoseEstimation
        PIPELINE_REGISTRY.register_pipeline(
            task, TransformersPosePipeline, pt_model=models, type="image", default={"model": (default, None)}
        )
    of_transformers: Any = transformers.pipelines.pipeline

    # It looks a model's name up on the Hub before a registered task is asked, and has no hook there.
    @wraps(of_transformers)
    def with_our_names(task: str | None = None, model: Any = None, *args: Any, **options: Any) -> Any:
        if task in TASK_NAMES and model is None:
            model = _default_model(task)
        if task in (None, *TASK_NAMES) and (isinstance(model, PosePipeline) or _is_ours_alone(model)):
            model = model if isinstance(model, PosePipeline) else ModelByName(model)
            return TransformersPosePipeline(model, task or TASK, **options)
        return of_transformers(task, model, *args, **options)

    transformers.pipeline = transformers.pipelines.pipeline = with_our_names


def _default_model(task: str | None) -> str:
    """The model of hfpose for one of the tasks."""
    return DEFAULT_MODELS[TASK_3D if task == TASK_3D else TASK]


def _is_ours_alone(model: Any) -> bool:
    """Whether it is an alias, a name of the zoo or the folder of a saved pipeline, none of which transformers
    knows."""
    if not isinstance(model, (str, Path)) or (Path(model) / constants.CONFIG_NAME).is_file():
        return False
    known = str(model) in PACKAGED or any(find_entry(str(model), task) for task in ("pose", "lifter"))
    return known or (Path(model) / PIPELINE_INDEX).is_file()


def _check_dimensions(task: str, model: PreTrainedModel) -> None:
    """Raises ConfigError for a model of 3D keypoints in 2D."""
    if task != TASK_3D and model.config.model_type in DIRECT_3D:
        raise ConfigError(
            f"{task} gives 2D poses, and this model finds 3D keypoints: use "
            'transformers.pipeline("pose-estimation-3d", model=...).'
        )


def _ours(image_processor: Any, model: PreTrainedModel) -> Any:
    """Our image processor with the settings of transformers' own one for the model; any other as it is."""
    ours = processor_for_transformers(model.config.model_type)
    if image_processor is None or ours is None or isinstance(image_processor, ours):
        return image_processor
    return ours.from_dict(image_processor.to_dict())
