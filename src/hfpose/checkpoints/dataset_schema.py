"""Which keypoints a model was trained on: what its checkpoint says of the data set, what its config says."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.checkpoints.reference_config import read_reference_config
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema, generic_schema, list_schemas, load_schema

logger = logging.getLogger(__name__)

# Data sets of the reference whose keypoints are those of a schema that is not called as they are.
_SCHEMA_BY_DATASET = {
    "Face300W": "300w",
    "Face300WLP": "300wlp",
    "FreiHand": "freihand2d",
    "H36MWholeBody": "coco_wholebody",
    "Human36m": "h36m",
    "InterHand2DDouble": "interhand2d",
}
# Metainfo files of data sets that have the keypoints of another one.
_SAME_KEYPOINTS = {"h3wb": "coco_wholebody", "human_art": "humanart"}


def with_trained_schema(source: ModelSource, meta: Mapping[str, Any]) -> ModelSource:
    """`source` with the keypoints that the checkpoint's `meta` says it was trained on, where it does.

    Meta data of another number of keypoints than the model has, and such as cannot be read, are left out, and a
    warning says so.
    """
    dataset_meta = meta.get("dataset_meta")
    if not isinstance(dataset_meta, Mapping) or "keypoint_id2name" not in dataset_meta or source.is_detector:
        return source
    try:
        trained = schema_from_dataset_meta(dataset_meta)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        logger.warning("The checkpoint's dataset_meta cannot be used, and is left out: %s", error)
        return source
    known = source.schema
    if known is not None and known.num_keypoints != trained.num_keypoints != source.num_keypoints:
        logger.warning(
            "The checkpoint's dataset_meta has %d keypoints, the model %d: it is left out.",
            trained.num_keypoints,
            known.num_keypoints,
        )
        return source
    if known is not None and known.keypoint_names == trained.keypoint_names:
        unsaid = [field for field, key in _META_KEYS.items() if dataset_meta.get(key) is None]
        trained = replace(trained, **{field: getattr(known, field) for field in unsaid})
    return replace(source, schema=trained)


# What MMPose calls the fields of a schema: `mmpose.datasets.datasets.utils.parse_pose_metainfo`.
_SAME_KEYS = ("flip_indices", "sigmas", "keypoint_colors", "upper_body_ids", "lower_body_ids", "stats_info")
_META_KEYS = {name: name for name in _SAME_KEYS} | {
    "skeleton": "skeleton_links",
    "joint_weights": "dataset_keypoint_weights",
    "skeleton_colors": "skeleton_link_colors",
}


def schema_from_dataset_meta(meta: Mapping[str, Any]) -> KeypointSchema:
    """The schema that a `dataset_meta` or a `dataset_info` of the reference describes.

    Where it says no flip indices, those that the names tell are taken; they stay unknown where these tell none.

    Raises:
        ConfigError: if it describes no keypoints, or its values disagree.
    """
    if "keypoint_info" in meta:
        return KeypointSchema.from_reference(meta)
    if "keypoint_id2name" not in meta:
        raise ConfigError(
            "This metainfo describes no keypoints: it has neither 'keypoint_info' nor 'keypoint_id2name' but "
            f"{', '.join(map(str, meta)) or 'nothing'}."
        )
    names = meta["keypoint_id2name"]
    values = {field: _plain(meta.get(key)) for field, key in _META_KEYS.items()}
    schema = KeypointSchema.from_dict(
        {
            **values,
            "name": meta.get("dataset_name") or "unnamed",
            "keypoint_names": [names[key] for key in sorted(names, key=int)],
        }
    )
    if schema.flip_indices is None:
        return replace(schema, flip_indices=generic_schema(schema.keypoint_names).flip_indices)
    return schema


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return None if value is None else np.asarray(value).tolist()


def datasets_of(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Data sets of the config, those for testing first, wrapped ones after their wrapper."""
    for key in ("test_dataloader", "val_dataloader", "train_dataloader"):
        dataset = (config.get(key) or {}).get("dataset")
        while isinstance(dataset, Mapping):
            yield dataset
            inner = dataset.get("dataset") or dataset.get("datasets")
            dataset = inner[0] if isinstance(inner, list) and inner else inner


def schema_from_config(config: Mapping[str, Any], path: Path) -> KeypointSchema | None:
    """Keypoint schema: `dataset_info` of the config, else the metainfo or the type of its data sets.

    Statistics are of training data, so a config without any has none.
    """
    if "dataset_info" in config:
        return KeypointSchema.from_reference(config["dataset_info"])
    schema = _schema_of_datasets(config, path)
    return replace(schema, stats_info=None) if schema is not None and "train_dataloader" not in config else schema


def _schema_of_datasets(config: Mapping[str, Any], path: Path) -> KeypointSchema | None:
    for dataset in datasets_of(config):
        metainfo = dataset.get("metainfo") or {}
        if "keypoint_info" in metainfo:
            return KeypointSchema.from_reference(metainfo)
        if "from_file" in metainfo:
            return schema_from_file(str(metainfo["from_file"]), path)
        kind, of_data_set, _ = str(dataset.get("type")).rsplit(".")[-1].partition("Dataset")
        if kind == "DeepFashion":
            return load_schema(f"deepfashion_{dataset.get('subset') or 'full'}")
        plain = {name.replace("_", ""): name for name in list_schemas()}
        if of_data_set and (name := _SCHEMA_BY_DATASET.get(kind) or plain.get(kind.lower())):
            return load_schema(name)
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
    stem = Path(name).stem.lower().replace("-", "_")
    stem = _SAME_KEYPOINTS.get(stem, stem)
    if stem in list_schemas():
        return load_schema(stem)
    named_by = f"{beside} takes its keypoints from {name}. " if beside else ""
    raise ConfigError(
        f"{named_by}There is neither a file {name!r} nor a known schema {Path(name).stem!r}; known are "
        f"{', '.join(list_schemas())}. Put the file there, or its content into `dataset_info`."
    )
