"""Labels and keypoint schema of a configuration agree at any time."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForPoseEstimation

import hfpose
from hfpose.errors import ConfigError
from hfpose.keypoints import schema_for_config
from hfpose.models.auto import FAMILIES
from hfpose.models.shared.configuration import KeypointConfig

CONFIGS: list[Any] = [
    family.load("configuration") for family in FAMILIES if issubclass(family.load("configuration"), KeypointConfig)
]
HAND = hfpose.load_schema("coco_wholebody_hand")


@pytest.mark.parametrize("config_class", CONFIGS, ids=lambda config_class: config_class.__name__)
def test_another_number_of_labels_gives_a_schema_of_that_size(config_class: Any) -> None:
    written = config_class(keypoint_schema=hfpose.load_schema("interhand3d").to_dict()).to_dict()
    config = config_class.from_dict(written, num_labels=6)
    assert len(config.id2label) == len(config.keypoint_schema["keypoint_names"]) == 6
    assert config.keypoint_schema["name"] == "unnamed"


def test_names_of_other_keypoints_give_their_schema() -> None:
    written = hfpose.RTMPoseConfig(keypoint_schema=hfpose.load_schema("coco").to_dict()).to_dict()
    config = hfpose.RTMPoseConfig.from_dict(written, id2label=dict(enumerate(HAND.keypoint_names)))
    assert config.keypoint_schema == HAND.to_dict()


def test_a_schema_alone_names_the_labels() -> None:
    config = hfpose.RTMPoseConfig(keypoint_schema=HAND.to_dict())
    assert config.id2label == dict(enumerate(HAND.keypoint_names))


def test_a_broken_schema_is_refused_where_it_is_read() -> None:
    with pytest.raises(ConfigError, match="needs 'keypoint_names'"):
        hfpose.RTMPoseConfig(keypoint_schema={"name": "mine"})


def test_a_model_loaded_for_other_keypoints_runs_in_a_pipeline(
    tiny_pose: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="hfpose"):
        model = AutoModelForPoseEstimation.from_pretrained(tiny_pose, num_labels=7, ignore_mismatched_sizes=True)
    assert "'coco' of 17 keypoints is not that of the model's 7 labels" in caplog.text
    model.save_pretrained(tmp_path)
    hfpose.RTMPoseImageProcessor().save_pretrained(tmp_path)
    pipe = hfpose.pipeline("pose-estimation", model=tmp_path, detector="whole_image")
    people = pipe("docs/pictures/scene.jpg")
    assert people.keypoints.shape == (1, 7, 2)
    assert schema_for_config(pipe.estimator.stage.model.config).skeleton == ()
