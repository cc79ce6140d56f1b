"""What a config file of MMPose or MMDetection says of a model that is not in the zoo."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError

from hfpose.checkpoints.reference_config import read_reference_config
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import CheckpointError, ConfigError
from hfpose.hub.zoo import find_entry, list_entries
from hfpose.keypoints import KeypointSchema, list_schemas, load_schema

# What a setting that is missing, or of another kind or size, makes our code and transformers raise.
_MISTAKES = (
    LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError, MemoryError, StrictDataclassError,
)  # fmt: skip
_MAX_NUMBER = 1e6  # the largest in the published configs, `nms_pre`, is 30,000

# Which family a model belongs to is told by its head, for some heatmaps by its backbone too.
_FAMILY_BY_HEAD = {
    "HeatmapHead": "heatmap",
    "ViPNASHead": "heatmap",
    "CPMHead": "heatmap",
    "MSPNHead": "heatmap",
    "SimCCHead": "simcc",
    "RegressionHead": "regression",
    "RLEHead": "regression",
    "IntegralRegressionHead": "regression",
    "DSNTHead": "regression",
    "RTMCCHead": "rtmpose",
    "RTMWHead": "rtmw",
    "RTMW3DHead": "rtmw3d",
    "DEKRHead": "dekr",
    "CIDHead": "cid",
    "AssociativeEmbeddingHead": "associative_embedding",
    "EDPoseHead": "edpose",
    "MotionRegressionHead": "motionbert",
    "TemporalRegressionHead": "temporal_convolution",
    "InternetHead": "internet",
    "RTMOHead": "rtmo",
    "YOLOXPoseHead": "yolox_pose",
    "RTMDetSepBNHead": "rtmdet",
    "YOLOXHead": "yolox",
    "SSDHead": "ssdlite",
}
_HEATMAP_FAMILY_BY_BACKBONE = {"VisionTransformer": "vitpose"}

# Data sets of the reference whose keypoints are one of our schemas.
_SCHEMA_BY_DATASET = {
    "AP10KDataset": "ap10k",
    "AicDataset": "aic",
    "AnimalPoseDataset": "animalpose",
    "CocoDataset": "coco",
    "CocoWholeBodyDataset": "coco_wholebody",
    "CocoWholeBodyFaceDataset": "coco_wholebody_face",
    "CocoWholeBodyHandDataset": "coco_wholebody_hand",
    "CrowdPoseDataset": "crowdpose",
    "Face300WDataset": "300w",
    "FreiHandDataset": "freihand2d",
    "H36MWholeBodyDataset": "coco_wholebody",
    "HalpeDataset": "halpe",
    "Human36mDataset": "h36m",
    "HumanArtDataset": "humanart",
    "InterHand2DDoubleDataset": "interhand2d",
    "InterHand3DDataset": "interhand3d",
    "LapaDataset": "lapa",
    "MpiiDataset": "mpii",
    "OneHand10KDataset": "onehand10k",
    "PoseTrack18Dataset": "posetrack18",
    "WFLWDataset": "wflw",
}
# Metainfo files of data sets that have the keypoints of another one.
_SAME_KEYPOINTS = {"h3wb": "coco_wholebody"}


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
    dataset = next(_datasets(config), {})
    reference["test_pipeline"] = dataset.get("pipeline") or config.get("test_pipeline") or config.get("val_pipeline")
    reference.setdefault("test_cfg", {})
    reference.setdefault("data_preprocessor", {})
    classes = _classes(config)
    if classes is not None:
        reference["classes"] = classes
    elif "bbox_head" in model:
        reference["classes"] = _known_classes(model["bbox_head"].get("num_classes"))
    decoder = (model.get("head") or {}).get("decoder") or {}
    if "input_size" in decoder:
        reference["input_size_wh"] = list(decoder["input_size"])
    schema = None if "bbox_head" in model else _schema(config, path)
    return ModelSource(name or path.stem, family, reference, schema)


def _student(student: str, path: Path, name: str | None) -> ModelSource:
    """The student of a distillation, whose config the distiller's at `path` names relative to the root of their project."""
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
    except _MISTAKES as error:
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


def family_of_model(model: Mapping[str, Any], path: Path) -> str:
    """Name of the folder below `models/` for a model of the reference, described by the config at `path`.

    Raises:
        ConfigError: if there is none.
    """
    head = (model.get("bbox_head") or model.get("head") or {}).get("type")
    backbone = str((model.get("backbone") or {}).get("type")).split(".")[-1]
    family = _FAMILY_BY_HEAD.get(str(head))
    if head == "HeatmapHead":
        family = _HEATMAP_FAMILY_BY_BACKBONE.get(backbone, family)
    if family is None:
        raise ConfigError(
            f"{path} describes a {model.get('type')} with backbone {backbone} and head {head}, which is not supported. "
            f"Supported heads: {', '.join(_FAMILY_BY_HEAD)}."
        )
    return family


def _datasets(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Data sets of the config, those for testing first, wrapped ones after their wrapper."""
    for key in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = (config.get(key) or {}).get("dataset")
        while isinstance(dataset, Mapping):
            yield dataset
            inner = dataset.get("dataset") or dataset.get("datasets")
            dataset = inner[0] if isinstance(inner, list) and inner else inner


def _schema(config: Mapping[str, Any], path: Path) -> KeypointSchema | None:
    """Keypoint schema: `dataset_info` of the config, else the metainfo or the type of its data sets."""
    if "dataset_info" in config:
        return KeypointSchema.from_reference(config["dataset_info"])
    for dataset in _datasets(config):
        metainfo = dataset.get("metainfo") or {}
        if "keypoint_info" in metainfo:
            return KeypointSchema.from_reference(metainfo)
        if "from_file" in metainfo:
            return schema_from_file(str(metainfo["from_file"]), path)
        if dataset.get("type") in _SCHEMA_BY_DATASET:
            return load_schema(_SCHEMA_BY_DATASET[dataset["type"]])
    return None


def schema_from_file(name: str, beside: Path | None = None) -> KeypointSchema:
    """The schema of a metainfo file, which configs name relative to the root of their project.

    Args:
        name: path of the file. Where it is not there, its base name may be that of one of our schemas.
        beside: config that names it, whose folders are looked through too.

    Raises:
        ConfigError: if there is neither such a file nor such a schema.
    """
    folders = (Path(), *(beside.parents if beside else ()))
    candidates = [Path(name)] if Path(name).is_absolute() else [folder / name for folder in folders]
    for candidate in candidates:
        if candidate.is_file():
            content = read_reference_config(candidate)
            return KeypointSchema.from_reference(content.get("dataset_info", content))
    stem = _SAME_KEYPOINTS.get(Path(name).stem, Path(name).stem)
    if stem in list_schemas():
        return load_schema(stem)
    named_by = f"{beside} takes its keypoints from {name}. " if beside else ""
    raise ConfigError(
        f"{named_by}There is neither a file {name!r} nor a known schema {Path(name).stem!r}; known are "
        f"{', '.join(list_schemas())}. Put the file there, or its content into `dataset_info`."
    )


def _classes(config: Mapping[str, Any]) -> list[str] | None:
    """Names of a detector's classes where the config states them."""
    for dataset in _datasets(config):
        classes = (dataset.get("metainfo") or {}).get("classes")
        if classes:
            return [classes] if isinstance(classes, str) else list(classes)
    return None


def _known_classes(num_classes: int | None) -> list[str] | None:
    """Names of the classes of COCO where a detector has as many."""
    coco = next(entry.labels for entry in list_entries("detector") if len(entry.labels) == 80)
    return list(coco) if num_classes == len(coco) else None
