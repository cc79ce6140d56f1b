"""The schemas that come along, and which one a model config means."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import VitPoseConfig

from hfpose.errors import ConfigError
from hfpose.keypoints import KeypointSchema, list_schemas, load_schema, schema_for_config

# Schemas of published models whose data set has no file in the reference.
OWN_SCHEMAS = {"coco_aic", "goliath"}


def test_every_schema_equals_the_reference(shared: Path):
    facts = sorted((shared / "facts" / "datasets").glob("*.json"))
    assert {path.stem for path in facts} == {*list_schemas()} - OWN_SCHEMAS
    for path in facts:
        expected, schema = json.loads(path.read_text()), load_schema(path.stem).to_dict()
        for name in (
            "keypoint_names",
            "flip_indices",
            "skeleton",
            "keypoint_colors",
            "skeleton_colors",
            "upper_body_ids",
            "lower_body_ids",
        ):
            assert schema[name] == expected[name], (path.stem, name)
        for name in ("joint_weights", "sigmas"):
            np.testing.assert_array_equal(np.float32(schema.get(name, [])), np.float32(expected[name]), path.stem)
        statistics = {name: np.atleast_1d(value).tolist() for name, value in (expected["stats_info"] or {}).items()}
        assert schema.get("stats_info", {}) == statistics


def test_coco_has_cocos_sigmas_and_mirror_pairs():
    coco = load_schema("coco")
    assert coco.sigmas is not None
    assert coco.sigmas[0] == 0.026
    assert [coco.keypoint_names[i] for i in coco.flip_indices[5:7]] == ["right_shoulder", "left_shoulder"]
    assert coco.name == "coco"


def test_unknown_schema_suggests_near_names():
    with pytest.raises(ConfigError, match=r"Did you mean .*coco_wholebody"):
        load_schema("coco_wholbody")


def test_a_path_is_no_schema_name(tmp_path: Path):
    (tmp_path / "evil.json").write_text('{"keypoint_names": ["a"]}')
    with pytest.raises(ConfigError, match="Unknown keypoint schema"):
        load_schema(str(tmp_path / "evil"))


def labels(*names: str) -> SimpleNamespace:
    return SimpleNamespace(id2label=dict(enumerate(names)))


def test_config_carries_its_own_schema():
    mine = KeypointSchema("mine", ("a", "b"))
    assert schema_for_config(SimpleNamespace(keypoint_schema=mine.to_dict(), id2label={0: "a", 1: "B"})) == mine
    assert schema_for_config(SimpleNamespace(keypoint_schema=mine)) is mine


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["LABEL_0", "LABEL_1"], ["a", "b"]),
        (["LABEL_0"], ["keypoint_0"]),
        (["LABEL_0", "LABEL_1", "LABEL_2"], ["keypoint_0", "keypoint_1", "keypoint_2"]),
        (["left_x", "right_x"], ["left_x", "right_x"]),
    ],
)
def test_labels_win_over_a_schema_of_other_keypoints(names: list[str], expected: list[str]):
    config = SimpleNamespace(
        keypoint_schema=KeypointSchema("mine", ("a", "b")).to_dict(), id2label=dict(enumerate(names))
    )
    assert list(schema_for_config(config).keypoint_names) == expected


def test_config_with_a_broken_schema_is_refused():
    with pytest.raises(ConfigError, match="skeleton"):
        schema_for_config(SimpleNamespace(keypoint_schema={"keypoint_names": ["a"], "skeleton": [[0, 1]]}))


def test_transformers_vitpose_labels_are_coco():
    names = ["Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow"]
    names += ["L_Wrist", "R_Wrist", "L_Hip", "R_Hip", "L_Knee", "R_Knee", "L_Ankle", "R_Ankle"]
    config = VitPoseConfig(id2label=dict(enumerate(names)))
    assert schema_for_config(config) is load_schema("coco")


@pytest.mark.parametrize(
    "count, name", [(17, "coco"), (133, "coco_wholebody"), (26, "halpe26"), (21, "coco_wholebody_hand")]
)
def test_generic_labels_go_by_their_number(count: int, name: str):
    assert schema_for_config(labels(*[f"LABEL_{i}" for i in range(count)])) is load_schema(name)


def test_names_win_over_numbers():
    h36m = load_schema("h36m")
    assert schema_for_config(labels(*h36m.keypoint_names)) is h36m


def test_names_of_no_schema_make_one_with_their_mirror_pairs():
    schema = schema_for_config(labels(*[f"part {i}" for i in range(15)], "Left tip", "Right tip"))
    assert schema.name == "unnamed"
    assert schema.num_keypoints == 17
    assert schema.keypoint_names[15:] == ("Left tip", "Right tip")
    assert schema.flip_indices == (*range(15), 16, 15)


def test_an_unusual_number_makes_a_schema_without_links():
    schema = schema_for_config(labels(*[f"LABEL_{i}" for i in range(5)]))
    assert (schema.num_keypoints, schema.skeleton, schema.flip_indices) == (5, (), None)


def test_a_config_that_tells_nothing_is_refused():
    with pytest.raises(ConfigError, match="keypoint_schema"):
        schema_for_config(SimpleNamespace(hidden_size=3))
