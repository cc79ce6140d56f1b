"""`hfpose download`, `cache` and `push` as a user calls them."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from checkpoint_host import CheckpointHost, zoo_environment
from command_line import run_command
from fake_conversion import convert
from golden import Golden
from hfpose import PoseEstimationPipeline
from hub_server import USER, HubServer
from processes import COMMAND, RunningPython, finished
from small_models import small_model

DETECTOR = "rtmdet_nano_320-8xb32_hand"
PUSH_ALL = Path(__file__).resolve().parents[2] / "conversion/push_all.py"
OTHER = "rtmdet_tiny_8xb32-300e_coco"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Folder of two models in a cache, as converted before."""
    folder = tmp_path / "cache/models/v1"
    folder.mkdir(parents=True)
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(bytes(2_000_000))
    for name in (DETECTOR, OTHER):
        convert(name, checkpoint, folder / name)
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    with HubServer(tmp_path / "hub") as server:
        yield server


def hfpose(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own where libraries read the environment when they are imported."""
    settings = {"HF_HOME": str(tmp_path / "home"), "HFPOSE_CACHE": str(tmp_path / "cache"), **environment}
    if environment:
        return finished(COMMAND, tmp_path, settings, arguments)
    return run_command(*arguments, folder=tmp_path, environment=settings)


def test_download_fetches_what_it_can_and_says_what_it_could_not(tmp_path: Path) -> None:
    with CheckpointHost() as host:
        checkpoint = Golden("detect", DETECTOR).write_checkpoint(tmp_path / "checkpoint.pth").read_bytes()
        host.add(DETECTOR, checkpoint)
        zoo = zoo_environment(host.write_zoo(tmp_path / "zoo.json"))
        done = hfpose(tmp_path, "download", "nothing", OTHER, DETECTOR, **zoo)
        assert done.returncode == 1
        assert done.stdout.splitlines() == [f"{DETECTOR}:", f"  {tmp_path}/cache/models/v1/{DETECTOR}"]
        unknown, missing = done.stderr.splitlines()
        assert unknown.startswith("hfpose: nothing: The zoo has no model called 'nothing'")
        assert missing.startswith(f"hfpose: {OTHER}: '{OTHER}' is not in the cache, and There is no file at")
        again = hfpose(tmp_path, "download", DETECTOR, **zoo, HF_HUB_OFFLINE="1")
        assert (again.returncode, again.stdout) == (0, done.stdout)


def test_convert_says_what_it_left_out(tmp_path: Path) -> None:
    state = {**Golden("detect", DETECTOR).state_dict(), "trained_for": 600}
    torch.save({"state_dict": state}, tmp_path / "checkpoint.pth")
    arguments = ("convert", DETECTOR, "--checkpoint", "checkpoint.pth", "--output", "converted")
    done = finished(COMMAND, tmp_path, {}, arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Wrote converted.")
    assert done.stderr == (
        "hfpose: checkpoint.pth has entries among its weights that are no tensors, and are left out: trained_for "
        "(int).\n"
    )


def test_an_interrupted_conversion_leaves_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    Golden("detect", DETECTOR).write_checkpoint(tmp_path / "checkpoint.pth")
    arguments = ("convert", DETECTOR, "--checkpoint", "checkpoint.pth", "--output", "converted", "--no-check-hash")
    with RunningPython(COMMAND, tmp_path, {}, arguments) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not any(tmp_path.glob(".converted-*/*")):
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate()
    if process.returncode:  # it was not faster than the signal
        assert process.returncode == 130, told
        assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pth"]
    assert finished(COMMAND, tmp_path, {}, arguments).returncode == 0
    assert (tmp_path / "converted" / "model.safetensors").is_file()


def test_cache_is_listed(tmp_path: Path, cache: Path) -> None:
    lines = hfpose(tmp_path, "cache").stdout.splitlines()
    assert [line.split()[-1] for line in lines] == [DETECTOR, OTHER, str(tmp_path / "cache")]
    assert [line.split()[:2] for line in lines] == [["2.0", "MB"], ["2.0", "MB"], ["4.0", "MB"]]
    listed = json.loads(hfpose(tmp_path, "cache", "--json").stdout)
    assert [(model["name"], model["path"]) for model in listed] == [
        (DETECTOR, str(cache / DETECTOR)),
        (OTHER, str(cache / OTHER)),
    ]


def test_cache_shows_what_else_takes_room(tmp_path: Path, cache: Path) -> None:
    part = tmp_path / "cache/downloads/some-model/.weights.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(5_000_000))
    *_, rest, total = hfpose(tmp_path, "cache").stdout.splitlines()
    assert rest.split()[:4] == ["5.0", "MB", "unfinished", "downloads"]
    assert total.split()[:2] == ["9.0", "MB"]
    assert hfpose(tmp_path, "cache", "--clean-all").stdout == "Freed 9.0 MB.\n"
    assert not part.exists()


def test_alias_of_two_stages_means_the_one_in_the_cache(tmp_path: Path, cache: Path) -> None:
    assert hfpose(tmp_path, "cache", "--clean", "hand").stdout == "Freed 2.0 MB.\n"
    assert [folder.name for folder in cache.iterdir()] == [OTHER]


def test_cache_is_cleaned_by_name_or_alias(tmp_path: Path, cache: Path) -> None:
    assert hfpose(tmp_path, "cache", "--clean", "rtmdet-t").stdout == "Freed 2.0 MB.\n"
    assert [folder.name for folder in cache.iterdir()] == [DETECTOR]
    assert hfpose(tmp_path, "cache", "--clean-all").stdout == "Freed 2.0 MB.\n"
    assert not cache.exists()


def test_cleaning_a_name_that_means_nothing(tmp_path: Path, cache: Path) -> None:
    done = hfpose(tmp_path, "cache", "--clean", "nothing")
    assert done.returncode == 2
    assert done.stderr.startswith("hfpose: 'nothing' is not in the cache. In ")
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("arguments", [("--clean",), (DETECTOR,)])
def test_cache_deletes_nothing_by_mistake(tmp_path: Path, cache: Path, arguments: tuple[str, ...]) -> None:
    assert hfpose(tmp_path, "cache", *arguments).returncode == 2
    assert len(list(cache.iterdir())) == 2


def test_cleaning_what_is_not_there(tmp_path: Path, cache: Path) -> None:
    done = hfpose(tmp_path, "cache", "--clean", "rtmdet-x", "--clean", DETECTOR)
    assert done.returncode == 2
    assert "'rtmdet_x_8xb32-300e_coco' is not in the cache" in done.stderr
    assert len(list(cache.iterdir())) == 2


def test_push_dry_run_prints_and_pushes_nothing(tmp_path: Path, cache: Path, server: HubServer) -> None:
    environment = server.environment(tmp_path / "home")
    done = hfpose(tmp_path, "push", DETECTOR, "--namespace", USER, "--dry-run", **environment)
    assert done.returncode == 0, done.stderr
    head, *files = done.stdout.splitlines()
    assert head == f"{USER}/{DETECTOR} (dry run, nothing was pushed)"
    assert [line.split()[1] for line in files] == ["config.json", "model.safetensors", "README.md"]
    assert server.requests == []


def test_folder_of_a_model_is_pushed_under_its_name(tmp_path: Path, server: HubServer) -> None:
    folder = tmp_path / "tuned"
    for part in small_model("rtmpose"):
        part.save_pretrained(folder)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "settings.json").write_text("{}")
    (folder / "README.md").write_text('pipeline("pose-estimation", model="tuned")')
    done = hfpose(tmp_path, "push", "tuned", "--namespace", USER, **server.environment(tmp_path / "home"))
    assert done.returncode == 0, done.stderr
    repository = server.repository(f"{USER}/tuned")
    files = repository.commit_at("main")["files"]
    assert {"model.safetensors", "preprocessor_config.json"} < set(files) and "checkpoints/settings.json" not in files
    assert repository.read(files["README.md"]["sha256"]).decode().endswith(f'model="{USER}/tuned")')


def test_folder_of_a_pipeline_is_pushed_with_a_card(tmp_path: Path) -> None:
    pipe = PoseEstimationPipeline(*small_model("rtmpose"), detector="whole_image", device="cpu")
    pipe.save_pretrained(tmp_path / "mine")
    done = hfpose(tmp_path, "push", "mine/", "--namespace", USER, "--dry-run")
    assert done.returncode == 0, done.stderr
    head, *files = done.stdout.splitlines()
    assert head == f"{USER}/mine (dry run, nothing was pushed)"
    assert {line.split()[1] for line in files} >= {"README.md", "pose_pipeline.json", "pose/model.safetensors"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("empty",), "holds neither a model nor a pipeline"), (("empty", "--pipeline"), "--pipeline is for models of")],
)
def test_folder_that_cannot_be_pushed(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    (tmp_path / "empty").mkdir()
    done = hfpose(tmp_path, "push", *arguments, "--namespace", USER, "--dry-run")
    assert done.returncode == 1
    assert told in done.stderr


def test_download_takes_repositories_too(tmp_path: Path, cache: Path, server: HubServer) -> None:
    server.publish_folder("someone/model", cache / DETECTOR)
    environment = server.environment(tmp_path / "home")
    done = hfpose(tmp_path, "download", "someone/model", "someone/nothing", **environment)
    assert done.returncode == 1
    name, folder = done.stdout.splitlines()
    assert name == "someone/model:"
    assert (Path(folder.strip()) / "model.safetensors").is_file()
    assert "hfpose: someone/nothing: The Hub has no model repository 'someone/nothing'" in done.stderr


@pytest.mark.parametrize("output", ["file", "file/below"])
def test_convert_to_where_a_file_is_in_the_way(tmp_path: Path, output: str) -> None:
    (tmp_path / "file").write_text("mine")
    Golden("detect", DETECTOR).write_checkpoint(tmp_path / "checkpoint.pth")
    done = hfpose(tmp_path, "convert", DETECTOR, "--checkpoint", "checkpoint.pth", "--output", output)
    assert done.returncode == 2
    assert done.stderr.startswith(f"hfpose: The converted model cannot be written to '{output}'")
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_push_prints_the_revision_and_goes_on_after_a_failure(tmp_path: Path, cache: Path, server: HubServer) -> None:
    environment = server.environment(tmp_path / "home")
    done = hfpose(tmp_path, "push", "no-such-model", DETECTOR, "--namespace", USER, **environment)
    assert done.returncode == 1
    assert "no model called 'no-such-model'" in done.stderr
    commit = server.repository(f"{USER}/{DETECTOR}").commit_at("main")
    assert done.stdout.startswith(f"{USER}/{DETECTOR} (revision {commit['id']})")
    assert set(commit["files"]) == {"config.json", "model.safetensors", "README.md"}


def test_pushing_again_without_a_change_makes_no_commit(tmp_path: Path, cache: Path, server: HubServer) -> None:
    environment = server.environment(tmp_path / "home")
    first, second = (hfpose(tmp_path, "push", DETECTOR, "--namespace", USER, **environment) for _ in range(2))
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert len(server.repository(f"{USER}/{DETECTOR}").commits) == 2


def test_push_all_takes_what_is_in_the_cache(tmp_path: Path, cache: Path, server: HubServer) -> None:
    environment = {**server.environment(tmp_path / "home"), "HFPOSE_CACHE": str(tmp_path / "cache")}
    done = finished(PUSH_ALL, tmp_path, environment, ("--namespace", USER))
    assert done.returncode == 0, done.stderr
    for name in (DETECTOR, OTHER):
        assert server.repository(f"{USER}/{name}").commit_at("main")["files"]


def test_push_all_from_an_empty_cache(tmp_path: Path) -> None:
    done = finished(PUSH_ALL, tmp_path, {"HFPOSE_CACHE": str(tmp_path / "cache")}, ("--namespace", USER))
    assert done.returncode == 2
    assert "There is nothing to push" in done.stderr
