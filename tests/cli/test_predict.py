"""`hfpose predict`: the flags of MMPose's demo, videos, broken and long inputs, killed runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from PIL import Image

import hfpose
from clips import write_frames
from command_line import run_command
from hfpose import cli
from hfpose.media.sources import open_source
from hfpose.pipelines import identities
from processes import COMMAND, RunningPython, finished

# Source: demo/inferencer_demo.py of MMPose 1.3.2. None: ours differs on purpose, as --help says.
DEMO_DEFAULTS = {
    "--pose2d": None,
    "--pose2d-weights": None,
    "--pose3d": None,
    "--pose3d-weights": None,
    "--det-model": None,
    "--det-weights": None,
    "--det-cat-ids": None,
    "--scope": "mmpose",
    "--device": None,
    "--show-progress": False,
    "--show": False,
    "--draw-bbox": False,
    "--draw-heatmap": False,
    "--bbox-thr": 0.3,
    "--nms-thr": None,
    "--pose-based-nms": "false",
    "--kpt-thr": 0.3,
    "--tracking-thr": 0.3,
    "--use-oks-tracking": False,
    "--disable-norm-pose-2d": False,
    "--disable-rebase-keypoint": False,
    "--num-instances": -1,  # the demo's 1 leaves all others out of the drawing
    "--radius": None,
    "--thickness": None,
    "--skeleton-style": "mmpose",
    "--black-background": False,
    "--vis-out-dir": None,
    "--pred-out-dir": None,
    "--show-alias": False,
}


def predict(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    done = run_command("predict", *arguments)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def whole(tiny_pose) -> list[object]:
    """Options for a small model without a detector."""
    return ["--pose2d", tiny_pose, "--det-model", "whole_image", "--device", "cpu"]


@pytest.fixture
def quickly(quick) -> list[object]:
    """Options for a model that takes a millisecond for an image."""
    return ["--pose2d", quick, "--det-model", "whole_image", "--device", "cpu"]


def noise(seed: int = 0, height: int = 120, width: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def write_images(folder: Path, count: int, height: int = 120, width: int = 160) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.fromarray(noise(index, height, width)).save(folder / f"{index:04d}.jpg", quality=80)
    return folder


def write_clip(path: Path, num_frames: int, height: int = 120, width: int = 160) -> Path:
    return write_frames(path, (noise(seed, height, width) for seed in range(num_frames)))


def is_summary(text: str) -> bool:
    """Whether nothing but the line at the end of a run was told."""
    return (
        re.fullmatch(r"hfpose: \d+ (image|video frame)s?, \d+ instances? in [\d.]+ s; results in \S+\n", text)
        is not None
    )


def video_facts(path: Path) -> dict[str, float]:
    capture = cv2.VideoCapture(str(path))
    sizes = (cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
    facts = [capture.get(prop) for prop in sizes]
    frames = 0
    while capture.read()[0]:
        frames += 1
    return {"fps": facts[0], "width": facts[1], "height": facts[2], "frames": frames}


def results(folder: Path) -> dict[str, bytes]:
    """The files that a run has completed, by name."""
    places = [path for part in ("predictions", "visualizations") for path in sorted((folder / part).rglob("*"))]
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in places
        if path.is_file() and not path.name.startswith(".")
    }


def saved(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder / f"{name}.jpg") as image:
        return np.asarray(image)


# The flags of MMPose's demo


def test_every_flag_of_mmposes_demo_with_its_default():
    command = typer.main.get_command(cli.app).commands["predict"]
    ours = {name: param.default for param in command.params for name in param.opts}
    assert {flag: ours[flag] for flag in DEMO_DEFAULTS} == DEMO_DEFAULTS


def test_show_alias():
    code, out, _ = predict("--show-alias")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["ALIAS", "MODEL_NAME"]
    assert ["human", "rtmpose-m_8xb256-420e_body8-256x192"] in [line.split() for line in lines]
    assert lines[1:] == sorted(lines[1:])
    assert "rtmdet-m" in predict("--show-alias", "--scope", "mmdet")[1]


def test_show_alias_is_quick():
    before = os.times()
    done = subprocess.run([sys.executable, "-m", "hfpose", "predict", "--show-alias"], capture_output=True, timeout=60)
    assert done.returncode == 0
    after = os.times()  # of the processor, which a machine with other work does not change much
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2


def test_without_inputs():
    code, _, err = predict()
    assert code == 2
    assert "INPUTS" in err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--scope", "mmyolo"], "mmyolo"),
        (["--pose-based-nms", "perhaps"], "neither true nor false"),
        (["--workers", "4"], "has no effect without --ray"),
        (["--pose3d", "human3d", "--draw-heatmap"], "has no effect with --pose3d"),
        (["--people-together"], "has no effect without --format"),
        (["--canvas-size", "64", "64"], "has no effect without --format openpose"),
    ],
)
def test_values_that_cannot_be(whole, photo, arguments, reason):
    code, _, err = predict(photo, *whole, *arguments)
    assert code == 2
    assert reason in err


def test_det_cat_ids_takes_several_numbers(tiny_pose, person_detector, photo):
    model = ["--pose2d", tiny_pose, "--det-model", person_detector, "--device", "cpu"]
    for given in (["--det-cat-ids", "0"], ["--det-cat-ids", "0", "0"], ["--det-cat-ids", "person"]):
        code, out, _ = predict(*model, *given, "--show-progress", photo)
        assert code == 0
        assert "4 found" in out
    code, _, err = predict(*model, photo, "--det-cat-ids", "0", "7", "--bbox-thr", "0.3")
    assert code != 0
    assert "no class 7" in err


def test_weights(tiny_pose, shared, photo, monkeypatch, tmp_path):
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    code, out, _ = predict(
        *(photo, "--pose2d", tiny_pose, "--det-model", "rtmdet_nano_320-8xb32_coco-person", "--device", "cpu"),
        *("--det-weights", shared / "weights" / "rtmdet_nano_person_folded.pth"),
    )
    assert code == 0
    assert "4 found" in out
    code, _, err = predict(photo, "--pose2d", "human", "--pose2d-weights", tmp_path / "none.pth")
    assert code == 2
    assert "none.pth" in err


def test_thresholds_and_pose_based_nms(tiny_pose, person_detector, photo):
    def found(*arguments):
        _, out, _ = predict(
            photo, "--pose2d", tiny_pose, "--det-model", person_detector, "--device", "cpu", *arguments
        )
        return int(out.split(": ")[1].split()[0])

    assert found() == 4
    assert found("--bbox-thr", 0.8) == 2
    many = ("--bbox-thr", 0.05, "--nms-thr", 0.95)
    assert found(*many, "--pose-based-nms", "True") < found(*many, "--pose-based-nms", "no")


def test_drawing(whole, tmp_path):
    folder = write_images(tmp_path / "in", 2)

    def drawn(*arguments):
        assert predict(folder, *whole, "--kpt-thr", -100, "--vis-out-dir", tmp_path / "out", *arguments)[0] == 0
        return np.concatenate([saved(tmp_path / "out", f"{index:04d}") for index in range(2)])

    plain = drawn()
    for arguments in (
        ["--draw-bbox"],
        ["--radius", "9"],
        ["--thickness", "9"],
        ["--kpt-thr", "100"],
        ["--skeleton-style", "openpose"],
        ["--black-background"],
        ["--flip-test"],
    ):
        assert (drawn(*arguments) != plain).any(), arguments
    assert drawn("--draw-heatmap").shape == (2 * 240, 160, 3)


def test_show(whole, screen, tmp_path):
    folder = write_images(tmp_path / "in", 3)
    screen.keys = [32, 32, 32]
    assert predict(folder, *whole, "--show")[0] == 0
    assert len(screen.shown) == 3
    assert screen.open == set()
    screen.waits.clear()
    predict(folder, *whole, "--show", "--wait-time", "0.03")
    assert 60 <= sum(screen.waits) <= 200
    screen.keys = [32, 27]
    screen.shown.clear()
    code, out, _ = predict(folder, *whole, "--show")
    assert (code, len(screen.shown), len(out.splitlines())) == (0, 2, 2)


def test_leaving_a_video_at_the_window_gives_it_no_name(whole, screen, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", 6)
    screen.keys = [-1, 27]
    predict(clip, *whole, "--show", "--out-dir", tmp_path / "out")
    assert results(tmp_path / "out") == {}


def test_show_without_a_screen(whole, photo, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, _, err = predict(photo, *whole, "--show")
    assert code == 2
    assert "no screen" in err
    assert len(err.splitlines()) == 1


def test_show_progress(whole, photo, tmp_path):
    for arguments, shown in (([], False), (["--show-progress"], True)):
        _, _, err = predict(photo, *whole, "--pred-out-dir", tmp_path, *arguments)
        assert ("1/1" in err) is shown


def test_3d(tiny_pose, tiny_lifter, tmp_path):
    image = write_images(tmp_path / "in", 1) / "0000.jpg"
    model = ["--pose2d", tiny_pose, "--pose3d", tiny_lifter, "--det-model", "whole_image", "--device", "cpu"]

    def run(*arguments):
        code, _, err = predict(image, *model, "--out-dir", tmp_path / "out", *arguments)
        assert code == 0 and is_summary(err)
        (person,) = json.loads((tmp_path / "out" / "predictions" / "0000.json").read_text())["predictions"]
        return np.array(person["keypoints"]), saved(tmp_path / "out" / "visualizations", "0000")

    keypoints, image_of_one = run()
    assert keypoints.shape == (17, 3)
    assert keypoints[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert run("--disable-rebase-keypoint")[0][0].tolist() == pytest.approx([0, 0, 0], abs=1e-6)
    assert not np.allclose(run("--disable-norm-pose-2d")[0], keypoints)
    np.testing.assert_array_equal(run("--num-instances", "3")[1], image_of_one)  # of one person there is one panel


def test_motion_files_of_people_in_3d(tiny_pose, tiny_lifter, tmp_path):
    images = write_images(tmp_path / "in", 1)
    model = [
        "--pose2d",
        tiny_pose,
        "--det-model",
        "whole_image",
        "--device",
        "cpu",
        "--pred-out-dir",
        tmp_path / "out",
    ]
    names = ["--joint-names", "mixamo", "--length-unit", "centimeters"]
    code, _, err = predict(images, *model, *names, "--pose3d", tiny_lifter, "--format", "bvh", "--format", "trc,glb")
    assert code == 0 and is_summary(err)
    files = sorted(
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*.*")
        if path.name[0] != "."
    )
    trc = ["trc/0000/0000_person0.trc", "trc/0000/markers.xml"]
    assert files == ["bvh/0000/0000_person0.bvh", "glb/0000/0000_person0.glb", *trc]
    assert "ROOT mixamorig:Hips" in (tmp_path / "out" / files[0]).read_text()
    code, out, err = predict(images, *model, "--format", "bvh")
    assert code == 2 and "2D" in err and "--pose3d" in err
    assert "found" not in out
    code, _, err = predict(images, *model, "--pred-out-dir", tmp_path / "flat", "--root", "planar")
    assert code == 2 and "root='planar' has no effect here" in err


def test_files_of_motions_have_people_tracked(tiny_pose, tmp_path):
    clip, out = write_clip(tmp_path / "clip.mp4", 4), tmp_path / "out"
    model = ["--pose2d", tiny_pose, "--det-model", "whole_image", "--device", "cpu", "--pred-out-dir", out]
    code, _, err = predict(clip, *model, "--format", "Angles, json")
    assert code == 0, err
    assert (out / "angles" / "clip" / "clip_track0.csv").read_text().count("\n") == 5


def test_tracks_of_files_are_linked_unless_frames_are_shown(whole, screen, tmp_path, monkeypatch):
    linked = []
    monkeypatch.setattr(identities, "relink_tracks", lambda outputs, *_: linked.append(len(outputs)))
    clip, model = write_clip(tmp_path / "clip.mp4", 4), [*whole, "--pred-out-dir", tmp_path / "out", "--track"]
    screen.keys = [32] * 4
    for options in ([], ["--show"], ["--no-link-tracks"], ["--link-tracks", "--draw-heatmap"]):
        assert predict(clip, *model, *options)[0] == 0
    assert linked == [4, 4]


def test_tracking_in_3d(tiny_pose, tiny_lifter, person_detector, shared, tmp_path):
    clip = shared / "videos" / "people.mp4"
    model = ["--pose2d", tiny_pose, "--pose3d", tiny_lifter, "--det-model", person_detector, "--device", "cpu"]

    def identities(*arguments):
        assert predict(clip, *model, "--pred-out-dir", tmp_path / "out", *arguments)[0] == 0
        frames = json.loads((tmp_path / "out" / "people.json").read_text())["frames"]
        return [[person["track_id"] for person in frame["predictions"]] for frame in frames]

    by_box, by_keypoints = (
        identities("--tracking-thr", "0.6"),
        identities("--tracking-thr", "0.6", "--use-oks-tracking"),
    )
    assert by_box != by_keypoints  # random weights put keypoints here and there
    assert identities("--tracking-thr", "1")[-1] != by_box[-1]


def test_a_3d_model_given_as_a_2d_one(tiny_lifter, photo, tiny_pose, monkeypatch):
    """As for `pipeline`, its name is enough."""
    make = hfpose.pipeline
    monkeypatch.setattr(
        "hfpose.distributed.job.pipeline",
        lambda task, **options: make(task, **{**options, "pose": tiny_pose, "detector": "whole_image"}),
    )
    code, out, _ = predict(photo, "--pose2d", tiny_lifter, "--device", "cpu")
    assert code == 0
    assert "1 found" in out


# Videos


@pytest.mark.parametrize("name", ["demo", "people"])
def test_frames_in_are_frames_out(whole, shared, tmp_path, name):
    clip = shared / "videos" / f"{name}.mp4"
    code, _, err = predict(clip, *whole, "--out-dir", tmp_path)
    assert code == 0 and is_summary(err)
    assert video_facts(tmp_path / "visualizations" / f"{name}.mp4") == video_facts(clip)
    frames = json.loads((tmp_path / "predictions" / f"{name}.json").read_text())["frames"]
    assert [frame["frame_index"] for frame in frames] == list(range(int(video_facts(clip)["frames"])))
    assert all(len(frame["predictions"]) == 1 for frame in frames)


def test_people_are_found_in_a_video(tiny_pose, person_detector, shared, tmp_path):
    clip = shared / "videos" / "people.mp4"
    predict(clip, "--pose2d", tiny_pose, "--det-model", person_detector, "--device", "cpu", "--pred-out-dir", tmp_path)
    frames = json.loads((tmp_path / "people.json").read_text())["frames"]
    assert all(frame["predictions"] for frame in frames)


def test_a_video_that_breaks_off_gives_its_readable_frames(whole, tmp_path):
    path = write_frames(tmp_path / "cut.avi", map(noise, range(20)), "MJPG")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    readable = int(video_facts(path)["frames"])
    assert 5 < readable < 15
    code, _, err = predict(path, *whole, "--out-dir", tmp_path / "out")
    assert code == 1
    assert "breaks off" in err
    assert len(json.loads((tmp_path / "out" / "predictions" / "cut.json").read_text())["frames"]) == readable
    assert video_facts(tmp_path / "out" / "visualizations" / "cut.mp4")["frames"] == readable


# Killed runs


def kill_when(arguments: list[object], folder: Path, reached: Callable[[], bool]) -> None:
    """Start the command in a folder, and kill it as soon as `reached` is true."""
    command = f"import os; os.nice(10); {COMMAND}"  # on a busy machine this process goes first
    with RunningPython(command, folder, {}, tuple(arguments)) as process:
        deadline = time.monotonic() + 60
        while not reached():
            assert process.poll() is None, "it ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)


def command(arguments: list[object], out_dir: Path) -> list[object]:
    return ["predict", *arguments, "--out-dir", out_dir]


def test_a_killed_folder_run_can_be_resumed(quickly, tmp_path):
    arguments = [write_images(tmp_path / "in", 60, height=48, width=64), *quickly]
    out = tmp_path / "killed"
    kill_when(command(arguments, out), tmp_path, lambda: len(list(out.glob("predictions/*.json"))) >= 5)
    done = results(out)
    assert len(done) < 120
    for name, data in done.items():  # whole, each of them
        if name.endswith(".json"):
            assert len(json.loads(data)["predictions"]) == 1
        else:
            with Image.open(out / name) as image:
                image.load()
    stamps = {name: (out / name).stat().st_mtime_ns for name in done if name.endswith(".json")}
    assert predict(*arguments, "--out-dir", out, "--resume")[0] == 0
    untouched = [name for name, stamp in stamps.items() if (out / name).stat().st_mtime_ns == stamp]
    assert len(untouched) >= 4  # the last may have lacked its image
    assert predict(*arguments, "--out-dir", tmp_path / "undisturbed")[0] == 0
    assert results(out) == results(tmp_path / "undisturbed")
    assert not list(out.rglob("*.part*"))


def test_a_killed_video_run_can_be_resumed(quickly, tmp_path):
    arguments = [write_clip(tmp_path / "clip.mp4", 60, height=48, width=64), *quickly]
    out = tmp_path / "killed"
    partial = out / "predictions" / ".clip.json.part"
    kill_when(
        command(arguments, out), tmp_path, lambda: partial.is_file() and partial.read_bytes().count(b"frame_index") > 5
    )
    assert results(out) == {}
    so_far = json.loads(partial.read_text())["frames"]  # valid up to the last frame
    assert [frame["frame_index"] for frame in so_far] == list(range(len(so_far)))
    assert predict(*arguments, "--out-dir", out, "--resume")[0] == 0
    assert predict(*arguments, "--out-dir", tmp_path / "undisturbed")[0] == 0
    resumed, undisturbed = results(out), results(tmp_path / "undisturbed")
    assert resumed.keys() == undisturbed.keys() == {"predictions/clip.json", "visualizations/clip.mp4"}
    # x264 does not write the same bytes for the same images each time, so of the video the frames are counted.
    assert resumed["predictions/clip.json"] == undisturbed["predictions/clip.json"]
    assert len(list(open_source(out / "visualizations" / "clip.mp4"))) == 60
    assert not list(out.rglob("*.part*"))
    assert len(json.loads(resumed["predictions/clip.json"])["frames"]) == 60


# Long runs

MEASURE = """
import glob, json, sys, threading, time
from hfpose import cli

def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024

def watch():
    while not stop.is_set():
        samples.append((len(glob.glob(sys.argv[-1] + "/predictions/*.json")), resident()))
        stop.wait(0.1)

samples, stop = [], threading.Event()
thread = threading.Thread(target=watch)
thread.start()
try:
    cli.main()
except SystemExit as end:
    code = end.code
stop.set()
thread.join()
early = next(memory for count, memory in samples if count >= 50)
print(json.dumps({"code": code, "growth": max(memory for count, memory in samples if count >= 50) - early}))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_memory_stays_while_many_images_go_through(quickly, tmp_path):
    folder = tmp_path / "in"
    write_images(folder, 20, height=48, width=64)
    for index in range(20, 300):
        shutil.copy(folder / f"{index % 20:04d}.jpg", folder / f"{index:04d}.jpg")
    arguments = ["predict", folder, *quickly, "--batch-size", "16", "--out-dir", tmp_path / "out"]
    done = finished(MEASURE, tmp_path, {}, tuple(arguments))
    measured = json.loads(done.stdout.splitlines()[-1])
    assert not measured["code"], done.stderr
    assert len(list((tmp_path / "out" / "predictions").iterdir())) == 300
    assert len(list((tmp_path / "out" / "visualizations").iterdir())) == 300
    assert measured["growth"] < 25, f"grew by {measured['growth']:.0f} MB"
    print(f"memory grew by {measured['growth']:.1f} MB")
