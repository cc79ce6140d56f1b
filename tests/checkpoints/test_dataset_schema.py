"""Which keypoints a checkpoint and a config say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hfpose.checkpoints.dataset_schema import schema_from_config, schema_from_dataset_meta, with_trained_schema
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema, load_schema

NAMES = ("tip", "leftGrip", "rightGrip", "end")


def meta(names: tuple[str, ...] = NAMES, **changes: Any) -> dict[str, Any]:
    """`meta.dataset_meta` as the reference saves it."""
    count = len(names)
    values = {
        "dataset_name": "cane",
        "num_keypoints": count,
        "keypoint_id2name": dict(enumerate(names)),
        "flip_indices": [0, 2, 1, *range(3, count)],
        "skeleton_links": [(0, 1), (2, 3)],
        "keypoint_colors": np.full((count, 3), 99, np.uint8),
        "skeleton_link_colors": np.full((2, 3), 98, np.uint8),
        "dataset_keypoint_weights": np.ones(count, np.float32),
        "sigmas": np.full(count, 0.25, np.float32),
        "upper_body_ids": [0, 1],
        "lower_body_ids": [2, 3],
    }
    return values | changes


def source(schema: KeypointSchema | None = None, num_keypoints: int = 4, **reference: Any) -> ModelSource:
    return ModelSource("mine", "rtmpose", {"head": {"out_channels": num_keypoints}, **reference}, schema)


def test_the_checkpoint_says_names_flip_pairs_sigmas_skeleton_and_colors() -> None:
    schema = with_trained_schema(source(), {"dataset_meta": meta()}).schema
    assert schema is not None
    assert (schema.name, schema.keypoint_names, schema.flip_indices) == ("cane", NAMES, (0, 2, 1, 3))
    assert schema.sigmas == (0.25,) * 4
    assert schema.skeleton == ((0, 1), (2, 3))
    assert schema.keypoint_colors[0] == (99, 99, 99)
    assert schema.skeleton_colors[0] == (98, 98, 98)


def test_the_checkpoint_wins_over_the_config() -> None:
    """17 keypoints in another order than COCO's."""
    names = tuple(f"joint_{i}" for i in range(17))
    mirrors = [i ^ 1 if (i ^ 1) < 17 else i for i in range(17)]
    trained = with_trained_schema(source(load_schema("coco"), 17), {"dataset_meta": meta(names, flip_indices=mirrors)})
    assert trained.schema is not None
    assert trained.schema.flip_indices == tuple(mirrors)


def test_what_the_checkpoint_leaves_open_comes_from_the_config() -> None:
    coco = load_schema("coco")
    said = {"keypoint_id2name": dict(enumerate(coco.keypoint_names)), "sigmas": np.full(17, 0.5)}
    schema = with_trained_schema(source(coco, 17), {"dataset_meta": said}).schema
    assert schema is not None
    assert schema.sigmas == (0.5,) * 17
    assert (schema.flip_indices, schema.skeleton) == (coco.flip_indices, coco.skeleton)


def test_flip_pairs_that_nothing_says_stay_unknown() -> None:
    names = ("a", "b", "c", "d")
    assert schema_from_dataset_meta(meta(names, flip_indices=None)).flip_indices is None
    assert schema_from_dataset_meta(meta(flip_indices=None)).flip_indices == (0, 2, 1, 3)  # their names say them


@pytest.mark.parametrize(
    "given",
    [
        {"sigmas": np.ones(3)},
        meta(flip_indices=[3, 0, 1, 2]),
        meta(sigmas=np.ones(3)),
        meta(flip_indices=[np.inf, 0, 1, 2]),
        meta(keypoint_info={0: {}}),
        meta((*NAMES, "x")),
        "coco",
        None,
    ],
    ids=["no names", "no mirror", "too few sigmas", "no index", "no name", "another number", "text", "nothing"],
)
def test_meta_that_cannot_be_used_is_left_out(given: Any) -> None:
    known = load_schema("coco")
    assert with_trained_schema(source(known, 17), {"dataset_meta": given}).schema is known


def test_classes_of_a_detector_are_no_keypoints() -> None:
    assert with_trained_schema(source(bbox_head={}), {"dataset_meta": meta()}).schema is None


def test_the_number_of_the_head_decides() -> None:
    """The config names a data set of 17 keypoints, the head and the checkpoint have 4."""
    schema = with_trained_schema(source(load_schema("coco"), 4), {"dataset_meta": meta()}).schema
    assert schema is not None
    assert schema.num_keypoints == 4


@pytest.mark.parametrize(
    ("dataset", "name"),
    [
        ({"type": "AnimalKingdomDataset"}, "animalkingdom"),
        ({"type": "mmpose.LocustDataset"}, "locust"),
        ({"type": "DeepFashionDataset", "subset": "upper"}, "deepfashion_upper"),
        ({"type": "X", "metainfo": {"from_file": "configs/_base_/datasets/Human-Art.py"}}, "humanart"),
        ({"type": "X", "metainfo": {"from_file": "configs/_base_/datasets/deepfashion2.py"}}, "deepfashion2"),
    ],
)
def test_data_sets_of_the_reference(dataset: dict[str, Any], name: str) -> None:
    schema = schema_from_config({"test_dataloader": {"dataset": dataset}}, Path("c.py"))
    assert schema is not None
    assert schema.name == name


def test_a_metainfo_file_that_is_not_there() -> None:
    dataset = {"metainfo": {"from_file": "configs/_base_/datasets/cane.py"}}
    with pytest.raises(ConfigError, match=r"neither a file 'configs/_base_/datasets/cane\.py' nor a known schema"):
        schema_from_config({"test_dataloader": {"dataset": dataset}}, Path("c.py"))
