"""Modes of an alias: pose model and detector together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hfpose
from hfpose.errors import ConfigError
from hfpose.hub.cache import models_dir
from hfpose.hub.modes import models_for_mode
from hfpose.hub.zoo import get_entry
from small_zoo import save_small_model

LIFTER = "video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m"


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with small models under the names of the lightweight pair, and a lifter."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HFPOSE_CACHE", str(tmp_path_factory.mktemp("store")))
    patch.setenv("HF_HUB_OFFLINE", "1")
    pose, detector = models_for_mode("wholebody", "lightweight")
    for name in (*models_for_mode("human", "lightweight"), pose, detector, LIFTER):
        folder = models_dir() / str(name)
        if not folder.exists():
            save_small_model(get_entry(str(name)), folder)
    yield models_dir()
    patch.undo()


def names(pipe: hfpose.PoseEstimationPipeline) -> tuple[str, str]:
    """Folders that the pose model and the detector came from."""
    assert pipe.detector is not None
    stages = (pipe.estimator.stage, pipe.detector.stage)
    pose, detector = (Path(stage.model.name_or_path).name for stage in stages)
    return pose, detector


@pytest.mark.parametrize("alias", ["human", "wholebody"])
def test_mode_chooses_both_models(alias: str) -> None:
    pipe = hfpose.pipeline("pose-estimation", model=alias, mode="lightweight", device="cpu")
    assert names(pipe) == models_for_mode(alias, "lightweight")
    assert pipe.detector.label_ids == [0]  # people alone, of 80 classes
    count = get_entry(alias, "pose").schema
    output = pipe(np.zeros((64, 64, 3), np.uint8), boxes=[[4, 4, 60, 60]])
    assert output.schema.name == count


def test_detector_may_be_another_one() -> None:
    pipe = hfpose.pipeline(model="human", mode="lightweight", detector="whole_image", device="cpu")
    assert pipe.detector is None and pipe.whole_image


def test_mode_is_for_the_model_before_a_lifter() -> None:
    pipe = hfpose.pipeline("pose-estimation-3d", model=LIFTER, mode="lightweight", device="cpu")
    assert Path(pipe.lifter.model.name_or_path).name == LIFTER
    output = pipe(np.zeros((64, 64, 3), np.uint8), boxes=[[4, 4, 60, 60]])
    assert output.keypoints.shape == (1, 17, 3)


def test_weights_of_a_mode_cannot_be_given() -> None:
    with pytest.raises(ConfigError, match="mode chooses the weights"):
        hfpose.pipeline(model="human", mode="lightweight", weights="mine.pth")


def test_rtmw_tells_what_is_visible_where_its_config_asks_for_it() -> None:
    folder = save_small_model(get_entry("rtmw-l-384"), models_dir() / "mine")
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    people = hfpose.pipeline(model=folder, detector="whole_image", device="cpu")(image)
    assert people.keypoints_visible.shape == (1, 133)
    assert (people.keypoints_visible >= 0).all() and (people.keypoints_visible <= 1).all()
    assert len(people.predictions[0]["keypoints_visible"]) == 133
    plain = hfpose.pipeline(model="wholebody", mode="lightweight", detector="whole_image", device="cpu")(image)
    assert plain.keypoints_visible is None
