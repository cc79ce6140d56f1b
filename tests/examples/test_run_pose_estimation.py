"""The example script trains on the packaged scenes, and `pipeline` loads what it writes."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfpose
from small_models import save_model, small_model

datasets = pytest.importorskip("datasets")
SCRIPT = Path(__file__).parents[2] / "examples" / "pose-estimation" / "run_pose_estimation.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("run_pose_estimation", SCRIPT)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """The eight packaged scenes as a data set with the columns that the Hub's have."""
    folder = Path(str(files("hfpose") / "data" / "scenes"))
    content = json.loads((folder / "annotations.json").read_text())
    rows = []
    for image in content["images"]:
        people = [one for one in content["annotations"] if one["image_id"] == image["id"]]
        objects = {name: [one[name] for one in people] for name in ("bbox", "keypoints", "area")}
        rows.append({"image": str(folder / image["file_name"]), "objects": {**objects, "category": [0] * len(people)}})
    data = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
    path = tmp_path_factory.mktemp("data") / "scenes"
    data.save_to_disk(path)
    return path


@pytest.mark.parametrize("name", ["rtmpose", "rtmdet", "rtmo"])
def test_it_trains_measures_and_writes_a_model(name, script, scenes, tmp_path):
    save_model(name, tmp_path / "start")
    script.main(
        f"--model_name_or_path {tmp_path / 'start'} --dataset_name {scenes} --output_dir {tmp_path / 'out'} "
        "--do_train "
        "--do_eval --max_steps 2 --per_device_train_batch_size 4 --learning_rate 1e-4 --report_to none --use_cpu".split()
    )
    metrics = json.loads((tmp_path / "out" / "all_results.json").read_text())
    assert np.isfinite([metrics["train_loss"], metrics["eval_loss"]]).all()
    if name == "rtmpose":
        pipe = hfpose.pipeline("pose-estimation", model=tmp_path / "out", detector="whole_image", device="cpu")
        assert pipe(np.zeros((64, 64, 3), np.uint8)).keypoints.shape == (1, 17, 2)


def test_a_data_set_that_cannot_be_learned_from_is_one_sentence(script, scenes, tmp_path):
    data = datasets.load_from_disk(scenes)
    data.rename_column("objects", "annotations").save_to_disk(tmp_path / "renamed")
    data.map(lambda row: {"objects": {name: [] for name in row["objects"]}}).save_to_disk(tmp_path / "empty")
    for name, message in (("renamed", "rename_column"), ("empty", "nothing to learn")):
        with pytest.raises(ValueError, match=message):
            script.load_splits(script.DataArguments(str(tmp_path / name)), seed=0)


def test_images_whose_inputs_differ_in_size_are_one_batch(script):
    _, processor = small_model("dekr")
    objects = {"bbox": [[5, 5, 30, 30]], "keypoints": [[9, 9, 2] * 3], "area": [400.0]}
    samples = [{"image": Image.new("RGB", size), "objects": objects} for size in ((80, 60), (60, 90))]
    batch = script.collate(samples, processor)
    assert len(batch["pixel_values"]) == len(batch["labels"]) == 2
