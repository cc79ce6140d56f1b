"""Models and image processors of a pipeline's stages."""

from __future__ import annotations

import itertools
import logging
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from huggingface_hub import constants
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForObjectDetection,
    AutoModelForPoseEstimation,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_KEYPOINT_DETECTION_MAPPING,
    MODEL_FOR_KEYPOINT_MATCHING_MAPPING,
    MODEL_FOR_OBJECT_DETECTION_MAPPING,
    MODEL_FOR_POSE_ESTIMATION_MAPPING,
    MODEL_MAPPING,
)
from transformers.utils import IMAGE_PROCESSOR_NAME, PROCESSOR_NAME, SAFE_WEIGHTS_NAME

from hfpose.backends.auto_backend import fastest_dtype
from hfpose.backends.base_backend import Backend, Runner, check_backend
from hfpose.backends.select import GRAPH_DEVICES, make_runner
from hfpose.checkpoints.adapters import base_of_adapter, merge_adapter
from hfpose.checkpoints.custom import MISTAKES
from hfpose.checkpoints.guard import loading_bounded
from hfpose.checkpoints.own_weights import model_with_own_weights
from hfpose.errors import CheckpointError, ConfigError, HFPoseError, InputError, UnknownModelError
from hfpose.hub.model_folders import GRAPH_NAME, OPENVINO_NAME, PIPELINE_INDEX, is_adapter, read_json
from hfpose.hub.resolve import register_helper, resolve
from hfpose.hub.zoo import Task, find_entry
from hfpose.models.auto import LIFTER_TYPES, own_processor, processor_for_transformers
from hfpose.models.shared.configuration import EstimatorConfig
from hfpose.models.shared.devices import accelerate_hook, existing_device
from hfpose.models.shared.pixels import PixelImageProcessor
from hfpose.ops.quiet import without_load_report, without_progress_bars
from hfpose.pipelines.index import part_folder

logger = logging.getLogger(__name__)

_AUTO_MODELS: dict[Task, Any] = {
    "pose": AutoModelForPoseEstimation,
    "detector": AutoModelForObjectDetection,
    "lifter": AutoModel,
}
_MODEL_CLASSES: dict[Task, Any] = {
    "pose": MODEL_FOR_POSE_ESTIMATION_MAPPING,
    "detector": MODEL_FOR_OBJECT_DETECTION_MAPPING,
    "lifter": MODEL_MAPPING,
}

_MAX_SIDE = 4096  # of network inputs; the largest published one has 1333 pixels

_KINDS: dict[Task, str] = {"pose": "a pose model", "detector": "an object detector", "lifter": "a lifter"}


@dataclass(frozen=True)
class Stage:
    """A model, the image processor that belongs to it, and what runs the model."""

    model: PreTrainedModel
    image_processor: Any
    runner: Runner | None = None  # None: the model itself

    @property
    def run(self) -> Callable[..., Any]:
        """Gives outputs of the model by name, for what its `forward` takes by name."""
        return self.runner or self.model

    @property
    def memory_format(self) -> torch.memory_format:
        """The order in memory that `pixel_values` should have for `run`."""
        return torch.contiguous_format if self.runner is None else self.runner.memory_format

    @property
    def device(self) -> torch.device:
        """Where the model takes its inputs; it may be spread over devices, or come to this one only to run."""
        return self._placement[0]

    @property
    def dtype(self) -> torch.dtype:
        """Floating point type of the inputs."""
        return self._placement[1]

    @property
    def _placement(self) -> tuple[torch.device, torch.dtype]:
        # A model of the caller's may be moved at any time; of others `refresh` tells.
        if self.runner is None:
            return _device(self.model), self.model.dtype
        return self._known_placement

    @cached_property
    def _known_placement(self) -> tuple[torch.device, torch.dtype]:
        assert self.runner is not None
        return _device(self.model), self.runner.input_dtype

    @property
    def backend(self) -> str:
        """What runs the model, and what its inner layers compute in, such as `"torch float32"`."""
        if self.runner is None:
            return f"torch {_dtype_name(self.model.dtype)}"
        return f"{self.runner.name} {_dtype_name(self.runner.computing_dtype)}"

    def cast(self, dtype: torch.dtype | str) -> None:
        """Give the model a floating point type, as `load_stage` does; `refresh` has to follow."""
        inner_dtype = _cast(self.model, dtype, self.model.device, self.runner is not None)
        if self.runner is not None:
            self.runner.inner_dtype = inner_dtype

    def refresh(self) -> None:
        """Note that the model was moved, cast, or given other weights."""
        vars(self).pop("_known_placement", None)
        if self.runner is not None:
            self.runner.refresh()

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Write a folder that `from_pretrained` of the model's and the processor's classes read."""
        graph_folder = getattr(self.runner, "folder", None)
        if graph_folder is not None:  # the model has no weights of its own
            shutil.copytree(graph_folder, folder, dirs_exist_ok=True)
            return
        self.model.save_pretrained(folder, **options)
        self.image_processor.save_pretrained(folder)


def _cast(
    model: PreTrainedModel, dtype: torch.dtype | str, device: torch.device, is_private: bool
) -> torch.dtype | None:
    """Give a model the type that `load_stage` is asked for; returns what inner layers compute in where that is
    another."""
    inner_dtype = None
    if dtype == "auto":
        if not is_private:
            return None
        inner_dtype, dtype = fastest_dtype(model, device), torch.float32  # weights stay exact, to be saved or trained
        inner_dtype = None if inner_dtype == dtype else inner_dtype
    torch.nn.Module.to(model, dtype=as_dtype(dtype))
    return inner_dtype


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _device(model: PreTrainedModel) -> torch.device:
    device = getattr(accelerate_hook(model), "execution_device", None)
    return model.device if device is None else torch.device(device)


def task_of(model: str | Path) -> Task:
    """The stage that a name, a folder or a repository is for; of an alias of several stages it is the pose model.

    Raises:
        UnknownModelError: if nothing has that name.
        ConfigError: if it is a model of another kind.
    """
    entry = find_entry(str(model), "pose") or find_entry(str(model))
    if entry is not None:
        return entry.task
    folder = resolve(model)
    if (folder / PIPELINE_INDEX).is_file():
        return "pose"
    _check_kind(folder, str(model))
    config = read_config(folder)
    return next(task for task in _AUTO_MODELS if _is_for(config, task))


def read_config(folder: str | Path, name: str | None = None) -> PreTrainedConfig:
    """The configuration of a model's folder.

    Args:
        folder: of the model, or of an adapter.
        name: what the model is called in an error; default the folder.

    Raises:
        ConfigError: if there is none, or it is of no model that can be loaded without running code of its own.
    """
    folder = _base_folder(Path(folder))
    with _explained(f"The configuration {f'of {name}' if name else f'in {folder}'} is of no model that can be loaded"):
        settings = read_json(Path(folder) / constants.CONFIG_NAME)
        if settings.get("model_type") in CONFIG_MAPPING:
            return CONFIG_MAPPING[settings["model_type"]].from_dict(deepcopy(settings), name_or_path=str(folder))
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def model_type(folder: Path) -> str:
    """What the configuration in a folder, which `resolve` has checked, says of the kind of its model."""
    return str(read_json(_base_folder(folder) / constants.CONFIG_NAME).get("model_type"))


def _base_folder(folder: Path) -> Path:
    """The folder of the model that an adapter in `folder` is for; else `folder` itself."""
    base = base_of_adapter(folder)
    if base is None:
        return folder
    try:
        return resolve(base)
    except UnknownModelError as error:
        raise UnknownModelError(f"The adapter in {folder} is for a model that is not found: {error}") from error


def _check_kind(folder: Path, name: str) -> None:
    """Refuse a model that no stage takes, by its configuration alone.

    Args:
        folder: with `config.json`; of a pipeline or an adapter nothing is checked.
        name: what the model is called in the error.

    Raises:
        ConfigError: for a kind of model that is not supported.
    """
    if (folder / PIPELINE_INDEX).is_file() or is_adapter(folder):
        return
    config = read_config(folder, name)
    if not any(_is_for(config, task) for task in _AUTO_MODELS):
        raise ConfigError(f"{name} is {_kind(config)}; expected a pose model, an object detector or a lifter.")


register_helper("check kind", _check_kind)


@contextmanager
def _explained(problem: str) -> Iterator[None]:
    """Turn what files of a model that are missing or odd make transformers raise into one sentence."""
    try:
        yield
    except InputError as error:  # of an image processor, which does not know where its settings are from
        raise ConfigError(f"{problem}: {error}") from error
    except HFPoseError:
        raise
    except KeyError as error:
        raise ConfigError(f"{problem}: the setting {error} is missing or of an unknown kind.") from error
    except (*MISTAKES, OSError, ImportError) as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        if "trust_remote_code" in reason:
            reason = "it needs code that comes with it, which hfpose does not run"
        raise ConfigError(f"{problem}: {reason.rstrip('.')}.") from error


def _is_for(config: PreTrainedConfig, task: Task) -> bool:
    """Whether a model is one for this stage."""
    # Any model of transformers is an `AutoModel`, but only ours that have no task of transformers are lifters.
    if type(config) not in _MODEL_CLASSES[task] or (task == "lifter" and config.model_type not in LIFTER_TYPES):
        return False
    # Sapiens2 has one configuration for several tasks, and weights of the same names for each.
    name = _MODEL_CLASSES[task][type(config)].__name__
    return config.model_type != "sapiens2" or name in (config.architectures or [name])


def _kind(config: PreTrainedConfig) -> str:
    """What a model is, for errors."""
    name = ", ".join(config.architectures or ()) or config.model_type
    if type(config) in MODEL_FOR_KEYPOINT_DETECTION_MAPPING or type(config) in MODEL_FOR_KEYPOINT_MATCHING_MAPPING:
        return f"a {name}, which finds points of interest for matching two images and not the keypoints of instances"
    return f"a {name} model"


def _required_config(folder: Path, task: Task) -> PreTrainedConfig:
    """The configuration in a folder; one for another stage is refused."""
    config = read_config(folder)
    if not _is_for(config, task):
        raise ConfigError(f"{folder} holds {_kind(config)}; expected {_KINDS[task]}.")
    return config


def load_stage(
    model: str | Path | PreTrainedModel,
    task: Task,
    image_processor: Any = None,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    backend: Backend = "torch",
    revision: str | None = None,
    token: str | bool | None = None,
    model_kwargs: Mapping[str, Any] | None = None,
) -> Stage:
    """The model and image processor that a name, a folder, a repository or a model object stands for.

    Args:
        model: alias, zoo name, hub repository, local folder or a model.
        task: the stage that it is for.
        image_processor: replaces the one that lies beside the model: an object, a folder or a repository; needed only
            for a model object that was not loaded from one of these.
        device: where to put the model; None leaves a model object where it is. With `backend="openvino"` also `"gpu"`,
            `"gpu.1"` or `"npu"`, devices of OpenVINO that torch need not know.
        dtype: floating point type of the weights; None takes float32, or does not change a model object. `"auto"` is
            for families that lose no accuracy what the device computes natively and fastest, as the type of all
            between the first layer and the head; weights are float32. It does not change a model object.
        backend: what computes the outputs: `"auto"` for the fastest that is installed, `"torch"`, `"compile"` for
            torch.compile, `"onnxruntime"` or `"openvino"`, which also take the folders that `hfpose export` writes.
        revision: branch, tag or commit of a hub repository.
        token: for the Hub; by default the one that is logged in with.
        model_kwargs: more arguments of `from_pretrained` of the model.

    Raises:
        UnknownModelError: if nothing has that name.
        DownloadError: if it cannot be fetched.
        InputError: for a device that this machine does not have, or a model without weights.
        ConfigError: for a model of another stage; for an unknown backend, one that cannot run this model, or one that
            lacks a package or compiler.
        CheckpointError: if configuration and weights do not belong together, or a graph is damaged.
    """
    check_backend(backend)
    graph_device = None
    if is_graph_device(device, backend):
        device, graph_device = "cpu", str(device).lower()
    device = None if device is None else existing_device(device)
    if isinstance(model, PreTrainedModel):
        loaded = _Loaded(model, str(model.name_or_path or ""))
    else:
        loaded = _load_model(resolve(model, task, revision=revision, token=token), task, model_kwargs)
    image_processor = _given_or_own_processor(image_processor, loaded)
    network = loaded.model.eval()
    is_quantized = getattr(network, "hf_quantizer", None) is not None
    is_spread = accelerate_hook(network) is not None  # by its owner, who may have weights on a disk
    if network.device.type == "meta" and not is_spread:
        raise InputError(f"The {type(network).__name__} has no weights: it is on the device 'meta'. Load them first.")
    is_private, inner_dtype = network is not model and not is_quantized, None
    if dtype is not None and not is_quantized and not is_spread:
        inner_dtype = _cast(network, dtype, device or network.device, is_private)
    if device is not None and not is_spread:
        torch.nn.Module.to(network, device=device)
    weights = loaded.weights if network.dtype == torch.float32 else None
    runner = make_runner(
        network, image_processor, backend, is_private, loaded.graph_folder, inner_dtype, graph_device, weights
    )
    return Stage(network, image_processor, runner)


@dataclass(frozen=True)
class _Loaded:
    """A model, the folder or repository that it is of, and what of it is an adapter or a graph.

    `weights` is the file that the model's are mapped from, as they are there.
    """

    model: PreTrainedModel
    folder: str
    adapter: Path | None = None
    graph_folder: Path | None = None
    weights: Path | None = None


def _load_model(found: Path, task: Task, model_kwargs: Mapping[str, Any] | None) -> _Loaded:
    """The model of a folder, in a saved pipeline that of its stage, without weights where there is a graph alone."""
    found = part_folder(found, task)
    adapter, folder = found if is_adapter(found) else None, _base_folder(found)
    config = _required_config(folder, task)
    if _has_only_graph(folder):
        return _Loaded(_without_weights(config, task), str(folder), adapter, folder)
    with without_progress_bars(), without_load_report(), _explained(f"The model in {folder} cannot be built"):
        model, weights = _with_weights(config, folder, task, model_kwargs)
    if adapter is not None:
        merge_adapter(model, adapter)
    return _Loaded(model, str(folder), adapter, weights=weights if adapter is None else None)


def _with_weights(
    config: PreTrainedConfig, folder: Path, task: Task, model_kwargs: Mapping[str, Any] | None
) -> tuple[PreTrainedModel, Path | None]:
    """The model of a folder in float32, and the file that its weights are mapped from."""
    options = {"dtype": torch.float32, **(model_kwargs or {"config": config}), "trust_remote_code": False}
    with loading_bounded(folder):
        if model_kwargs is None and getattr(config, "quantization_config", None) is None:
            model = model_with_own_weights(lambda: _AUTO_MODELS[task].from_config(**options), folder)
            if model is not None:
                return model, folder / SAFE_WEIGHTS_NAME
        loaded, report = _AUTO_MODELS[task].from_pretrained(str(folder), output_loading_info=True, **options)
    _check_complete(loaded, report["missing_keys"], str(folder))
    return cast(PreTrainedModel, loaded), None


def _given_or_own_processor(given: Any, loaded: _Loaded) -> Any:
    """The image processor that is given, as an object or by its folder, else the one beside the model."""
    config = loaded.model.config
    if isinstance(given, (str, os.PathLike)):
        given = _load_image_processor(os.fspath(given), config)
    if callable(given):
        _try_image_processor(given, config)
        return given
    if given is not None:
        raise InputError(f"image_processor is {given!r}; expected an image processor, or a folder of one.")
    if not loaded.folder:
        raise ValueError(
            f"The {type(loaded.model).__name__} was not loaded from a folder or repository, so its image processor is "
            "unknown. Give it as `image_processor=...`."
        )
    adapter = loaded.adapter
    has_own = adapter is not None and (adapter / IMAGE_PROCESSOR_NAME).is_file()
    with _explained(f"The image processor in {loaded.folder} cannot be loaded"):
        processor = _load_image_processor(str(adapter) if has_own else loaded.folder, config)
        _try_image_processor(processor, config)
    return processor


def _check_complete(model: PreTrainedModel, missing: Collection[str], folder: str) -> None:
    """Refuse a model whose weights are not all there, so that a part of it is random; of transformers' own tell it.

    Args:
        missing: names of the tensors that `folder` has no values for.

    Raises:
        CheckpointError: for a model of ours.
    """
    if not missing or getattr(model, "hf_quantizer", None) is not None:
        return
    told = f"{len(missing)} tensors of the {type(model).__name__} have no weights in {folder}, such as {min(missing)}"
    if type(model).__module__.startswith("hfpose."):
        raise CheckpointError(
            f"{told}. Do its configuration and weights belong together? Download or convert the model again."
        )
    logger.warning("%s: they are random.", told)


def _has_only_graph(folder: Path) -> bool:
    """Whether a folder has its weights as a graph alone."""
    has_graph = any((folder / name).is_file() for name in (GRAPH_NAME, OPENVINO_NAME))
    return has_graph and not any(folder.glob("*.safetensors"))


def _without_weights(config: PreTrainedConfig, task: Task) -> PreTrainedModel:
    """The model of a folder with memory for weights that is not written to, so that no page of it is used."""
    with torch.device("meta"):
        model = _AUTO_MODELS[task].from_config(config, trust_remote_code=False)
    return model.to_empty(device="cpu")


def _load_image_processor(folder: str, config: PreTrainedConfig) -> Any:
    """The image processor of a folder or repository: ours where we have one for the kind of model."""
    ours, path = processor_for_transformers(config.model_type), Path(folder) / IMAGE_PROCESSOR_NAME
    if path.is_file() and not path.with_name(PROCESSOR_NAME).exists():
        settings = read_json(path)
        ours = ours or own_processor(settings.get("image_processor_type"))
        if ours is not None:
            return ours.from_dict(deepcopy(settings))
    return (ours or AutoImageProcessor).from_pretrained(folder, trust_remote_code=False)


def _try_image_processor(processor: Any, config: PreTrainedConfig) -> None:
    """Raise here what odd settings of an image processor would make of the first image of the user."""
    if not isinstance(processor, PixelImageProcessor):
        return
    size = processor.size
    if max(dict(size).values()) > _MAX_SIDE:
        raise InputError(f"size is {size}; expected sides of 1 to {_MAX_SIDE} pixels")
    has_one_size = isinstance(config, EstimatorConfig) and config.model_type != "heatmap"
    wanted = getattr(config, "image_size", None) if has_one_size else None
    if wanted is not None and [size["height"], size["width"]] != list(wanted):
        raise InputError(f"size is {size}, and the model takes {wanted[0]} x {wanted[1]} (height x width)")
    processor(np.zeros((8, 8, 3), dtype=np.uint8), return_tensors="pt")


_DTYPE_NAMES = {"fp16": "float16", "half": "float16", "bf16": "bfloat16", "fp32": "float32", "float": "float32"}
_DTYPES = ("float16", "bfloat16", "float32", "float64")  # that networks compute in


def as_dtype(dtype: object) -> torch.dtype:
    """A floating point type by its name or a short form of it.

    Raises:
        InputError: for a name of no floating point type.
    """
    name = str(dtype).removeprefix("torch.")
    name = _DTYPE_NAMES.get(name, name)
    found = getattr(torch, name) if name in _DTYPES else None
    if found is None or not isinstance(dtype, (str, torch.dtype)):
        raise InputError(
            f"dtype is {dtype!r}; expected 'auto', 'float32', 'float16' ('fp16'), 'bfloat16' ('bf16') or the "
            "torch.dtype."
        )
    return found


def is_graph_device(device: object, backend: Backend | None = None) -> bool:
    """Whether a device is one of those that a backend (None: any) has a name for and torch has none."""
    names = itertools.chain(*GRAPH_DEVICES.values()) if backend is None else GRAPH_DEVICES.get(backend, ())
    return isinstance(device, str) and re.split("[.:]", device.lower())[0] in names
