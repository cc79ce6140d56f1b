"""The command line as a user calls it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from command_line import run_command
from hfpose.cli import app
from hfpose.hub.zoo import list_entries


@pytest.mark.parametrize("arguments", [["--help"], ["models"]])
def test_answers_take_less_than_two_seconds(arguments):
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "hfpose", *arguments], capture_output=True, timeout=120)
    assert done.returncode == 0
    after = os.times()  # of the processor, whatever else the machine is doing
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2


def test_models_lists_every_name_once():
    listed = json.loads(run_command("models", "--json").stdout)
    assert [model["name"] for model in listed] == ["demo", "demo3d", *(entry.name for entry in list_entries())]
    human = next(model for model in listed if "human" in model["aliases"] and model["task"] == "pose")
    assert human["default_detector"] == "rtmdet_m_640-8xb32_coco-person"
    assert human["detector_labels"] == [0]


def test_models_tells_of_those_that_need_no_network():
    assert "demo and demo3d come with hfpose" in run_command("models").stdout


def test_models_of_one_task():
    table = run_command("models", "--task", "detector").stdout
    assert "rtmdet_m_640" in table
    assert "rtmpose-m" not in table
    assert run_command("models", "--task", "nonsense").returncode == 2


def test_predict_writes_predictions_and_images(tiny_pose, person_detector, photo, tmp_path):
    done = run_command("predict", photo, "--pose2d", tiny_pose, "--det-model", person_detector, "--out-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        rf"hfpose: 1 image, 4 instances in [\d.]+ s; results in {re.escape(str(tmp_path))}\n", done.stderr
    )
    people = json.loads((tmp_path / "predictions" / f"{photo.stem}.json").read_text())["predictions"]
    assert len(people) == 4
    with Image.open(tmp_path / "visualizations" / f"{photo.stem}.jpg") as drawn, Image.open(photo) as original:
        assert drawn.size == original.size


def test_one_bad_input_costs_the_exit_code_but_not_the_others(tiny_pose, person_detector, photo, tmp_path):
    done = run_command(
        *("predict", tmp_path / "missing.jpg", photo),
        *("--pose2d", tiny_pose, "--det-model", person_detector, "--pred-out-dir", tmp_path / "out"),
    )
    assert done.returncode == 1
    assert "missing.jpg" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / f"{photo.stem}.json").is_file()


def test_resume_skips_what_is_complete(tiny_pose, photo, tmp_path):
    command = ["predict", photo, "--pose2d", tiny_pose, "--det-model", "whole_image", "--pred-out-dir", tmp_path]
    assert run_command(*command).returncode == 0
    written = tmp_path / f"{photo.stem}.json"
    stamp = written.stat().st_mtime_ns
    assert run_command(*command, "--resume").returncode == 0
    assert written.stat().st_mtime_ns == stamp
    assert run_command(*command).returncode == 0
    assert written.stat().st_mtime_ns > stamp


def test_without_output_folders_a_line_says_what_was_found(tiny_pose, person_detector, photo):
    done = run_command("predict", photo, "--pose2d", tiny_pose, "--det-model", person_detector)
    assert done.stdout.strip().endswith("4 found, 0.88, 0.88, 0.75, 0.65")


def test_errors_are_one_line(tmp_path):
    done = run_command("predict", tmp_path / "x.jpg", "--pose2d", "humann")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "human" in done.stderr


def test_convert_and_its_errors(shared, tmp_path):
    checkpoint = shared / "weights" / "rtmdet_nano_person_folded.pth"
    name = "rtmdet_nano_320-8xb32_coco-person"
    done = run_command("convert", name, "--checkpoint", checkpoint, "--output", tmp_path / "converted")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (tmp_path / "converted" / "model.safetensors").is_file()
    wrong = run_command("convert", "rtmdet_s_8xb32-300e_coco", "--checkpoint", checkpoint, "--output", tmp_path / "no")
    assert wrong.returncode == 2
    assert "of another shape" in wrong.stderr
    assert "Traceback" not in wrong.stderr
    nothing = run_command("convert", "--checkpoint", checkpoint, "--output", tmp_path / "no")
    assert nothing.returncode == 2


def test_without_a_command_there_is_a_short_tour_whose_commands_exist():
    done = run_command()
    assert done.returncode == 0 and len(done.stdout.splitlines()) < 20
    listed = run_command("--help").stdout
    commands = set(re.findall(r"^  hfpose ([\w-]+) ", done.stdout, re.M))
    assert commands >= {"predict", "app", "train", "eval"}
    assert all(re.search(rf"^│ {command} ", listed, re.M) for command in commands)


def test_exit_codes_are_told_and_kept(monkeypatch):
    told = " ".join(run_command("--help").stdout.split())
    assert "Exit codes: 0: all was done; 1:" in told and "130: ended by Ctrl-C" in told
    assert run_command("predict", "missing.jpg", "--no-such-option").returncode == 2

    def interrupt(name: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("hfpose.cli.env._version", interrupt)
    assert run_command("env").returncode == 130


def test_colors_are_for_terminals_alone():
    for arguments in ([], ["--help"], ["predict", "--help"], ["models"], ["no-such-command"]):
        done = run_command(*arguments)
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell):
    environment = {"_HFPOSE_COMPLETE": f"complete_{shell}", "COMP_WORDS": "hfpose ev", "COMP_CWORD": "1"}
    environment |= {"_TYPER_COMPLETE_ARGS": "hfpose ev", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = CliRunner().invoke(app, [], env=environment, prog_name="hfpose")
    assert "eval-tracking" in done.stdout


@pytest.mark.parametrize(
    ("begun", "found"),
    [("rtmo-", "rtmo-s"), ("dem", "demo"), ("td-hm_res50_8xb64-210e_coco-2", "td-hm_res50_8xb64-210e_coco-256x192")],
)
def test_shells_complete_names_of_models(begun, found):
    environment = {
        "_HFPOSE_COMPLETE": "complete_bash",
        "COMP_WORDS": f"hfpose predict --pose2d {begun}",
        "COMP_CWORD": "3",
    }
    assert found in CliRunner().invoke(app, [], env=environment, prog_name="hfpose").stdout.split()
