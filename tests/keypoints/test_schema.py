"""KeypointSchema: validation, dict round trip, MMPose's dataset_info."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema, list_schemas, load_schema


def small(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "small",
        "keypoint_names": ["nose", "left_eye", "right_eye"],
        "skeleton": [[0, 1], [0, 2]],
        "flip_indices": [0, 2, 1],
    }
    return {**values, **changes}


def test_missing_fields_take_neutral_values():
    schema = KeypointSchema.from_dict({"name": "dots", "keypoint_names": ["a", "b"]})
    assert schema.num_keypoints == 2
    assert schema.flip_indices is None
    assert schema.joint_weights == (1.0, 1.0)
    assert schema.sigmas is None
    assert schema.skeleton == ()
    assert len(schema.keypoint_colors) == 2


@pytest.mark.parametrize("name", list_schemas())
def test_dict_round_trip_through_json(name: str):
    schema = load_schema(name)
    assert KeypointSchema.from_dict(json.loads(json.dumps(schema.to_dict()))) == schema


def test_is_hashable_with_statistics():
    assert hash(load_schema("h36m")) == hash(KeypointSchema.from_dict(load_schema("h36m").to_dict()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": [[0, 3]]}, r"skeleton holds keypoint indices \[3\], but there are 3 keypoints"),
        ({"skeleton": [[0, -1]]}, r"skeleton holds keypoint indices \[-1\]"),
        ({"skeleton": [[0, 1, 2]]}, "pairs"),
        ({"flip_indices": [0, 2]}, "flip_indices must have 3 entries"),
        ({"flip_indices": [1, 2, 0]}, "flip_indices must undo itself"),
        ({"flip_indices": [0, 2, 5]}, r"flip_indices holds keypoint indices \[5\]"),
        ({"sigmas": [0.1]}, "sigmas must have 3 entries"),
        ({"joint_weights": [1.0]}, "joint_weights must have 3 entries"),
        ({"keypoint_colors": [[0, 0, 0]]}, "keypoint_colors must have 3 entries"),
        ({"keypoint_colors": [[0, 0, 256]] * 3}, "0 to 255"),
        ({"skeleton_colors": [[0, 0, 0]]}, "skeleton_colors must have 2 entries"),
        ({"upper_body_ids": [7]}, "upper_body_ids"),
        ({"keypoint_names": ["a", "a", "b"]}, "repeat: a"),
        ({"keypoint_names": []}, "keypoint_names"),
        ({"num_keypoints": 4}, "says num_keypoints=4 but names 3"),
        ({"flip_indices": ["x", 1, 2]}, "wrong type"),
        ({"flip_indices": [0.5, 1, 2]}, "whole numbers"),
        ({"sigmas": [float("nan"), 1, 1]}, "finite"),
        ({"keypoint_names": 5}, "needs 'keypoint_names': a list"),
        ({"keypoint_names": "abc"}, "needs 'keypoint_names': a list"),
        ({"groups": [1]}, "wrong type"),
        ({"stats_info": [1]}, "wrong type"),
        ({"keypoint_colors": [[float("inf"), 0, 0]] * 3}, "wrong type"),
        ({"skelton": []}, r"unknown fields \['skelton'\]"),
    ],
)
def test_bad_fields_are_named(change: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        KeypointSchema.from_dict(small(**change))


def test_from_dict_refuses_what_is_no_dict():
    with pytest.raises(ConfigError, match="list was given"):
        KeypointSchema.from_dict([1, 2])  # type: ignore[arg-type]


def test_index_names_the_schema_when_missing():
    assert load_schema("coco").index("left_wrist") == 9
    with pytest.raises(ConfigError, match="'coco' has no keypoint 'tail'"):
        load_schema("coco").index("tail")


DATASET_INFO = {
    "dataset_name": "arrow",
    "keypoint_info": {
        0: {"name": "tip", "id": 0, "color": [1, 2, 3], "type": "upper", "swap": ""},
        2: {"name": "right", "id": 2, "color": [7, 8, 9], "type": "lower", "swap": "left"},
        1: {"name": "left", "id": 1, "color": [4, 5, 6], "type": "lower", "swap": "right"},
    },
    "skeleton_info": {0: {"link": ("tip", "left"), "id": 0, "color": [0, 255, 0]}, 1: {"link": ("right", "tip")}},
    "joint_weights": [1.0, 1.5, 1.5],
    "sigmas": [0.1, 0.2, 0.2],
}


def test_from_reference_reads_dataset_info_in_index_order():
    schema = KeypointSchema.from_reference(DATASET_INFO)
    assert schema.name == "arrow"
    assert schema.keypoint_names == ("tip", "left", "right")
    assert schema.flip_indices == (0, 2, 1)
    assert schema.skeleton == ((0, 1), (2, 0))
    assert schema.keypoint_colors == ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    assert schema.skeleton_colors == ((0, 255, 0), (96, 96, 255))
    assert (schema.upper_body_ids, schema.lower_body_ids) == ((0,), (1, 2))
    assert schema.sigmas == (0.1, 0.2, 0.2)


def test_from_reference_reads_keys_that_json_made_strings():
    assert KeypointSchema.from_reference(json.loads(json.dumps(DATASET_INFO))) == KeypointSchema.from_reference(
        DATASET_INFO
    )


def test_from_reference_takes_empty_sigmas_as_unknown():
    assert KeypointSchema.from_reference({**DATASET_INFO, "sigmas": []}).sigmas is None


def test_from_reference_names_a_keypoint_that_does_not_exist():
    with pytest.raises(ConfigError, match="skeleton_info names keypoint 'tail'"):
        KeypointSchema.from_reference({**DATASET_INFO, "skeleton_info": {0: {"link": ("tip", "tail")}}})


def test_from_reference_needs_keypoint_info():
    with pytest.raises(ConfigError, match="no 'keypoint_info'"):
        KeypointSchema.from_reference({"dataset_name": "nothing"})
