"""Which keypoints annotations have: the schema that a file names, or that is given for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hfpose.annotations.coco_format import WHOLE_BODY, CocoFile, read_json
from hfpose.errors import ConfigError, InputError
from hfpose.keypoints import KeypointSchema, generic_schema, load_schema, schema_for_names


def annotated_schema(coco: CocoFile) -> KeypointSchema | None:
    """The schema of the keypoints that a file names: a known one with these names, else one made of names and
    skeleton.

    None for a file that does not name its keypoints. A file in COCO-WholeBody's format has whole bodies.

    Raises:
        InputError: if the names or flip pairs cannot be those of keypoints.
    """
    names = coco.keypoint_names
    if coco.has_whole_bodies:
        return load_schema(WHOLE_BODY)
    if names is None:
        return None
    if known := schema_for_names(names):
        return known
    flip_indices: Any = next((c["flip_idx"] for c in coco.keypoint_categories if c.get("flip_idx")), None)
    try:
        made = generic_schema(names)
        if flip_indices is not None:  # of YOLO; COCO has none
            made = KeypointSchema.from_dict(made.to_dict() | {"flip_indices": flip_indices})
    except ConfigError as error:
        raise InputError(f"The keypoints that {coco.path} names cannot be used. {error}") from error
    skeleton: Any = next((c["skeleton"] for c in coco.keypoint_categories if c.get("skeleton")), [])
    try:
        links = [[int(end) - 1 for end in link] for link in skeleton]  # COCO counts the ends from 1
        return KeypointSchema.from_dict(made.to_dict() | {"skeleton": links, "skeleton_colors": []})
    except (ConfigError, TypeError, ValueError):
        return made  # a skeleton is only for drawing


def unnamed_categories(coco: CocoFile) -> list[str]:
    """A line on annotations whose category names no keypoints, where another one does: their keypoints are not
    used."""
    used = coco.keypoint_category_ids
    others = [annotation for annotation in coco.annotations if annotation.get("category_id") not in used]
    if not others:
        return []
    names = {category.get("id"): category.get("name") for category in coco.categories}
    counts = Counter(names[annotation["category_id"]] for annotation in others)
    listed = ", ".join(f"{name} ({count})" for name, count in counts.most_common())
    annotated = sum(bool(annotation.get("keypoints")) for annotation in others)
    advice = f" Keypoints that {annotated} of these have are used if the category names them." if annotated else ""
    return [f"Annotations of categories that name no keypoints, which are not used: {listed}.{advice}"]


def check_keypoints(coco: CocoFile, schema: KeypointSchema) -> None:
    """
    Raises:
        InputError: if the file names other keypoints than the schema's.
    """
    names = coco.keypoint_names
    if names is None or names == schema.keypoint_names:
        return
    if coco.has_whole_bodies and schema.keypoint_names == load_schema(WHOLE_BODY).keypoint_names:
        return
    known = schema_for_names(names)
    if known is None or known.keypoint_names != schema.keypoint_names:
        raise InputError(
            f"{coco.path} has the {len(names)} keypoints {_shortened(names)}, but expected are the "
            f"{schema.num_keypoints} of the schema {schema.name!r}: {_shortened(schema.keypoint_names)}. "
            "Use annotations and a model or protocol of the same keypoints."
        )


def _shortened(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def read_schema(name_or_path: str | Path) -> KeypointSchema:
    """A schema by its name, or from a JSON file that `KeypointSchema.to_dict` wrote.

    Raises:
        ConfigError: for an unknown name or a file that describes no schema.
    """
    path = Path(name_or_path)
    if path.suffix.lower() != ".json":
        return load_schema(str(name_or_path))
    try:
        schema = KeypointSchema.from_dict(read_json(path))
    except ConfigError as error:
        raise ConfigError(f"{path} describes no keypoint schema. {error}") from error
    if schema.sigmas is not None and min(schema.sigmas) <= 0:
        raise ConfigError(f"{path} has the sigma {min(schema.sigmas):g}; expected numbers above 0, or none at all.")
    return schema
