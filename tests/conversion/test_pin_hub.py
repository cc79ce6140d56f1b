"""The script that pins a zoo name to a repository with the official weights."""

from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoint_host import ZOO_FILE, zoo_environment
from hfpose.hub.zoo import get_entry, list_entries
from hub_server import USER, HubServer
from processes import finished, run_python
from small_zoo import save_small_model

SCRIPT = Path(__file__).resolve().parents[2] / "conversion/pin_hub.py"
NAME = "td-hm_ViTPose-small-simple_8xb64-210e_coco-256x192"
DETECTOR = "rtmdet_nano_320-8xb32_hand"
LIFTER = "motionbert_dstformer-ft-243frm_8xb32-120e_h36m"
WEIGHT = "head.conv.weight"
OLDER = "older"

# As in the repositories of transformers' authors.
PROCESSOR = {
    "do_affine_transform": True,
    "do_normalize": True,
    "do_rescale": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "VitPoseImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "normalize_factor": 200.0,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 256, "width": 192},
}


def as_transformers_has_it(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["keypoint_schema"]
    limbs = [f"{side}_{part}" for part in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for side in "LR"]
    config["id2label"] = dict(enumerate(["Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", *limbs]))
    config["label2id"] = {label: index for index, label in config["id2label"].items()}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))


def with_tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return apply


def with_settings(file: str, **settings: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | settings))

    return apply


REFUSED = {
    "one-value": (
        with_tensors(lambda tensors: tensors[WEIGHT].view(-1)[:1].add_(1e-3)),
        f"Tensors of other values: {WEIGHT}.",
    ),
    "half-precision": (
        with_tensors(lambda tensors: tensors.update({WEIGHT: tensors[WEIGHT].half()})),
        f"Tensors of other values: {WEIGHT}.",
    ),
    "one-less": (with_tensors(lambda tensors: tensors.pop(WEIGHT)), f"Tensors that it lacks: {WEIGHT}."),
    "one-more": (
        with_tensors(lambda tensors: tensors.update(surplus=torch.zeros(1))),
        "Tensors that it has beyond: surplus.",
    ),
    "other-mean": (
        with_settings("preprocessor_config.json", image_mean=[0.1, 0.2, 0.3]),
        "The keypoints of an image",
    ),
}


@dataclass
class Pinned:
    """What the script made of several repositories."""

    folder: Path
    output: list[str]
    errors: list[str]
    returncode: int
    commits: dict[str, str]
    environment: dict[str, str]

    def errors_of(self, name: str) -> list[str]:
        return [line for line in self.errors if f"{USER}/{name} at" in line]


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("pin")
    cache = folder / "cache/models/v1"
    for name in (NAME, DETECTOR, LIFTER):
        save_small_model(get_entry(name), cache / name)
    (folder / "zoo.json").write_text(ZOO_FILE.read_text())
    commits = {}
    with HubServer(folder / "hub") as server:

        def publish(repository: str, name: str, change: Callable[[Path], object]) -> None:
            files = save_small_model(get_entry(name), folder / repository)
            change(files)
            commits[repository] = server.publish_folder(f"{USER}/{repository}", files)

        for repository, (change, _) in REFUSED.items():
            publish(repository, NAME, change)
        publish("vitpose", NAME, as_transformers_has_it)
        commits[OLDER] = commits["vitpose"]
        server.publish(f"{USER}/vitpose", {"model.safetensors": b"exchanged later"})
        publish("detector", DETECTOR, lambda files: None)
        publish("lifter", LIFTER, lambda files: None)
        environment = {
            **server.environment(folder / "home"),
            **zoo_environment(folder / "zoo.json"),
            "HFPOSE_CACHE": str(folder / "cache"),
            "HFPOSE_CHECKPOINT_ENDPOINT": server.url,
        }
        pairs = [f"{NAME}={USER}/{repository}" for repository in (*REFUSED, "nothing", f"vitpose@{commits[OLDER]}")]
        pairs += [f"{DETECTOR}={USER}/detector", f"human3d={USER}/lifter", f"no-model={USER}/lifter"]
        done = finished(SCRIPT, folder, environment, tuple(pairs))
        yield Pinned(folder, done.stdout.splitlines(), done.stderr.splitlines(), done.returncode, commits, environment)


def test_repositories_with_the_same_model_are_pinned_at_a_commit(pinned: Pinned) -> None:
    commits = pinned.commits
    assert pinned.output == [
        f"pinned  {NAME} to {USER}/vitpose at {commits[OLDER]}",
        f"pinned  {DETECTOR} to {USER}/detector at {commits['detector']}",
        f"pinned  human3d to {USER}/lifter at {commits['lifter']}",
    ], pinned.errors
    before = json.loads(ZOO_FILE.read_text())
    items = {item["name"]: item for item in before["models"]}
    items[NAME].update(repository=f"{USER}/vitpose", revision=commits[OLDER])
    items[DETECTOR].update(repository=f"{USER}/detector", revision=commits["detector"])
    items[LIFTER].update(repository=f"{USER}/lifter", revision=commits["lifter"])
    assert json.loads((pinned.folder / "zoo.json").read_text()) == before


@pytest.mark.parametrize("repository", REFUSED)
def test_repository_with_another_model_is_refused(pinned: Pinned, repository: str) -> None:
    (error,) = pinned.errors_of(repository)
    assert error.startswith(f"refused {NAME}: {USER}/{repository} at {pinned.commits[repository]} is not '{NAME}'")
    assert REFUSED[repository][1] in error
    assert pinned.returncode == 1


def test_repository_or_model_that_is_not_there(pinned: Pinned) -> None:
    assert any(
        line.startswith(f"refused {NAME}: The Hub gives no repository '{USER}/nothing'") for line in pinned.errors
    )
    assert any(line.startswith("refused no-model: The zoo has no model called") for line in pinned.errors)


def test_pinned_name_leads_to_that_commit(pinned: Pinned) -> None:
    code = "from hfpose.hub.resolve import resolve; print(resolve('vitpose-s'))"
    environment = {**pinned.environment, "HFPOSE_CACHE": str(pinned.folder / "empty"), "HF_HUB_OFFLINE": "1"}
    found = Path(run_python(code, pinned.folder, environment).strip())
    assert found.name == pinned.commits[OLDER]
    assert found.is_relative_to(pinned.folder / "home/hub")


def test_only_two_lines_are_added_to_the_zoo(tmp_path: Path) -> None:
    write_pin = runpy.run_path(str(SCRIPT))["write_pin"]
    before = ZOO_FILE.read_text()
    for entry in list_entries()[::9]:
        file = tmp_path / "zoo.json"
        file.write_text(before)
        write_pin(file, entry.name, "old/repository", "0" * 40)
        write_pin(file, entry.name, "organization/repository", "a" * 40)
        lines = file.read_text().splitlines()
        added = [line for line in lines if "repository" in line or '"revision"' in line]
        assert added == ['   "repository": "organization/repository",', f'   "revision": "{"a" * 40}",']
        assert [line for line in lines if line not in added] == before.splitlines()


@pytest.mark.parametrize("pair", ["vitpose-b", "vitpose-b=repository", "=a/b", "vitpose-b=a/b@"])
def test_argument_that_names_no_repository(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = runpy.run_path(str(SCRIPT))
    with pytest.raises(SystemExit), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pin_hub.py", pair])
        script["main"]()
    assert "is not NAME=ORGANIZATION/REPOSITORY" in capsys.readouterr().err


def test_candidates_are_models_of_the_zoo() -> None:
    for name in runpy.run_path(str(SCRIPT))["CANDIDATES"]:
        assert get_entry(name).family == "vitpose"
