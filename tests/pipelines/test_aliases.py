"""Every alias of MMPose's inference guide, from a store of converted checkpoints with seeded weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import hfpose
from golden import FOLDERS
from hfpose.hub.cache import models_dir
from hfpose.hub.zoo import WHOLE_IMAGE, ModelEntry, find_entry, get_entry
from seedweights import tensor_for
from small_zoo import save_small_model

IMAGES = {
    "animal": "ap10k_37516.jpg",
    "face": "wflw_cheering.jpg",
    "hand": "onehand_9.jpg",
    "hand3d": "interhand_69148.jpg",
}
KEYPOINTS = {"animal": 17, "body26": 26, "face": 106, "hand": 21, "wholebody": 133, "hand3d": 42}
ALIASES = [
    "human",
    "body26",
    "wholebody",
    "face",
    "hand",
    "animal",
    "vitpose",
    "vitpose-s",
    "vitpose-b",
    "human3d",
    "hand3d",
    "vitpose-l",
    "vitpose-h",
]


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory) -> Path:
    """Folder for our cache."""
    return tmp_path_factory.mktemp("store")


def put(entry: ModelEntry, folder: Path) -> None:
    """Convert a checkpoint with seeded weights of the reference's naming to where the official one would be."""
    if (folder / "config.json").is_file():
        return
    spec = next(path for place in FOLDERS for path in place.glob(f"*/{entry.name}.json"))
    shapes = json.loads(spec.read_text())["state_dict"]
    state = {name: torch.from_numpy(np.asarray(tensor_for(name, shape))) for name, shape in shapes.items()}
    checkpoint = folder.parent / f"{entry.name}.pth"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"meta": {}, "state_dict": state}, checkpoint)
    hfpose.convert_checkpoint(entry.name, checkpoint, folder, task=entry.task)
    checkpoint.unlink()


def parts(alias: str) -> list[ModelEntry]:
    """The models that an alias stands for: itself, a 2D model before it, a detector."""
    entry = find_entry(alias, "pose") or get_entry(alias, "lifter")
    found = [entry]
    if entry.default_pose:
        found.append(get_entry(entry.default_pose, "pose"))
    if entry.default_detector not in (None, WHOLE_IMAGE):
        found.append(get_entry(entry.default_detector, "detector"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_runs_with_its_detector(alias, store, shared, monkeypatch):
    monkeypatch.setenv("HFPOSE_CACHE", str(store))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for entry in parts(alias):
        put(entry, models_dir() / entry.name)
    check(alias, shared)


def test_a_small_model_runs_by_its_alias(shared, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for entry in parts("hand"):
        save_small_model(entry, models_dir() / entry.name)
    check("hand", shared)


def check(alias: str, shared: Path) -> None:
    """Whether an alias finds instances with its keypoints in an image."""
    pipe = hfpose.pipeline("pose-estimation", model=alias)
    image = shared / "images" / IMAGES.get(alias, "coco_785.jpg")
    output = pipe(image)
    if alias == "animal":  # of 80 classes the seeded detector sees others than animals
        assert pipe.detector.label_ids == list(range(15, 24))
        output = pipe(image, boxes=[[100, 100, 600, 700]])
    assert output.num_instances >= 1
    assert output.keypoints.shape[1:] == (KEYPOINTS.get(alias, 17), 3 if alias.endswith("3d") else 2)
    assert np.isfinite(output.keypoints).all()
