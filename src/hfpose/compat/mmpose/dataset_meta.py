"""What MMPose calls `dataset_meta`: a keypoint schema as a plain dict.

Source: `mmpose.datasets.datasets.utils.parse_pose_metainfo`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.checkpoints.dataset_schema import schema_from_dataset_meta, schema_from_file
from hfpose.keypoints import KeypointSchema


def dataset_meta_of(schema: KeypointSchema) -> dict[str, Any]:
    """The schema in MMPose's words. Colors are red, green, blue."""
    names, mirrors = schema.keypoint_names, schema.flip_indices
    # Each pair both ways, as in the reference.
    pairs = None if mirrors is None else [(mirror, i) for i, mirror in enumerate(mirrors) if mirror != i]
    meta: dict[str, Any] = {
        "dataset_name": schema.name,
        "num_keypoints": schema.num_keypoints,
        "keypoint_id2name": dict(enumerate(names)),
        "keypoint_name2id": {name: i for i, name in enumerate(names)},
        "upper_body_ids": list(schema.upper_body_ids),
        "lower_body_ids": list(schema.lower_body_ids),
        "flip_indices": None if mirrors is None else list(mirrors),
        "flip_pairs": pairs,
        "keypoint_colors": np.array(schema.keypoint_colors, np.uint8).reshape(-1, 3),
        "num_skeleton_links": len(schema.skeleton),
        "skeleton_links": [tuple(link) for link in schema.skeleton],
        "skeleton_link_colors": np.array(schema.skeleton_colors, np.uint8).reshape(-1, 3),
        "dataset_keypoint_weights": np.array(schema.joint_weights, np.float32),
        "sigmas": np.array(schema.sigmas or (), np.float32),
    }
    if schema.stats_info is not None:
        meta["stats_info"] = {
            name: np.array(value if len(value) > 1 else value[0], np.float32)
            for name, value in schema.stats_info.items()
        }
    return meta


def schema_of(metainfo: str | Path | Mapping[str, Any]) -> KeypointSchema:
    """The schema that a `dataset_meta`, a `dataset_info`, or the file of one describes.

    Args:
        metainfo: what `dataset_meta_of` gives; a dict as in MMPose's `configs/_base_/datasets` files; or the path of
            such a file. Where no file is there, its base name is that of one of hfpose's schemas.

    Raises:
        ConfigError: if it describes no keypoints, or there is neither such a file nor such a schema.
    """
    if isinstance(metainfo, (str, Path)):
        return schema_from_file(str(metainfo))
    if "from_file" in metainfo:
        return schema_of(metainfo["from_file"])
    return schema_from_dataset_meta(metainfo)
