"""Keypoint schemas: names, skeleton, flip pairs, evaluation constants and colors, one data file each."""

from hfpose.keypoints.library import generic_schema, list_schemas, load_schema, schema_for_config, schema_for_names
from hfpose.keypoints.schema import Color, KeypointSchema

__all__ = [
    "Color",
    "KeypointSchema",
    "generic_schema",
    "list_schemas",
    "load_schema",
    "schema_for_config",
    "schema_for_names",
]
