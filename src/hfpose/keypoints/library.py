"""The keypoint schemas that come with hfpose, one JSON file each in `data/`, and which of them a model config
means."""

from __future__ import annotations

import difflib
import json
import logging
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from hfpose.errors import ConfigError
from hfpose.keypoints.names import flip_indices_from_names, plain_name
from hfpose.keypoints.schema import KeypointSchema

logger = logging.getLogger(__name__)

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
    308: "goliath",
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

    It is `config.keypoint_schema` (a dict or a `KeypointSchema`) where there is one of as many keypoints, by the same
    names, as there are labels. Else the labels decide, since the head goes by them: names that fit a known schema
    (transformers' ViTPose writes COCO's as "Nose", "L_Eye"), else names of their own, and with generic labels
    ("LABEL_0") the number of keypoints: 17 is COCO, 133 COCO-WholeBody. What fits nothing, and generic labels instead
    of a schema of another number, get a schema without skeleton and flip pairs; a warning says so.

    Raises:
        ConfigError: If `config.keypoint_schema` is not valid, or the config tells no number of keypoints.
    """
    given = getattr(config, "keypoint_schema", None)
    if given and not isinstance(given, KeypointSchema):
        given = KeypointSchema.from_dict(given)
    id2label = getattr(config, "id2label", None) or {}
    labels = [str(id2label[key]) for key in sorted(id2label, key=int)]
    are_generic = all(re.fullmatch(r"LABEL_\d+", label) for label in labels)
    if given:
        if (are_generic and len(labels) in (0, given.num_keypoints)) or _same_names(labels, given.keypoint_names):
            return given
        _warn_of_other_labels(given.name, given.num_keypoints, len(labels))
    elif not labels:
        raise ConfigError(
            f"{type(config).__name__} has neither 'keypoint_schema' nor 'id2label', so its keypoints are unknown. "
            'Set config.keypoint_schema, for instance to load_schema("coco").to_dict().'
        )
    if are_generic:
        return numbered_schema(len(labels)) if given else schema_for_count(len(labels))
    return schema_for_names(labels) or generic_schema(labels)


@cache  # once for each
def _warn_of_other_labels(name: str, num_keypoints: int, num_labels: int) -> None:
    logger.warning(
        "The keypoint_schema %r of %d keypoints is not that of the model's %d labels, by which its head goes. Names, "
        "skeleton and flip pairs are taken from the labels, as far as these tell; set config.keypoint_schema to "
        "describe them.",
        name,
        num_keypoints,
        num_labels,
    )


def _same_names(names: Sequence[str], others: Sequence[str]) -> bool:
    return [plain_name(name) for name in names] == [plain_name(name) for name in others]


def generic_schema(keypoint_names: Sequence[str]) -> KeypointSchema:
    """A schema named "unnamed" without skeleton, with the flip pairs that the names tell: unknown where they tell
    none."""
    return KeypointSchema("unnamed", tuple(keypoint_names), flip_indices=flip_indices_from_names(keypoint_names))


def numbered_schema(num_keypoints: int) -> KeypointSchema:
    """The `generic_schema` of so many keypoints without names."""
    return generic_schema([f"keypoint_{i}" for i in range(num_keypoints)])


def schema_for_count(num_keypoints: int) -> KeypointSchema:
    """What so many keypoints without names are taken for: 17 are COCO's; a schema without skeleton where that is not
    known."""
    known = _SCHEMA_BY_COUNT.get(num_keypoints)
    return load_schema(known) if known else numbered_schema(num_keypoints)


def schema_for_names(keypoint_names: Sequence[str]) -> KeypointSchema | None:
    """The known schema with these keypoints in this order, None if there is none; "L_Eye" is "left_eye"."""
    # "coco" before the data sets that share its names, such as "humanart".
    for candidate in sorted(list_schemas(), key=lambda name: (name not in _SCHEMA_BY_COUNT.values(), name)):
        schema = load_schema(candidate)
        if _same_names(keypoint_names, schema.keypoint_names):
            return schema
    return None
