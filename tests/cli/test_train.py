"""`hfpose train` as a user calls it, also one who pulls the plug."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import hfpose
from coco_files import write_people
from hfpose.annotations import read_coco, write_yolo
from hfpose.cli import app
from hfpose.errors import InputError
from processes import COMMAND, RunningPython


@pytest.fixture
def small_pose(tmp_path) -> Path:
    schema = hfpose.load_schema("coco")
    torch.manual_seed(0)
    model = hfpose.RTMPoseForPoseEstimation(
        hfpose.RTMPoseConfig(
            backbone_config=hfpose.CSPNeXtBackboneConfig(depth_multiplier=0.167, width_multiplier=0.125),
            image_size=(64, 64), hidden_size=32, attention_size=16,
            id2label=dict(enumerate(schema.keypoint_names)), keypoint_schema=schema.to_dict(),
        )
    )  # fmt: skip
    folder = tmp_path / "small-pose"
    model.save_pretrained(folder)
    hfpose.RTMPoseImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def arguments(model: Path, data: Path, output: Path) -> list[str]:
    options = ("--steps", 12, "--batch-size", 4, "--save-steps", 3, "--log-steps", 6, "--workers", 1, "--cpu")
    return [*map(str, ("train", "--model", model, "--data", data, "--output", output, *options))]


def run(*given: Path):
    result = CliRunner().invoke(app, arguments(*given))
    if result.exception is not None:
        raise result.exception
    return result


def test_a_run_that_is_killed_and_called_again_ends_as_one_that_is_not(small_pose, tmp_path):
    (tmp_path / "data").mkdir()
    data = write_people(tmp_path / "data")
    done = run(small_pose, data, tmp_path / "whole")
    assert done.stderr == ""
    assert "step      6/12  loss" in done.stdout and "Wrote" in done.stdout

    command = f"import os; os.setsid(); os.nice(10); {COMMAND}"
    with RunningPython(command, tmp_path, {}, tuple(arguments(small_pose, data, tmp_path / "killed"))) as killed:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "killed").glob("checkpoints/checkpoint-6/average.safetensors")):
            assert killed.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(killed.pid, 9)  # with its worker; wherever it was after the second checkpoint
    assert not (tmp_path / "killed/config.json").exists()

    again = run(small_pose, data, tmp_path / "killed")
    assert "Going on from" in again.stdout
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert whole.keys() == resumed.keys()
    assert all(torch.allclose(whole[name], resumed[name], rtol=1e-5, atol=1e-7) for name in whole)


def test_broken_annotations_are_one_clear_error_and_leave_nothing_behind(small_pose, tmp_path):
    data = tmp_path / "people.json"
    data.write_text('{"images": [{"id"')
    with pytest.raises(InputError, match="not valid JSON"):
        run(small_pose, data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_yolo_folders_are_trained_on_and_measured_by_their_splits(small_pose, tmp_path):
    coco = read_coco(write_people(tmp_path, 2))
    for split in ("train", "val"):
        write_yolo(coco, hfpose.load_schema("coco"), tmp_path / "yolo", split)
    data = tmp_path / "yolo" / "data.yaml"
    options = ["--val-data", str(data), "--steps", "1", "--workers", "0"]
    result = CliRunner().invoke(app, [*arguments(small_pose, data, tmp_path / "tuned"), *options])
    assert result.exit_code == 0, result.output
    assert "On data.yaml" in result.stdout and (tmp_path / "tuned" / "config.json").is_file()
