"""The keypoint schemas that come with hfpose, one JSON file each in `data/`, and which of them a model config means."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints.names import flip_indices_from_names, plain_name
from hfpose.keypoints.schema import KeypointSchema

# Which schema a model with this many keypoints and nothing but generic labels is taken for.
_SCHEMA_BY_COUNT = {
    16: "mpii",
    17: "coco",
    20: "animalpose",
    21: "coco_wholebody_hand",
    26: "halpe26",
    42: "interhand3d",
    68: "coco_wholebody_face",
    98: "wflw",
    106: "lapa",
    133: "coco_wholebody",
    136: "halpe",
}


@cache
def list_schemas() -> tuple[str, ...]:
    """Names that `load_schema` knows, sorted. Those ending in `_openpose` are drawing styles."""
    files = resources.files("hfpose.keypoints").joinpath("data").iterdir()
    return tuple(sorted(file.name.removesuffix(".json") for file in files if file.name.endswith(".json")))


@cache
def load_schema(name: str) -> KeypointSchema:
    """The schema called `name`, for instance `load_schema("coco")`.

    Raises:
        ConfigError: If there is no such schema; the message suggests near names.
    """
    if name not in list_schemas():
        near = difflib.get_close_matches(str(name), list_schemas(), n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(list_schemas())}."
        raise ConfigError(f"Unknown keypoint schema {name!r}. {hint}")
    text = resources.files("hfpose.keypoints").joinpath("data", f"{name}.json").read_text(encoding="utf-8")
    return KeypointSchema.from_dict({"name": name, **json.loads(text)})


def schema_for_config(config: Any) -> KeypointSchema:
    """The schema of a model config.

    It is `config.keypoint_schema` (a dict or a `KeypointSchema`) where there is one. Else the labels decide: names that
    fit a known schema (transformers' ViTPose writes COCO's as "Nose", "L_Eye"), else names of their own, and with
    generic labels ("LABEL_0") the number of keypoints: 17 is COCO, 133 COCO-WholeBody. What fits nothing gets a schema
    without skeleton and mirror pairs.

    Raises:
        ConfigError: If `config.keypoint_schema` is not valid, or the config tells no number of keypoints.
    """
    given = getattr(config, "keypoint_schema", None)
    if isinstance(given, KeypointSchema):
        return given
    if given:
        return KeypointSchema.from_dict(given)

    id2label = getattr(config, "id2label", None) or {}
    labels = [str(id2label[key]) for key in sorted(id2label, key=int)]
    if not labels:
        raise ConfigError(
            f"{type(config).__name__} has neither 'keypoint_schema' nor 'id2label', so its keypoints are unknown. "
            'Set config.keypoint_schema, for instance to load_schema("coco").to_dict().'
        )
    if all(re.fullmatch(r"LABEL_\d+", label) for label in labels):
        known = _SCHEMA_BY_COUNT.get(len(labels))
        return load_schema(known) if known else generic_schema([f"keypoint_{i}" for i in range(len(labels))])
    return schema_for_names(labels) or generic_schema(labels)


def generic_schema(keypoint_names: Sequence[str]) -> KeypointSchema:
    """A schema named "unnamed" without skeleton, with the flip pairs that the names tell: unknown where they tell none."""
    return KeypointSchema("unnamed", tuple(keypoint_names), flip_indices=flip_indices_from_names(keypoint_names))


def schema_for_names(keypoint_names: Sequence[str]) -> KeypointSchema | None:
    """The known schema with these keypoints in this order, None if there is none; "L_Eye" is "left_eye"."""
    names = [plain_name(name) for name in keypoint_names]
    # "coco" before the data sets that share its names, such as "humanart".
    for candidate in sorted(list_schemas(), key=lambda name: (name not in _SCHEMA_BY_COUNT.values(), name)):
        schema = load_schema(candidate)
        if names == [plain_name(name) for name in schema.keypoint_names]:
            return schema
    return None
