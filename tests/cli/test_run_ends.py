"""How the command line describes itself and how its runs end: summaries, interrupts, errors of the system."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

import hfpose
from command_line import run_command
from file_server import Fault, FileServer
from hfpose import cli
from hfpose.__main__ import main as entry_point
from hfpose.cli.run_report import RunReport, naming_resume
from hfpose.errors import ConfigError
from hfpose.media.frames import Frame, MediaItem
from hfpose.results import PoseOutput
from processes import COMMAND, RunningPython, finished
from small_zoo import write_video


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    options = {"stdout": subprocess.PIPE, **options}
    return subprocess.run(
        [sys.executable, "-m", "hfpose", *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        **options,
    )


def has_begun(partial: Path) -> bool:
    return partial.is_file() and partial.stat().st_size > 2000


def interrupt(process: RunningPython, is_time: Callable[[], bool]) -> str:
    """What a run says on stderr that is interrupted at a time."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not is_time():
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    return told


def test_version():
    assert run_command("--version").stdout == f"hfpose {hfpose.__version__}\n"


def test_env_tells_versions_devices_and_caches(tmp_path):
    done = finished(COMMAND, tmp_path, {"HF_HOME": str(tmp_path)}, ("env",))
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith("cache of"))
    assert rows["hfpose"] == hfpose.__version__
    assert {"torch", "transformers", "cpu", "Python"} <= rows.keys()
    assert rows["cache"].startswith(str(tmp_path))


COMMANDS = typer.main.get_command(cli.app).commands


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example_that_parses(name):
    command = COMMANDS[name]
    program, _, rest = command.epilog.removeprefix("Example: hfpose ").partition(" ")
    assert program == name
    command.make_context(name, rest.split())


# Ends of runs


def test_the_end_of_a_run_tells_what_was_left_out_and_skipped(tiny_pose, photo, tmp_path):
    folder = tmp_path / "in"
    (folder / "trap.jpg").mkdir(parents=True)
    (folder / "clip.mp4").touch()
    (folder / "a.jpg").symlink_to(photo)
    (folder / "bad.jpg").write_bytes(b"nothing")
    arguments = ("predict", folder, "--pose2d", tiny_pose, "--det-model", "whole_image", "--out-dir", tmp_path / "out")
    lines = run_command(*arguments).stderr.splitlines()
    assert f"{folder / 'bad.jpg'}" in lines[0]
    assert lines[1].startswith("hfpose: 1 image, 1 instance in ")
    assert lines[2] == "hfpose: 1 error, see above"
    assert sorted(line.rpartition("/")[2] for line in lines[3:]) == ["clip.mp4", "trap.jpg"]
    assert all(line.startswith("hfpose: left out: 1 x ") for line in lines[3:])
    again = run_command(*arguments, "--resume").stderr
    assert "hfpose: 0 images, 0 instances" in again
    assert "hfpose: 1 input skipped: complete since an earlier run" in again


def test_the_end_of_a_run_over_a_video_counts_frames(tiny_pose, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", 3)
    done = run_command(
        "predict", clip, "--pose2d", tiny_pose, "--det-model", "whole_image", "--pred-out-dir", tmp_path / "p"
    )
    assert "hfpose: 3 video frames, 3 instances in " in done.stderr
    assert done.stderr.endswith(f"; results in {tmp_path / 'p'}\n")


@pytest.mark.parametrize("kind", ["folder", "video"])
def test_an_interrupt_names_resume_and_leaves_nothing_half_written(kind, tiny_pose, photo, tmp_path):
    if kind == "folder":
        source = tmp_path / "in"
        source.mkdir()
        for number in range(200):
            (source / f"{number}.jpg").symlink_to(photo)
    else:
        source = write_video(tmp_path / "clip.mp4", 300)
    out = tmp_path / "out"
    arguments = ["predict", source, "--pose2d", tiny_pose, "--det-model", "whole_image", "--out-dir", out]
    process = RunningPython(COMMAND, tmp_path, {}, arguments)
    partial = out / "predictions" / ".clip.json.part"
    told = interrupt(process, lambda: has_begun(partial) or len(list(out.glob("predictions/*.json"))) > 5)
    assert re.fullmatch(
        rf"hfpose: Stopping.\nhfpose: Interrupted after \d+ (image|frame)s?; what is complete is in {re.escape(str(out))}. "
        r"To go on, run the same command with --resume.\n",
        told,
    )
    for path in out.glob("predictions/*.json"):
        assert len(json.loads(path.read_text())["predictions"]) == 1
    assert kind == "folder" or not (out / "predictions" / "clip.json").exists()


def test_an_interrupt_of_a_camera_keeps_what_was_found(tiny_pose, photo, tmp_path):
    jpeg = photo.read_bytes()
    images = (b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(jpeg), jpeg)) * 2000
    out = tmp_path / "out"
    with FileServer({"/video.mjpg": images}) as server:
        multipart = {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
        server.add_fault("/video.mjpg", Fault(headers=multipart, no_length=True, delay=0.002))
        arguments = ["predict", f"{server.url}/video.mjpg", "--pose2d", tiny_pose, "--det-model", "whole_image"]
        process = RunningPython(COMMAND, tmp_path, {}, [*arguments, "--out-dir", out])
        partial = out / "predictions" / ".video.json.part"
        told = interrupt(process, lambda: has_begun(partial))
    assert f"; results in {out}." in told
    assert len(json.loads((out / "predictions" / "video.json").read_text())["frames"]) > 0
    assert [path.name for path in (out / "visualizations").iterdir()] == ["video.mp4"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_folder_that_is_a_file_is_one_sentence(place, tiny_pose, photo, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = run_command("predict", photo, "--pose2d", tiny_pose, "--out-dir", tmp_path / place)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"'{tmp_path / 'file'}' is a file" in line
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_one_sentence():
    with Path("/dev/full").open("w") as full:
        done = run("models", stdout=full)
    assert (done.returncode, done.stderr) == (1, "hfpose: No space left on device.\n")


@pytest.mark.parametrize("images", [0, 3])
def test_a_full_disk_names_resume_where_something_was_done(images, capsys):
    report = RunReport("out")
    for number in range(images):
        nobody = PoseOutput(np.zeros((0, 17, 2)), np.zeros((0, 17)))
        report.add(Frame(MediaItem(number, "image", str(number))), nobody)
    with pytest.raises(OSError, match="full"), naming_resume(report):
        raise OSError("full")
    told = capsys.readouterr().err
    assert ("after 3 images; what is complete is in out" in told and "--resume" in told) if images else not told


def test_a_result_that_cannot_be_written_is_one_sentence_and_leaves_no_file(tiny_pose, photo, tmp_path):
    command = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500)); {COMMAND}"
    arguments = ("predict", photo, "--pose2d", tiny_pose, "--det-model", "whole_image", "--out-dir", tmp_path / "out")
    done = finished(command, tmp_path, {}, arguments)
    assert (done.returncode, done.stderr) == (1, "hfpose: File too large.\n")
    assert not [path for path in (tmp_path / "out").rglob("*.j*") if path.name != "manifest.jsonl"]


@pytest.mark.parametrize("argument", ["--version", "models"])
def test_a_closed_pipe_is_one_sentence(argument):
    reader, writer = os.pipe()
    os.close(reader)
    done = run(argument, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "hfpose: What read the output has ended before all was written.\n")


def test_an_error_of_a_library_is_one_line(monkeypatch, capsys):
    def fail() -> None:
        raise OSError("first line\nsecond line")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert (end.value.code, capsys.readouterr().err) == (1, "hfpose: first line second line\n")


@pytest.mark.usefixtures("heard_interrupts")
def test_an_interrupt_that_a_library_turns_into_an_error_is_an_interrupt(monkeypatch, capfd):
    def load() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as error:
            raise ConfigError("The model cannot be built.") from error

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "app", load)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert (end.value.code, capfd.readouterr().err) == (130, "hfpose: Stopping.\n")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_command_behind_nohup_ignores_ctrl_c(monkeypatch):
    monkeypatch.setattr(cli, "app", lambda: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        cli.main()
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_the_commands_are_imported_is_no_traceback(monkeypatch):
    class Interrupted:
        def find_spec(self, *_: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "hfpose.cli")
    monkeypatch.setattr(sys, "meta_path", [Interrupted()])
    with pytest.raises(SystemExit) as end:
        entry_point()
    assert end.value.code == 130
