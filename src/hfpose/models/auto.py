"""Makes transformers' Auto classes and pipelines know our models, without importing torch before it is needed.

`import hfpose` takes milliseconds: registration waits until transformers loads the mapping in question, and the
mapping then holds places of classes that are imported at their first use, as for transformers' own models.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from hfpose.models.backbones import BACKBONES, BackboneFamily


@dataclass(frozen=True)
class Family:
    """Where the classes of one model family are.

    Args:
        model_type: name of its folder, and `model_type` of its configuration.
        class_prefix: what the names of its classes begin with.
        head: what the name of its model class ends with.
        mapping: suffix of the mapping in `transformers.models.auto.modeling_auto` that it belongs to.
    """

    model_type: str
    class_prefix: str
    head: str
    mapping: str

    @property
    def classes(self) -> dict[str, str]:
        """Kind of file -> the public class in it."""
        return {
            "configuration": f"{self.class_prefix}Config",
            "modeling": f"{self.class_prefix}{self.head}",
            "image_processing": f"{self.class_prefix}ImageProcessor",
        }

    def module(self, kind: str) -> str:
        """Name of the module that holds the class of that kind."""
        return f"hfpose.models.{self.model_type}.{kind}_{self.model_type}"

    def load(self, kind: str) -> type:
        """The class of that kind."""
        return getattr(importlib.import_module(self.module(kind)), self.classes[kind])


POSE, DETECTION, BASE = "POSE_ESTIMATION", "OBJECT_DETECTION", "BASE"
FAMILIES = (
    Family("rtmpose", "RTMPose", "ForPoseEstimation", POSE),
    Family("rtmw", "RTMW", "ForPoseEstimation", POSE),
    Family("rtmw3d", "RTMW3D", "ForPoseEstimation", POSE),
    Family("heatmap", "Heatmap", "ForPoseEstimation", POSE),
    Family("regression", "Regression", "ForPoseEstimation", POSE),
    Family("simcc", "SimCC", "ForPoseEstimation", POSE),
    Family("rtmo", "RTMO", "ForPoseEstimation", POSE),
    Family("yolox_pose", "YOLOXPose", "ForPoseEstimation", POSE),
    Family("dekr", "DEKR", "ForPoseEstimation", POSE),
    Family("cid", "CID", "ForPoseEstimation", POSE),
    Family("associative_embedding", "AssociativeEmbedding", "ForPoseEstimation", POSE),
    Family("edpose", "EDPose", "ForPoseEstimation", POSE),
    Family("internet", "InterNet", "ForHandPose", POSE),
    Family("motionbert", "MotionBert", "ForPoseLifting", BASE),
    Family("temporal_convolution", "TemporalConvolution", "ForPoseLifting", BASE),
    Family("rtmdet", "RTMDet", "ForObjectDetection", DETECTION),
    Family("yolox", "YOLOX", "ForObjectDetection", DETECTION),
    Family("ssdlite", "SSDLite", "ForObjectDetection", DETECTION),
)
# Those that transformers does not have itself.
OUR_BACKBONES = tuple(family for family in BACKBONES if family.classes)
_CONFIGURED: tuple[Family | BackboneFamily, ...] = (*FAMILIES, *OUR_BACKBONES)


LIFTER_TYPES = frozenset(family.model_type for family in FAMILIES if family.mapping == BASE)
"""`model_type` of the models that lift 2D keypoints to 3D."""


@dataclass(frozen=True)
class _ClassPlace:
    """A class that is imported when it is asked for."""

    family: Family | BackboneFamily
    kind: str

    def load(self) -> type:
        return self.family.load(self.kind)


class _LazyClasses(dict[Any, Any]):
    """A dict in which a `_ClassPlace`, as key, value or inside of a dict of values, reads as the class it stands for.

    A class finds the entry of its place without anything being imported, so that transformers can be asked about it
    while either library is still being imported.
    """

    def __getitem__(self, key: Any) -> Any:
        return _resolve(super().__getitem__(_place_of(key)))

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_place_of(key), value)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(_place_of(key))

    def get(self, key: Any, default: Any = None) -> Any:
        return _resolve(super().get(_place_of(key), default))

    # transformers only iterates over these three.
    def keys(self) -> Any:
        return [_resolve(key) for key in self]

    def values(self) -> Any:
        return [self[key] for key in self]

    def items(self) -> Any:
        return [(_resolve(key), self[key]) for key in self]


def _resolve(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _resolve(item) for key, item in value.items()}
    return value.load() if isinstance(value, _ClassPlace) else value


def _place_of(key: Any) -> Any:
    """The place of one of our configuration classes, or the key itself."""
    return _CONFIGURATION_PLACES.get((key.__module__, key.__qualname__), key) if isinstance(key, type) else key


_CONFIGURATION_PLACES = {
    (family.module("configuration"), family.classes["configuration"]): _ClassPlace(family, "configuration")
    for family in _CONFIGURED
}


def _register_configurations(module: ModuleType) -> None:
    for family in _CONFIGURED:
        _extra_content(module.CONFIG_MAPPING)[family.model_type] = _ClassPlace(family, "configuration")


def _register_models(module: ModuleType) -> None:
    for family in FAMILIES:
        name = f"MODEL_FOR_{family.mapping}_MAPPING" if family.mapping != BASE else "MODEL_MAPPING"
        content = _extra_content(getattr(module, name))
        content[_ClassPlace(family, "configuration")] = _ClassPlace(family, "modeling")
        # Pipelines of transformers compare class names with these.
        getattr(module, f"{name}_NAMES")[family.model_type] = family.classes["modeling"]
    backbones = _extra_content(module.MODEL_FOR_BACKBONE_MAPPING)
    for backbone in OUR_BACKBONES:
        backbones[_ClassPlace(backbone, "configuration")] = _ClassPlace(backbone, "modeling")


def _register_image_processors(module: ModuleType) -> None:
    for family in FAMILIES:
        place = _ClassPlace(family, "image_processing")
        # One class whatever is installed: torchvision must not change a result.
        content = _extra_content(module.IMAGE_PROCESSOR_MAPPING)
        content[_ClassPlace(family, "configuration")] = {"torchvision": place, "pil": place}


def _extra_content(mapping: Any) -> _LazyClasses:
    """What was registered with a mapping of transformers, made lazy."""
    if not isinstance(mapping._extra_content, _LazyClasses):
        mapping._extra_content = _LazyClasses(mapping._extra_content)
    return mapping._extra_content


def _register_tasks(module: ModuleType) -> None:
    package, name = "hfpose.pipelines.transformers_task", "TransformersPosePipeline"
    modeling = importlib.import_module("transformers.models.auto.modeling_auto")
    # Not every 5.x imports a class by its place when it is asked for.
    is_lazy = hasattr(module, "_resolve_impl")
    implementation = f"{package}.{name}" if is_lazy else getattr(importlib.import_module(package), name)
    module.PIPELINE_REGISTRY.supported_tasks.setdefault(
        "pose-estimation",
        {"impl": implementation, "pt": (modeling.AutoModelForPoseEstimation,), "type": "image"},
    )


_REGISTRATIONS: dict[str, Callable[[ModuleType], None]] = {
    "transformers.models.auto.configuration_auto": _register_configurations,
    "transformers.models.auto.modeling_auto": _register_models,
    "transformers.models.auto.image_processing_auto": _register_image_processors,
    "transformers.pipelines": _register_tasks,
}


class _AfterImport(MetaPathFinder):
    """Calls a function with each of some modules right after it was imported for the first time."""

    def __init__(self, callbacks: dict[str, Callable[[ModuleType], None]]) -> None:
        self.callbacks = dict(callbacks)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        callback = self.callbacks.pop(fullname, None)
        if callback is None:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _CallingLoader(spec.loader, callback)
                return spec
        return None


class _CallingLoader(Loader):
    """Loads a module with its own loader, then calls the function."""

    def __init__(self, loader: Loader, callback: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.callback = callback

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.callback(module)


def register() -> None:
    """Register every family with transformers: at once where transformers is loaded, else as soon as it is."""
    pending = {}
    for name, callback in _REGISTRATIONS.items():
        if name in sys.modules:
            callback(sys.modules[name])
        else:
            pending[name] = callback
    sys.meta_path.insert(0, _AfterImport(pending))
