"""What MMPose calls `dataset_meta`: a keypoint schema as a plain dict.

Source: `mmpose.datasets.datasets.utils.parse_pose_metainfo`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema


def dataset_meta_of(schema: KeypointSchema) -> dict[str, Any]:
    """The schema in MMPose's words. Colors are red, green, blue."""
    names = schema.keypoint_names
    # Each pair both ways, as in the reference.
    pairs = [(mirror, i) for i, mirror in enumerate(schema.flip_indices) if mirror != i]
    meta: dict[str, Any] = {
        "dataset_name": schema.name,
        "num_keypoints": schema.num_keypoints,
        "keypoint_id2name": dict(enumerate(names)),
        "keypoint_name2id": {name: i for i, name in enumerate(names)},
        "upper_body_ids": list(schema.upper_body_ids),
        "lower_body_ids": list(schema.lower_body_ids),
        "flip_indices": list(schema.flip_indices),
        "flip_pairs": pairs,
        "keypoint_colors": np.array(schema.keypoint_colors, np.uint8).reshape(-1, 3),
        "num_skeleton_links": len(schema.skeleton),
        "skeleton_links": [tuple(link) for link in schema.skeleton],
        "skeleton_link_colors": np.array(schema.skeleton_colors, np.uint8).reshape(-1, 3),
        "dataset_keypoint_weights": np.array(schema.joint_weights, np.float32),
        "sigmas": None if schema.sigmas is None else np.array(schema.sigmas, np.float32),
    }
    if schema.stats_info is not None:
        meta["stats_info"] = {name: np.array(value, np.float32) for name, value in schema.stats_info.items()}
    return meta


def schema_of(metainfo: str | Path | Mapping[str, Any]) -> KeypointSchema:
    """The schema that a `dataset_meta`, a `dataset_info`, or the file of one describes.

    Args:
        metainfo: what `dataset_meta_of` gives; a dict as in MMPose's `configs/_base_/datasets` files; or the path of such
            a file. Where no file is there, its base name is that of one of hfpose's schemas.

    Raises:
        ConfigError: if it describes no keypoints, or there is neither such a file nor such a schema.
    """
    if isinstance(metainfo, (str, Path)):
        from hfpose.checkpoints.custom import schema_from_file

        return schema_from_file(str(metainfo))
    if "from_file" in metainfo:
        return schema_of(metainfo["from_file"])
    if "keypoint_info" in metainfo:
        return KeypointSchema.from_reference(metainfo)
    if "keypoint_id2name" not in metainfo:
        raise ConfigError(
            f"This metainfo describes no keypoints: it has neither 'keypoint_info' nor 'keypoint_id2name' but "
            f"{', '.join(map(str, metainfo)) or 'nothing'}."
        )
    names = metainfo["keypoint_id2name"]
    return KeypointSchema.from_dict(
        {
            "name": metainfo.get("dataset_name", "unnamed"),
            "keypoint_names": [names[key] for key in sorted(names, key=int)],
            "skeleton": metainfo.get("skeleton_links"),
            "flip_indices": metainfo.get("flip_indices"),
            "upper_body_ids": metainfo.get("upper_body_ids"),
            "lower_body_ids": metainfo.get("lower_body_ids"),
            "keypoint_colors": _plain(metainfo.get("keypoint_colors")),
            "skeleton_colors": _plain(metainfo.get("skeleton_link_colors")),
        }
    )


def _plain(colors: Any) -> list[list[int]] | None:
    return None if colors is None else np.asarray(colors).tolist()
