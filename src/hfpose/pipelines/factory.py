"""`pipeline(...)`: from names to a pipeline."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from hfpose.backends.base_backend import Backend
from hfpose.errors import ConfigError, InputError
from hfpose.hub.model_folders import PIPELINE_INDEX
from hfpose.hub.modes import Mode, models_for_mode
from hfpose.hub.resolve import PACKAGED, resolve
from hfpose.hub.zoo import RENDERED_SCENES, WHOLE_IMAGE, ModelEntry, Task, find_entry, get_entry, list_entries
from hfpose.keypoints import load_schema, schema_for_config
from hfpose.models.auto import LIFTER_TYPES
from hfpose.pipelines.base_pipeline import PosePipeline
from hfpose.pipelines.device_placement import DeviceMap, Memory, Placement
from hfpose.pipelines.foreign_arguments import OF_CALLS, OF_PIPELINES, suggestion
from hfpose.pipelines.hand_pose_3d import HandPose3DPipeline
from hfpose.pipelines.index import read_index
from hfpose.pipelines.options import LiftingOptions, make_options
from hfpose.pipelines.pose_estimation import PoseEstimationPipeline
from hfpose.pipelines.pose_estimation_3d import PoseEstimation3DPipeline
from hfpose.pipelines.stage import Stage, load_stage, model_type
from hfpose.pipelines.whole_body_3d import WholeBody3DPipeline
from hfpose.pipelines.whole_image_stage import is_one_stage

logger = logging.getLogger(__name__)

AnyPipeline = PoseEstimationPipeline | PoseEstimation3DPipeline | HandPose3DPipeline | WholeBody3DPipeline
Model = str | Path | PreTrainedModel

HUB_TASK = "keypoint-detection"
"""The Hub's name of pose estimation in 2D."""

DEFAULT_MODELS = {"pose-estimation": "human", "pose-estimation-3d": "human3d"}
DIRECT_3D: dict[str, type[HandPose3DPipeline | WholeBody3DPipeline]] = {
    "internet": HandPose3DPipeline,
    "rtmw3d": WholeBody3DPipeline,
}
"""Pipelines for models that need no lifter, by `model_type`."""
_KINDS: dict[str, type[AnyPipeline]] = {
    kind.__name__: kind for kind in (PoseEstimationPipeline, PoseEstimation3DPipeline, *DIRECT_3D.values())
}


def pipeline(
    task: str = "pose-estimation",
    model: Model | None = None,
    *,
    mode: Mode | None = None,
    image_processor: Any = None,
    detector: Model | None = None,
    detector_labels: Iterable[int | str] | None = None,
    pose: Model | None = None,
    lifter: Model | None = None,
    weights: str | Path | None = None,
    detector_weights: str | Path | None = None,
    pose_weights: str | Path | None = None,
    device: torch.device | str | int | None = None,
    device_map: DeviceMap | None = None,
    max_memory: Memory | None = None,
    offload_folder: str | Path | None = None,
    dtype: torch.dtype | str | None = None,
    backend: Backend = "auto",
    revision: str | None = None,
    token: str | bool | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    torch_dtype: torch.dtype | str | None = None,
    use_fast: bool | None = None,
    trust_remote_code: bool | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
    quantization_config: Any = None,
    **options: Any,
) -> PosePipeline:
    """A pipeline that is ready to be called with images.

    Args:
        task: `"pose-estimation"`, which the Hub calls `"keypoint-detection"`, or `"pose-estimation-3d"`; a 3D model
            gives a 3D pipeline for any.
        model: an alias (`"human"`, the default; `"human3d"` in 3D), a zoo name, a hub repository, a folder of a model
            or of a whole pipeline, or a model object. In 3D a lifter (`"human3d"`), a model of hands (`"hand3d"`) or
            whole bodies (`"wholebody3d"`), or a 2D model to lift from.
        mode: `"lightweight"`, `"balanced"` or `"performance"` chooses pose model and detector of an alias together, as
            rtmlib does: of `human`, `body26`, `wholebody`, `hand`, `animal`, `rtmo`, and in 3D of the 2D model before
            the lifter.
        image_processor: replaces the one that lies beside the model.
        detector: the same for the object detector, or `"whole_image"` to take each image as one box. Default: the
            one that goes with the model, judged by its name or, for a model of your own, by its keypoints. Models such
            as RTMO find people by themselves and take none.
        detector_labels: ids or names of the detector's classes to keep. Default: those that the model is made for
            (people, hands, animals, ...) where the detector knows them, else all.
        pose: the 2D model before a lifter; default: the one made for it.
        lifter: the lifter after a 2D model; default: `model` if it is one, else `"human3d"`.
        weights: path or URL of a checkpoint of the reference to use with `model`, which is then a zoo name or the path
            of a config file. It is converted once and kept in the cache.
        detector_weights: the same for `detector`.
        pose_weights: the same for `pose`.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`, ...; default (and `"auto"`): the accelerator if there is one,
            else the CPU, which -1 means too. With `backend="openvino"` also `"gpu"` or `"npu"`, as OpenVINO names
            Intel's.
        device_map: spreads the stages over devices instead: `"auto"`, `"balanced"`, or a dict such as
            `{"detector": "cpu", "pose": "cuda:1"}`; see `place` of the pipeline, also for the next two.
        max_memory: what may be used of each device, such as `{0: "2GB", "cpu": "8GB"}`.
        offload_folder: where weights go that no memory holds.
        dtype: floating point type of the models, such as `"float32"`, `"float16"` or `"fp16"`. Default `"auto"`: for
            families that lose no accuracy the fastest that the device computes natively, for all but the first layer
            and the head; float32 for others. The environment variable HFPOSE_DTYPE names another default.
        backend: what computes the networks: `"torch"`, `"compile"` (torch.compile, whose first calls take long and
            later ones less), or `"onnxruntime"` (the extra `onnx`) or `"openvino"` (the extra `openvino`), for which
            the first use of a model writes an ONNX file to the cache. Default `"auto"`: on a CPU OpenVINO where it is
            installed, else torch; `pipe.backends` tells. The environment variable HFPOSE_BACKEND names another
            default. Model objects run as they are.
        revision: branch, tag or commit of the model's hub repository; an error with a model of another kind.
        token: for the Hub; by default the one that is logged in with.
        batch_size, num_workers: of calls that do not give them.
        torch_dtype: old name of `dtype`.
        use_fast: for calls that are written for transformers; an image processor of ours is of one kind.
        trust_remote_code: hfpose runs no code of repositories; True is an error.
        model_kwargs: more arguments of `from_pretrained` for `model`, such as `{"attn_implementation": "eager"}`.
        quantization_config: quantizes `model` when it is loaded, such as `transformers.TorchAoConfig`; torch runs it
            then.
        options: more options of calls that do not give them, such as `box_threshold`; see `CallOptions`.

    Raises:
        ValueError: for an unknown task.
        TypeError: for an unknown argument; it suggests a near one.
        UnknownModelError: if nothing has the given name; it suggests near ones.
        InputError: if `device_map` names a stage or device that is not there; for an argument of a wrong type.
        ConfigError: for an unknown backend, one that cannot run a model, or one that lacks a package or compiler; for
            arguments that have no use with this model.
    """
    _check_names(options)
    task = "pose-estimation" if task == HUB_TASK else task
    base_model = getattr(model, "get_base_model", None)
    if callable(base_model):  # of a model of peft, whose adapters are in the layers of its base
        model = base_model()
    if task not in DEFAULT_MODELS:
        is_model = isinstance(task, str) and (task in PACKAGED or find_entry(task, "pose") is not None)
        hint = f" {task!r} is a model: pipeline(model={task!r})." if is_model else ""
        raise ValueError(
            f"Unknown task {task!r}; hfpose has {', '.join(map(repr, DEFAULT_MODELS))}, and {HUB_TASK!r} for the "
            f"first.{hint}"
        )
    _check_models(model=model, detector=detector, pose=pose, lifter=lifter)
    model = DEFAULT_MODELS[task] if model is None else model
    if mode is not None:
        _refuse("mode chooses the weights", weights=weights)
        if isinstance(model, PreTrainedModel):
            _refuse(f"the {type(model).__name__} that is given is loaded", mode=mode)
        if isinstance(model, str) and find_entry(model, "lifter") is not None:
            pose, found = models_for_mode(DEFAULT_MODELS["pose-estimation"] if pose is None else str(pose), mode)
        else:
            model, found = models_for_mode(str(model), mode)
        detector = found if detector is None else detector
    if trust_remote_code:
        raise ConfigError(
            "hfpose runs no code that comes with a model, so trust_remote_code=True has no use. Leave it out; models "
            "of families that hfpose or transformers know load without it."
        )
    if quantization_config is not None:
        model_kwargs = {**(model_kwargs or {}), "quantization_config": quantization_config}
    dtype = next((given for given in (dtype, torch_dtype) if given is not None), "auto")
    defaults = {"batch_size": batch_size, "num_workers": num_workers, **options}
    placement = Placement(device, device_map, max_memory, offload_folder)
    loader = _Loader(placement.loading_device, dtype, token, backend)
    made = _make(
        loader,
        task,
        loader.find(model, weights, revision, model_kwargs),
        image_processor=image_processor,
        wanted=_Detector(detector, detector_labels, detector_weights),
        pose=pose,
        lifter=lifter,
        pose_weights=pose_weights,
    )
    made.call_defaults = {name: value for name, value in defaults.items() if value is not None}
    make_options(made.options_class, {}, made.call_defaults)  # checks them
    return placement.apply(made)


def _check_names(options: Iterable[str]) -> None:
    """Refuse what is no option of any pipeline's calls before a model is loaded."""
    known = LiftingOptions.__dataclass_fields__.keys() - {"boxes"}
    for name in options:
        if name not in known:
            arguments = [*list(inspect.signature(pipeline).parameters)[:-1], *known]
            hint = suggestion(name, arguments, {**OF_CALLS, **OF_PIPELINES})
            raise TypeError(f"pipeline() has no argument {name!r}. {hint}")


def _check_models(**models: Any) -> None:
    for name, given in models.items():
        if given is not None and (not isinstance(given, (str, PathLike, PreTrainedModel)) or given == ""):
            raise InputError(
                f"{name} is {given!r}; expected an alias or a name of the zoo, a Hub repository, a folder, or a model "
                "object."
            )


def _make(
    loader: _Loader,
    task: str,
    chosen: _Chosen,
    *,
    image_processor: Any,
    wanted: _Detector,
    pose: Model | None,
    lifter: Model | None,
    pose_weights: str | Path | None,
) -> AnyPipeline:
    """The pipeline for a model that was found, before it is spread over devices; for the arguments see `pipeline`."""
    if chosen.is_pipeline:
        _refuse("a saved pipeline brings its own", image_processor=image_processor, model_kwargs=chosen.model_kwargs)
        saved = loader.saved(chosen)
        if isinstance(saved, PoseEstimation3DPipeline):
            return loader.with_other_stages(saved, wanted, pose, pose_weights, lifter)
        _refuse("a saved pipeline brings its own", pose=pose, pose_weights=pose_weights)
        parts = loader.with_detector(saved, wanted)
        if not isinstance(saved, PoseEstimationPipeline):
            _refuse("this pipeline finds 3D keypoints by itself", lifter=lifter)
            return type(saved)(**parts)
        if task == "pose-estimation" and lifter is None:
            return PoseEstimationPipeline(**parts)
        return PoseEstimation3DPipeline(**parts, lifter=loader.lifter(lifter))
    if chosen.model_type in DIRECT_3D:
        _refuse("this model finds 3D keypoints by itself", pose=pose, pose_weights=pose_weights, lifter=lifter)
        return DIRECT_3D[chosen.model_type](**loader.pose_parts(chosen, image_processor, wanted))
    if chosen.model_type in LIFTER_TYPES:
        before = loader.find(pose or chosen.default_pose or DEFAULT_MODELS["pose-estimation"], pose_weights)
        after = chosen if lifter is None else loader.find(lifter)
        stage = loader.load(after, "lifter", image_processor)
        return PoseEstimation3DPipeline(**loader.parts_before_lifter(before, wanted), lifter=stage)
    _refuse("`model` is a 2D model already", pose=pose, pose_weights=pose_weights)
    if task == "pose-estimation" and lifter is None:
        return PoseEstimationPipeline(**loader.pose_parts(chosen, image_processor, wanted))
    return PoseEstimation3DPipeline(**loader.pose_parts(chosen, image_processor, wanted), lifter=loader.lifter(lifter))


@dataclass(frozen=True)
class _Chosen:
    """A model before it is loaded: what it is, and where."""

    place: Path | PreTrainedModel
    entry: ModelEntry | None
    default_pose: str | None = None  # of a lifter: the model before it
    model_kwargs: Mapping[str, Any] | None = None  # for `from_pretrained`

    @property
    def is_pipeline(self) -> bool:
        return isinstance(self.place, Path) and (self.place / PIPELINE_INDEX).is_file()

    @property
    def model_type(self) -> str:
        return model_type(self.place) if isinstance(self.place, Path) else self.place.config.model_type


@dataclass(frozen=True)
class _Detector:
    """What a caller says of the detector: `detector`, `detector_labels` and `detector_weights` of `pipeline`."""

    model: Model | None
    labels: Iterable[int | str] | None
    weights: str | Path | None


@dataclass(frozen=True)
class _Loader:
    """Loads the stages of one pipeline."""

    device: torch.device | str
    dtype: torch.dtype | str | None
    token: str | bool | None
    backend: Backend = "torch"

    def find(
        self,
        model: Model,
        weights: str | Path | None = None,
        revision: str | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
    ) -> _Chosen:
        """What a name stands for as a pose model or a lifter."""
        if isinstance(model, PreTrainedModel):
            unused = {"weights": weights, "revision": revision, "model_kwargs": model_kwargs}
            _refuse(f"the {type(model).__name__} that is given is loaded", **unused)
            return _Chosen(model, None)
        if model in PACKAGED:
            _refuse(f"the model {model!r} has its own; give the name of the model that they are of", weights=weights)
            _tell_of_rendered_training()
            return _Chosen(resolve(model, revision=revision), None, PACKAGED[str(model)].default_pose, model_kwargs)
        task: Task = "lifter" if find_entry(str(model), "lifter") else "pose"
        entry = find_entry(str(model), task)
        folder = self._folder(model, task, weights, revision)
        return _Chosen(folder, entry, None if entry is None else entry.default_pose, model_kwargs)

    def load(self, chosen: _Chosen, task: Task, image_processor: Any = None) -> Stage:
        return load_stage(
            chosen.place,
            task,
            image_processor,
            device=self.device,
            dtype=self.dtype,
            backend=self.backend,
            model_kwargs=chosen.model_kwargs,
        )

    def lifter(self, model: Model | None) -> Stage:
        """A lifter, by default the one for people."""
        return self.load(self.find(model or DEFAULT_MODELS["pose-estimation-3d"]), "lifter")

    def saved(self, chosen: _Chosen) -> AnyPipeline:
        """The pipeline in a folder, by the class that its index file names."""
        assert isinstance(chosen.place, Path)
        kind = _KINDS.get(str(read_index(chosen.place).get("pipeline")), PoseEstimationPipeline)
        return kind.from_pretrained(chosen.place, device=self.device, dtype=self.dtype, backend=self.backend)

    def pose_parts(self, chosen: _Chosen, image_processor: Any, wanted: _Detector) -> dict[str, Any]:
        """A pose model and its detector, as arguments of a pipeline's class."""
        stage = self.load(chosen, "pose", image_processor)
        found, labels = self.detector(chosen.entry, stage, wanted)
        return {"model": stage, "detector": found, "detector_labels": labels}

    def parts_before_lifter(self, chosen: _Chosen, wanted: _Detector) -> dict[str, Any]:
        """The same for a pose model, or for a saved 2D pipeline, whose detector another one may replace."""
        if not chosen.is_pipeline:
            return self.pose_parts(chosen, None, wanted)
        saved = self.saved(chosen)
        if not isinstance(saved, PoseEstimationPipeline):
            raise ConfigError(
                f"{chosen.place} holds a {type(saved).__name__}; before a lifter comes a 2D model or pipeline."
            )
        return self.with_detector(saved, wanted)

    def with_detector(self, saved: AnyPipeline, wanted: _Detector) -> dict[str, Any]:
        """The parts of a saved pipeline with another detector, or other classes of its own, where they are asked
        for."""
        parts = saved.parts
        if wanted.model is not None:
            found, labels = self.detector(None, saved.estimator.stage, wanted)
            return {**parts, "detector": found, "detector_labels": labels}
        if wanted.labels is not None:
            _check_labels(saved.detector, wanted.labels)
            return {**parts, "detector_labels": wanted.labels}
        _refuse("no detector is: a saved pipeline brings its own", detector_weights=wanted.weights)
        return parts

    def with_other_stages(
        self,
        saved: PoseEstimation3DPipeline,
        wanted: _Detector,
        pose: Model | None,
        pose_weights: str | Path | None,
        lifter: Model | None,
    ) -> PoseEstimation3DPipeline:
        """A saved 3D pipeline with those of its stages replaced that are given."""
        if pose is None:
            _refuse("no 2D model is: a saved pipeline brings its own", pose_weights=pose_weights)
            parts = self.with_detector(saved, wanted)
        else:
            parts = self.parts_before_lifter(self.find(pose, pose_weights), wanted)
        return PoseEstimation3DPipeline(**{**parts, "lifter": saved.lifter if lifter is None else self.lifter(lifter)})

    def detector(
        self, entry: ModelEntry | None, pose: Stage, wanted: _Detector
    ) -> tuple[Stage | str | None, Iterable[int | str] | None]:
        """The detector that is wanted or the default of a pose model, and which of its classes to keep."""
        if is_one_stage(pose):
            _refuse(
                f"the {type(pose.model).__name__} finds people in whole images by itself, so it takes no detector",
                detector=wanted.model,
                detector_labels=wanted.labels,
                detector_weights=wanted.weights,
            )
            return None, None
        entry = entry or _entry_with_same_keypoints(pose)
        detector, labels = wanted.model, wanted.labels
        if detector is None and entry is not None:
            detector = entry.default_detector
        if detector is None or detector == WHOLE_IMAGE:
            _check_labels(None, labels)
            _refuse("there is no detector", detector_weights=wanted.weights)
            return (WHOLE_IMAGE if detector else None), None
        if isinstance(detector, PreTrainedModel):
            _refuse("the detector that is given has its weights", detector_weights=wanted.weights)
        else:
            detector = self._folder(detector, "detector", wanted.weights, None)
        stage = load_stage(detector, "detector", device=self.device, dtype=self.dtype, backend=self.backend)
        if labels is None and entry is not None:
            labels = _default_labels(entry, stage)
        return stage, labels

    def _folder(self, model: str | Path, task: Task, weights: str | Path | None, revision: str | None) -> Path:
        """Local folder of the model that a name stands for, or a name with a checkpoint beside it."""
        if weights is None:
            return resolve(model, task, revision=revision, token=self.token)
        _refuse("weights are not of a Hub repository", revision=revision)
        from hfpose.checkpoints.cached import convert_cached

        return convert_cached(model, weights, task)


@cache  # said once, not by each pipeline of a process
def _tell_of_rendered_training() -> None:
    logger.warning(
        "'demo' and 'demo3d' were trained on %s alone and miss a third of the people on photographs; 'human' and "
        "'human3d' find more.",
        RENDERED_SCENES,
    )


def _check_labels(detector: object, labels: Iterable[int | str] | None) -> None:
    """Raises ConfigError for classes of a detector that is not there."""
    if detector is None and labels is not None:
        raise ConfigError(
            f"detector_labels is {labels!r}, but there is no detector, so nothing has classes. Give a detector, or "
            "leave detector_labels out."
        )


def _refuse(reason: str, **arguments: Any) -> None:
    """Raises ConfigError for arguments that are given where they would do nothing."""
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ConfigError(
            f"Given {' and '.join(given)}, but {reason}. Leave {'it' if len(given) == 1 else 'them'} out."
        )


def _default_labels(entry: ModelEntry, detector: Stage) -> list[int | str] | None:
    """Ids of the detector's classes that the pose model is made for, judged by their names; None where it has none."""
    if entry.detector_labels is None or entry.default_detector in (None, WHOLE_IMAGE):
        return None
    names = get_entry(str(entry.default_detector), "detector").labels
    wanted = {names[index] for index in entry.detector_labels}
    return [int(index) for index, name in (detector.model.config.id2label or {}).items() if name in wanted] or None


def _entry_with_same_keypoints(pose: Stage) -> ModelEntry | None:
    """A zoo model with the keypoints of `pose`, or one of people where those are among them: it tells the detector."""
    schema, people = schema_for_config(pose.model.config), load_schema("coco")
    names = [schema.name, people.name] if {*people.keypoint_names} <= {*schema.keypoint_names} else [schema.name]
    entries = [entry for entry in list_entries("pose") if entry.default_detector]
    return next((entry for name in names for entry in entries if entry.schema == name), None)
