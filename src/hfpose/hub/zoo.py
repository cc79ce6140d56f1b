"""What models exist: one typed entry each, and the names they go by.

The data lie in ``zoo.json`` and are read at the first question; nothing here downloads or imports a model.
Names follow the reference project (MMPose 1.3.2 and MMDetection 3.3.0), so that people who know a model there
finds it here: by alias (``human``), by config name, or by the path of a config file.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from hfpose.errors import ConfigError, UnknownModelError

Task = Literal["pose", "detector", "lifter"]
TASKS: tuple[Task, ...] = get_args(Task)

RENDERED_SCENES = "rendered scenes"

WHOLE_IMAGE = "whole_image"
"""Given as a detector: the whole image is the one box."""

_DATA = Path(__file__).with_name("zoo.json")
SIZES = _DATA.with_name("sizes.json")
"""Parameters, multiply-adds and times of the models by name, written by conversion/measure_models.py."""

# Of a result's metrics the first of these tells most.
_MAIN_METRICS = (
    "AP", "Whole AP", "box AP", "Total", "Mean", "PCK", "PCK@0.2", "AUC", "NME", "NME test", "NME full", "EPE",
    "MPJPE", "MPJPE-all",
)  # fmt: skip


@dataclass(frozen=True)
class Paper:
    """Where a family of models was published."""

    title: str
    authors: str  # "Family name, Given name and ...", as BibTeX has it
    year: int
    url: str


@dataclass(frozen=True)
class ModelFamily:
    """Models of one architecture."""

    title: str  # as its authors write it
    paper: Paper
    supported: bool = True
    estimator: str | None = None  # folder below ``hfpose/models``, where it is another than the family's name


class Result(NamedTuple):
    """A published result: `value` of a `metric` on a `dataset`."""

    dataset: str
    metric: str
    value: float

    def __str__(self) -> str:
        return f"{self.metric} {self.value:g} ({self.dataset})"


@dataclass(frozen=True)
class ModelEntry:
    """One model of the zoo.

    Attributes:
        name: config name in the reference project, unique over all tasks.
        task: the stage that the model is for: "pose", "detector" or "lifter" (2D keypoints to 3D).
        family: architecture, whose title and paper `get_family` tells.
        aliases: further names, unique within the task.
        input_size: (width, height) of the network's input in pixels; None where it takes keypoints.
        schema: name of the keypoint schema; None for detectors.
        labels: what a detector tells apart, in the order of its category ids.
        default_detector: zoo name of its detector, "whole_image", or None where none is needed.
        detector_labels: category ids of the default detector to keep.
        default_pose: zoo name of the 2D model before a lifter.
        checkpoint_url: where the reference project publishes the weights.
        sha256_prefix: how the SHA-256 of that file begins (hex); None where it was not published.
        training_data: names of the data sets that the weights were trained on.
        metrics: published results, dataset -> metric -> value.
        parameters: how many the model has, those for training included.
        gflops: multiply-adds of one image, in thousand millions; None for models that take keypoints.
        milliseconds: of the network for one image or clip on one thread of a CPU, to compare models with each other.
        repository: hub repository with the converted weights; set only together with ``revision``.
        revision: commit of that repository.
    """

    name: str
    task: Task
    family: str
    aliases: tuple[str, ...] = ()
    input_size: tuple[int, int] | None = None
    schema: str | None = None
    labels: tuple[str, ...] = ()
    default_detector: str | None = None
    detector_labels: tuple[int, ...] | None = None
    default_pose: str | None = None
    checkpoint_url: str | None = None
    sha256_prefix: str | None = None
    training_data: tuple[str, ...] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict, hash=False, repr=False)
    repository: str | None = None
    revision: str | None = None
    parameters: int | None = None
    gflops: float | None = None
    milliseconds: float | None = None
    _reference: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    @property
    def estimator(self) -> str:
        """Name of the folder below ``hfpose/models`` that holds its classes."""
        return get_family(self.family).estimator or self.family

    @property
    def main_result(self) -> Result | None:
        """The published result that tells most; None where none is published."""
        for metric in _MAIN_METRICS:
            for dataset, values in self.metrics.items():
                if metric in values:
                    return Result(dataset, metric, values[metric])
        return None

    @property
    def finds(self) -> str:
        """Its keypoint schema; of a detector its only class, or how many there are."""
        return self.schema or (self.labels[0] if len(self.labels) == 1 else f"{len(self.labels)} classes")

    @property
    def ap(self) -> float:
        """The published average precision, 0 to 1; 0 where there is none."""
        result = self.main_result
        if result is None or not result.metric.endswith("AP"):
            return 0.0
        return result.value / 100 if result.value > 1 else result.value  # detectors' are stated in percent

    @property
    def supported(self) -> bool:
        """Whether hfpose can load the model."""
        return get_family(self.family).supported

    @property
    def reference(self) -> dict[str, Any]:
        """The reference project's description of the model, for conversion; a fresh copy at each call.

        Keys as in its config files: ``backbone``, ``neck`` (where there is one), ``head`` or ``bbox_head``,
        ``data_preprocessor``, ``test_cfg``, ``test_pipeline`` (detectors), and with them ``input_size_wh``,
        ``classes`` (detectors) and, where it is not the usual one of the head, its ``loss``.
        """
        shared = _zoo().parts
        parts = {key: shared.get(p, p) if isinstance(p, str) else p for key, p in self._reference.items()}
        size = list(self.input_size) if self.input_size else None
        classes = {"classes": list(self.labels)} if self.labels else {}
        return {"input_size_wh": size, **copy.deepcopy(parts), **classes}

    def companions(self) -> list[ModelEntry]:
        """The models that go before this one in a pipeline: 2D model and detector, where it needs them."""
        names = (self.default_pose, self.default_detector)
        return [get_entry(name) for name in names if name is not None and name != WHOLE_IMAGE]

    def require_supported(self) -> None:
        """Raise ConfigError if hfpose cannot load the model."""
        if self.supported:
            return
        title = get_family(self.family).title
        raise ConfigError(
            f"'{self.name}' is of the {title} family, and {title} is not supported yet. {_supported_families()} "
            "`hfpose models` lists every model and whether it can be loaded."
        )


PACKAGED_ENTRIES = (
    ModelEntry("demo", "pose", "rtmpose", input_size=(160, 192), schema="coco", training_data=(RENDERED_SCENES,)),
    ModelEntry("demo3d", "lifter", "motionbert", schema="h36m", default_pose="demo", training_data=(RENDERED_SCENES,)),
)
"""What comes with hfpose, for a first try without a network; beside the zoo, since the reference has none of them."""

# Known elsewhere and asked for often; not to be taken for a misspelled name of the zoo.
_NOT_SUPPORTED = (
    "alphapose", "blazepose", "cascadercnn", "deeplabcut", "detectron2", "fasterrcnn", "keypointrcnn", "maskrcnn",
    "mediapipe", "movenet", "openpifpaf", "openpose", "pifpaf", "poseformer", "posenet", "sleap", "uniformer",
    "yolo11", "yolov3", "yolov5", "yolov7", "yolov8",
)  # fmt: skip


@dataclass(frozen=True)
class _Zoo:
    families: dict[str, ModelFamily]
    entries: tuple[ModelEntry, ...]
    by_name: dict[str, tuple[ModelEntry, ...]]  # normalized name or alias -> entries of different tasks
    parts: dict[str, Any]  # of references, which several models have


@lru_cache(maxsize=1)
def _zoo() -> _Zoo:
    data = json.loads(_DATA.read_text(encoding="utf-8"))
    families = {
        name: ModelFamily(item["title"], Paper(**item["paper"]), item.get("supported", True), item.get("estimator"))
        for name, item in data["families"].items()
    }
    sizes = json.loads(SIZES.read_text(encoding="utf-8"))
    entries = tuple(_entry(item | sizes.get(item["name"], {}), data["label_sets"]) for item in data["models"])
    by_name: dict[str, tuple[ModelEntry, ...]] = {}
    for entry in entries:
        for name in (entry.name, *entry.aliases):
            by_name[_normalized(name)] = (*by_name.get(_normalized(name), ()), entry)
    return _Zoo(families, entries, by_name, data.get("reference_parts", {}))


def _entry(item: dict[str, Any], label_sets: dict[str, list[str]]) -> ModelEntry:
    fields = dict(item)
    labels = fields.pop("labels", ())
    fields["labels"] = tuple(label_sets[labels] if isinstance(labels, str) else labels)
    fields["_reference"] = fields.pop("reference")
    for key in ("aliases", "input_size", "detector_labels", "training_data"):
        if key in fields:
            fields[key] = tuple(fields[key])
    return ModelEntry(**fields)


def _normalized(name: str) -> str:
    """Lower case; of the path of a config file (existing or not), the base name without ``.py``."""
    name = name.strip().casefold()
    if name.endswith(".py"):
        name = re.split(r"[/\\]", name)[-1].removesuffix(".py")
    return name


def get_family(name: str) -> ModelFamily:
    """Title, paper and state of the family that ``ModelEntry.family`` names."""
    return _zoo().families[name]


def list_entries(task: Task | None = None) -> list[ModelEntry]:
    """All models of the zoo, or those for one task, in the zoo's order."""
    _check_task(task)
    return [entry for entry in _zoo().entries if task in (None, entry.task)]


def list_aliases(task: Task | None = None) -> list[tuple[str, ModelEntry]]:
    """All aliases with the model that each stands for. An alias may stand for one model per task."""
    return [(alias, entry) for entry in list_entries(task) for alias in entry.aliases]


def find_entry(name: str, task: Task | None = None) -> ModelEntry | None:
    """As `get_entry`, but None for a name that the zoo does not know (for this task)."""
    _check_task(task)
    found = [entry for entry in _zoo().by_name.get(_normalized(name), ()) if task in (None, entry.task)]
    if len(found) > 1:
        choices = ", ".join(f"task='{entry.task}' for {entry.name}" for entry in found)
        raise UnknownModelError(
            f"'{name}' names {len(found)} models of the zoo. Say which one: {choices}; or give the full name."
        )
    return found[0] if found else None


def get_entry(name: str, task: Task | None = None) -> ModelEntry:
    """The model that goes by ``name``.

    Args:
        name: zoo name, alias, or path of a config file of the reference project (only its base name counts, the
            file need not exist); in any case, with or without ``.py``.
        task: stage that the model is wanted for. Needed where an alias names a model of two stages, as ``human``.

    Raises:
        UnknownModelError: no model, or a model of another task only, or models of several tasks go by that name.
        ConfigError: the name is of a well-known family that is not supported.
    """
    entry = find_entry(name, task)
    if entry is None:
        raise UnknownModelError(_unknown(name, task))
    return entry


def get_main_entry(name: str) -> ModelEntry:
    """As `get_entry`, but a name of several stages, as ``human``, means the pose model."""
    return find_entry(name, "pose") or get_entry(name)


def _unknown(name: str, task: Task | None) -> str:
    others = _zoo().by_name.get(_normalized(name), ())
    if others:
        found = " and ".join(f"a {entry.task} model ({entry.name})" for entry in others)
        return f"'{name}' is {found}, and a {task} model was asked for. `hfpose models` lists what there is per task."
    family = next((known for known in _NOT_SUPPORTED if known in re.sub(r"[\W_]", "", name.casefold())), None)
    if family is not None:
        raise ConfigError(f"{name[:100]!r}: models of {family} are not supported. {_supported_families()}")
    kind = f"{task} model" if task else "model"
    packaged = (entry for entry in PACKAGED_ENTRIES if task in (None, entry.task))
    names = {n.casefold(): n for entry in (*list_entries(task), *packaged) for n in (*entry.aliases, entry.name)}
    names |= {WHOLE_IMAGE: WHOLE_IMAGE} if task == "detector" else {}
    near = [names[match] for match in difflib.get_close_matches(_normalized(name), names, n=3, cutoff=0.6)]
    hint = f" Did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
    return (
        f"The zoo has no {kind} called {name[:100]!r}.{hint} `hfpose models` in a shell, or "
        "hfpose.hub.zoo.list_entries() in Python, lists all names. For a config file of your own give its checkpoint "
        "too: `hfpose convert --config FILE.py --checkpoint FILE.pth --output DIR`."
    )


def _supported_families() -> str:
    return f"Supported families: {', '.join(family.title for family in _zoo().families.values() if family.supported)}."


def _check_task(task: str | None) -> None:
    if task is not None and task not in TASKS:
        raise ValueError(f"task is {task!r}; expected one of {', '.join(map(repr, TASKS))}, or None for all.")
