from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hfpose.errors import ConfigError
from hfpose.keypoints import load_schema
from hfpose.keypoints.human36m import keypoints_to_h36m

NAMES = ["aic", "coco", "coco_wholebody", "crowdpose", "h36m", "halpe", "halpe26", "humanart", "mpii", "posetrack18"]


def random_pose(schema: str) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 500, (2, load_schema(schema).num_keypoints, 2)).astype(np.float32)


def named(converted: np.ndarray, name: str) -> np.ndarray:
    return converted[:, load_schema("h36m").index(name)]


@pytest.mark.parametrize("schema", NAMES)
def test_limbs_keep_their_place(schema: str) -> None:
    keypoints = random_pose(schema)
    converted, _ = keypoints_to_h36m(keypoints, None, schema)
    assert converted.shape == (2, 17, 2)
    ankle = "right_foot" if schema == "h36m" else "right_ankle"
    for name, source in {"right_foot": ankle, "left_wrist": "left_wrist", "right_elbow": "right_elbow"}.items():
        np.testing.assert_allclose(named(converted, name), keypoints[:, load_schema(schema).index(source)], rtol=1e-6)


@pytest.mark.parametrize("schema", NAMES)
def test_mirrored_pose_converts_to_the_mirrored_conversion(schema: str) -> None:
    keypoints = random_pose(schema)
    mirrored, _ = keypoints_to_h36m(keypoints[:, list(load_schema(schema).flip_indices)], None, schema)
    converted, _ = keypoints_to_h36m(keypoints, None, schema)
    # Posetrack's head is the middle of head_bottom and head_top, which are no mirror pair.
    np.testing.assert_allclose(mirrored, converted[:, list(load_schema("h36m").flip_indices)], rtol=1e-5)


def test_trunk_of_coco() -> None:
    """Places that `mmpose.apis.convert_keypoint_definition` gives."""
    keypoints = random_pose("coco")
    converted, _ = keypoints_to_h36m(keypoints, None, "coco")
    hips, shoulders = keypoints[:, 11:13].mean(1), keypoints[:, 5:7].mean(1)
    np.testing.assert_allclose(named(converted, "root"), hips, rtol=1e-5)
    np.testing.assert_allclose(named(converted, "thorax"), shoulders, rtol=1e-5)
    np.testing.assert_allclose(named(converted, "spine"), (hips + shoulders) / 2, rtol=1e-5)
    np.testing.assert_allclose(named(converted, "neck_base"), keypoints[:, 0], rtol=1e-5)
    np.testing.assert_allclose(named(converted, "head"), keypoints[:, 1:3].mean(1), rtol=1e-5)


@pytest.mark.parametrize(("schema", "neck", "top"), [("aic", 13, 12), ("crowdpose", 13, 12)])
def test_head_between_neck_and_top(schema: str, neck: int, top: int) -> None:
    """Places that `mmpose.apis.convert_keypoint_definition` gives."""
    keypoints = random_pose(schema)
    converted, _ = keypoints_to_h36m(keypoints, None, schema)
    expected = (3 * keypoints[:, neck] + keypoints[:, top]) / 4
    np.testing.assert_allclose(named(converted, "neck_base"), expected, rtol=1e-5)
    expected = (5 * keypoints[:, neck] + 7 * keypoints[:, top]) / 12
    np.testing.assert_allclose(named(converted, "head"), expected, rtol=1e-5)


def test_halpe_has_hip_neck_and_head_of_its_own() -> None:
    """Places that `halpe2h36m` of MotionBERT's authors gives."""
    keypoints = random_pose("halpe26")
    converted, _ = keypoints_to_h36m(keypoints, None, "halpe26")
    for name, source in {"root": 19, "thorax": 18, "head": 17, "neck_base": 0}.items():
        np.testing.assert_allclose(named(converted, name), keypoints[:, source], rtol=1e-6)
    np.testing.assert_allclose(named(converted, "spine"), keypoints[:, 18:20].mean(1), rtol=1e-5)


def test_score_is_that_of_the_least_certain_source() -> None:
    scores = np.linspace(0.1, 0.9, 17, dtype=np.float32)[None]
    _, converted = keypoints_to_h36m(random_pose("coco")[:1], scores, "coco")
    assert named(converted, "root") == scores[0, 11]
    assert named(converted, "left_wrist") == scores[0, 9]
    assert named(converted, "head") == scores[0, 1]


def test_schema_of_another_name_is_known_by_its_keypoints() -> None:
    schema = replace(load_schema("coco"), name="mine")
    keypoints = random_pose("coco")
    expected, _ = keypoints_to_h36m(keypoints, None, "coco")
    np.testing.assert_array_equal(keypoints_to_h36m(keypoints, None, schema)[0], expected)


def test_animals_cannot_be_lifted() -> None:
    with pytest.raises(ConfigError, match=r"ap10k.*coco"):
        keypoints_to_h36m(random_pose("ap10k"), None, "ap10k")
