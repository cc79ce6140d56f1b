"""Keypoint schemas in MMPose's words."""

from __future__ import annotations

import numpy as np
import pytest

from hfpose.compat.mmpose.dataset_meta import dataset_meta_of, schema_of
from hfpose.errors import ConfigError
from hfpose.keypoints import list_schemas, load_schema

INFO = """
dataset_info = dict(dataset_name='arrow', keypoint_info={
    0: dict(name='tip', color=[1, 2, 3], swap=''), 1: dict(name='left', swap='right'), 2: dict(name='right', swap='left')},
    skeleton_info={0: dict(link=('tip', 'left'))}, joint_weights=[1., 1., 1.], sigmas=[.1, .1, .1])
"""


def test_the_meta_of_coco():
    meta = dataset_meta_of(load_schema("coco"))
    assert meta["dataset_name"] == "coco"
    assert meta["num_keypoints"] == len(meta["keypoint_id2name"]) == 17
    assert meta["keypoint_name2id"]["left_wrist"] == 9
    assert meta["flip_indices"][9] == 10
    assert (10, 9) in meta["flip_pairs"]
    assert meta["skeleton_links"][0] == (15, 13)
    assert meta["keypoint_colors"].shape == (17, 3)
    assert meta["skeleton_link_colors"].dtype == np.uint8
    assert meta["sigmas"].shape == meta["dataset_keypoint_weights"].shape == (17,)


@pytest.mark.parametrize("name", [name for name in list_schemas() if not name.endswith("_openpose")])
def test_there_and_back(name):
    schema = load_schema(name)
    again = schema_of(dataset_meta_of(schema))
    for field in ("name", "keypoint_names", "skeleton", "flip_indices", "keypoint_colors", "skeleton_colors"):
        assert getattr(again, field) == getattr(schema, field)


def test_statistics_of_a_lifters_data():
    meta = dataset_meta_of(load_schema("h36m"))
    np.testing.assert_allclose(meta["stats_info"]["bbox_center"], [528.0, 427.0])
    assert meta["stats_info"]["bbox_scale"].shape == ()
    assert meta["sigmas"].shape == (0,)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "arrow.py"
    path.write_text(INFO)
    for given in (path, str(path), {"from_file": str(path)}):
        assert schema_of(given).flip_indices == (0, 2, 1)


def test_a_file_of_mmpose_that_is_not_there():
    assert schema_of("config/_base_/datasets/coco_wholebody.py") == load_schema("coco_wholebody")
    with pytest.raises(ConfigError, match="nor a known schema 'nothing'"):
        schema_of("configs/nothing.py")


def test_something_else():
    with pytest.raises(ConfigError, match="describes no keypoints"):
        schema_of({"classes": ("person",)})
