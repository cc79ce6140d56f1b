"""What a config file of MMPose or MMDetection says of a model that is not in the zoo."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from hfpose.checkpoints.dataset_schema import datasets_of, schema_from_config
from hfpose.checkpoints.reference_config import read_reference_config
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import CheckpointError, ConfigError
from hfpose.hub.zoo import find_entry, list_entries
from hfpose.keypoints import load_schema
from hfpose.models.auto import FAMILIES
from hfpose.models.shared.conversion import expect_settings

# What a setting that is missing, or of another kind or size, makes our code and transformers raise.
MISTAKES = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, MemoryError,
    StrictDataclassError,
)  # fmt: skip
_MAX_NUMBER = 1e6  # the largest in the published configs, `nms_pre`, is 30,000

# Models of several data sets find the keypoints of all of them, under the name of the first.
_UNITED_SCHEMAS: dict[tuple[str, int | None], str] = {("coco", 19): "coco_aic"}
_DETECTOR_BACKBONES = {"rtmdet": "CSPNeXt", "yolox": "CSPDarknet", "ssdlite": "MobileNetV2"}
# Which family a model belongs to is told by its head, for some heatmaps by its backbone too.
_FAMILY_BY_HEAD = {head: family.model_type for family in FAMILIES for head in family.reference_heads}
_HEATMAP_FAMILY_BY_BACKBONE = {"VisionTransformer": "vitpose"}
# Whose steps before and after the network are known; a class of one's own may do anything.
_ESTIMATORS = (
    "TopdownPoseEstimator", "TopdownPoseEstimator3D", "BottomupPoseEstimator", "PoseLifter", "RTMDet", "YOLOX",
    "SingleStageDetector",
)  # fmt: skip
# Steps of a test pipeline that are understood, or change nothing of what the network sees.
_STEPS = (
    "LoadImage", "LoadImageFromFile", "LoadAnnotations", "GetBBoxCenterScale", "TopdownAffine", "BottomupResize",
    "BottomupRandomChoiceResize", "Resize", "Pad", "GenerateTarget", "FilterAnnotations", "PackPoseInputs",
    "PackDetInputs", "PackDetPoseInputs",
)  # fmt: skip


def source_from_config(path: str | os.PathLike[str], name: str | None = None) -> ModelSource:
    """What to convert into, as a config file describes it. The file is parsed, never executed.

    Args:
        path: config file in MMPose's or MMDetection's style.
        name: what to call the model; by default the file's name.

    Raises:
        ConfigError: if the file cannot be read, or describes something that is not supported.
    """
    path = Path(path)
    config = read_reference_config(path)
    with explained_config(str(path)):
        return _source_from_config(config, path, name)


def _source_from_config(config: Mapping[str, Any], path: Path, name: str | None) -> ModelSource:
    model = config.get("model")
    if not isinstance(model, Mapping):
        raise ConfigError(f"{path} describes no model: it sets no `model = dict(...)`.")
    _refuse_absurd_numbers(model, path)
    if "student_cfg" in model:  # of a distillation: what comes of it is the student
        return _student(str(model["student_cfg"]), path, name)
    family = family_of_model(model, path)
    reference = dict(model)
    dataset = next(datasets_of(config), {})
    expected = {"seq_step": 1}
    if dataset.get("seq_len", 1) > 1:
        expected["causal"] = bool((model.get("backbone") or {}).get("causal", False))
    expect_settings(f"The data set in {path}", dataset, expected)
    reference["test_pipeline"] = dataset.get("pipeline") or config.get("test_pipeline") or config.get("val_pipeline")
    _refuse_other_steps(reference["test_pipeline"] or (), path)
    reference |= {name: reference.get(name) or {} for name in ("test_cfg", "data_preprocessor")}
    classes = _classes(config)
    if "bbox_head" in model or classes is not None:
        coco = next(list(entry.labels) for entry in list_entries("detector") if len(entry.labels) == 80)
        reference["classes"] = classes or (coco if model["bbox_head"].get("num_classes") == len(coco) else None)
    head = model.get("head") or {}
    decoder = (head.get("pose_cfg") or head).get("decoder") or {}
    if "input_size" in decoder:
        reference["input_size_wh"] = list(decoder["input_size"])
    source = ModelSource(name or path.stem, family, reference, None)
    try:
        schema = None if source.is_detector else schema_from_config(config, path)
    except ConfigError as error:  # the checkpoint may say what the config does not
        return replace(source, schema_error=error)
    if schema is not None and (schema.name, source.num_keypoints) in _UNITED_SCHEMAS:
        schema = load_schema(_UNITED_SCHEMAS[schema.name, source.num_keypoints])
    return replace(source, schema=schema)


def _student(student: str, path: Path, name: str | None) -> ModelSource:
    """The student of a distillation, whose config the distiller's at `path` names relative to the root of their
    project."""
    for folder in (Path(), *path.parents):
        if (folder / student).is_file():
            return source_from_config(folder / student, name)
    entry = find_entry(student, "pose")
    if entry is None:
        raise ConfigError(
            f"{path} distills {student}, which is neither a file beside it nor in the zoo. Give that config."
        )
    source = ModelSource.from_entry(entry)
    return replace(source, name=name or source.name)


@contextmanager
def explained_config(name: str) -> Iterator[None]:
    """Turn what a config that is incomplete or odd makes our code raise into one sentence."""
    try:
        yield
    except (ConfigError, CheckpointError):
        raise
    except KeyError as error:
        raise ConfigError(
            f"The config of {name} lacks the setting {error}. Give a whole config, with its bases."
        ) from error
    except MISTAKES as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"The config of {name} has a setting that cannot be used: {reason}.") from error


def _refuse_absurd_numbers(value: Any, path: Path, where: str = "model") -> None:
    """Refuse sizes that no model has, before anything is made of them."""
    if isinstance(value, (int, float)) and abs(value) > _MAX_NUMBER:
        raise ConfigError(f"{path}: {where} is {value:g}; no model has such a size.")
    items = (
        value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    )
    for key, item in items:
        _refuse_absurd_numbers(item, path, f"{where}.{key}"[:200])


def _refuse_other_steps(pipeline: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Refuse a test pipeline that shows the network something else than the image in color, cut and resized."""
    for step in pipeline:
        kind = step["type"].rsplit(".")[-1]
        if kind not in _STEPS:
            raise ConfigError(
                f"{path}: its test_pipeline has the step {kind}, which is not supported. Steps that are: "
                f"{', '.join(_STEPS)}."
            )
        expect_settings(f"{kind} in {path}", step, {"color_type": "color"} if kind.startswith("LoadImage") else {})


def family_of_model(model: Mapping[str, Any], path: Path) -> str:
    """Name of the folder below `models/` for a model of the reference, described by the config at `path`.

    Raises:
        ConfigError: if there is none.
    """
    settings = model.get("bbox_head") or model.get("head") or {}
    head = settings.get("type")
    if model.get("type") == "YOLODetector":
        raise ConfigError(
            f"{path} describes a YOLODetector of MMYOLO, which is not supported. Of YOLOX-Pose MMPose's own configs "
            "are, such as yoloxpose_s_8xb32-300e_coco-640.py."
        )
    if "keypoint_head" in model and not settings:
        raise ConfigError(
            f"{path} is a config of MMPose before version 1, which is not read. Give the config of version 1 of the "
            "same model (its head is named `head`), or a name of the zoo; checkpoints of heatmap models fit both."
        )
    backbone = str((model.get("backbone") or {}).get("type")).split(".")[-1]
    family = _FAMILY_BY_HEAD.get(str(head))
    if head == "VisPredictHead" and (settings.get("pose_cfg") or {}).get("type") == "HeatmapHead":
        family = "heatmap"
    if head == "HeatmapHead":
        family = _HEATMAP_FAMILY_BY_BACKBONE.get(backbone, family)
    if family in _DETECTOR_BACKBONES and backbone != _DETECTOR_BACKBONES[family]:
        raise ConfigError(
            f"{path} describes a {model.get('type')} with the backbone {backbone}, which is not supported: only "
            f"{_DETECTOR_BACKBONES[family]} is."
        )
    if family is None:
        raise ConfigError(
            f"{path} describes a {model.get('type')} with backbone {backbone} and head {head}, which is not "
            f"supported. Supported heads: {', '.join(_FAMILY_BY_HEAD)}."
        )
    kind = model.get("type")
    if kind is not None and str(kind).split(".")[-1] not in _ESTIMATORS:
        raise ConfigError(
            f"{path} describes a {kind}, whose code is not known; supported are {', '.join(_ESTIMATORS)}. If it finds "
            "what one of these does, and only learns in another way, write that name as its type."
        )
    return family


def _classes(config: Mapping[str, Any]) -> list[str] | None:
    """Names of a detector's classes where the config states them."""
    for dataset in datasets_of(config):
        classes = (dataset.get("metainfo") or {}).get("classes")
        if classes:
            return [classes] if isinstance(classes, str) else list(classes)
    return None
