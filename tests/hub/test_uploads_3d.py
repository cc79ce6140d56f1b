"""3D pipelines pushed to a hub on the loopback interface, and loaded by their repositories in a fresh process."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from checkpoint_host import CheckpointHost, zoo_environment
from hfpose.hub.zoo import get_entry
from hub_server import USER, HubServer
from processes import run_python
from small_zoo import save_small_model, write_photo, write_video

PEOPLE = f"{USER}/motionbert_dstformer-ft-243frm_8xb32-120e_h36m-pipeline"
HANDS = f"{USER}/internet_res50_4xb16-20e_interhand3d-256x256-pipeline"
DETECTED_HANDS = f"{USER}/detected-hands"
FIELDS = ("keypoints", "keypoint_scores", "keypoints_2d", "boxes", "box_scores", "hand_types", "root_depths")

PREDICT = f"""
import hfpose, numpy as np

def predict(pipe):
    results = [pipe("photo.png"), *pipe("video.mp4")]
    return {{
        f"{{index}} {{field}}": result[field]
        for index, result in enumerate(results)
        for field in {FIELDS}
        if result.get(field) is not None
    }}
"""
PUSH = f"""
import hfpose
from hfpose.cli.push_zoo import push_pipeline
from hfpose.hub.zoo import get_entry

for name in ("human3d", "hand3d"):
    print(push_pipeline(get_entry(name), "{USER}").repo_id)
pipe = hfpose.pipeline("pose-estimation-3d", model="hand3d", detector="hand", device="cpu")
print(pipe.push_to_hub("{DETECTED_HANDS}"))
"""
ANSWER = f"""
{PREDICT}
for repo_id, arguments in {{
    "{PEOPLE}": {{"model": "human3d"}},
    "{HANDS}": {{"model": "hand3d"}},
    "{DETECTED_HANDS}": {{"model": "hand3d", "detector": "hand"}},
}}.items():
    pipe = hfpose.pipeline("pose-estimation-3d", device="cpu", **arguments)
    np.savez(repo_id.split("/")[1] + ".pushed.npz", **predict(pipe))
"""
LOAD = f"""
{PREDICT}
for repo_id in {(PEOPLE, HANDS, DETECTED_HANDS)}:
    pipe = hfpose.pipeline("pose-estimation-3d", model=repo_id, device="cpu")
    np.savez(repo_id.split("/")[1] + ".loaded.npz", **predict(pipe))
    print(type(pipe).__name__)
"""


@dataclass
class Pushed:
    """A hub with pipelines, and what the process printed that pushed them."""

    server: HubServer
    folder: Path
    printed: list[str]
    zoo: dict[str, str]

    def run(self, code: str, home: str, cache: str) -> list[str]:
        """Lines that code prints."""
        environment = {**self.server.environment(self.folder / home), **self.zoo}
        return run_python(code, self.folder, {**environment, "HFPOSE_CACHE": str(self.folder / cache)}).splitlines()

    def answers(self, repo_id: str, when: str) -> dict[str, np.ndarray]:
        with np.load(self.folder / f"{repo_id.split('/')[1]}.{when}.npz") as arrays:
            return dict(arrays)

    def files(self, repo_id: str) -> dict[str, str]:
        """SHA-256 of each file by its path."""
        files = self.server.repository(repo_id).commit_at("main")["files"]
        return {path: described["sha256"] for path, described in files.items()}

    def read(self, repo_id: str, path: str) -> str:
        return self.server.repository(repo_id).read(self.files(repo_id)[path]).decode()


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    folder = tmp_path_factory.mktemp("push3d")
    write_photo(folder / "photo.png")
    write_video(folder / "video.mp4")
    people, hands = get_entry("human3d"), get_entry("hand3d")
    for entry in (people, *people.companions(), hands, get_entry("hand", "detector")):  # as if they had been converted
        save_small_model(entry, folder / "cache/models/v1" / entry.name)
    with CheckpointHost() as host, HubServer(folder / "hub") as server:
        pushed = Pushed(server, folder, [], zoo_environment(host.write_zoo(folder / "zoo.json")))
        pushed.printed += pushed.run(PUSH, "home", "cache")
        yield pushed
        assert host.requests == []


@pytest.fixture(scope="module")
def loaded(pushed: Pushed) -> list[str]:
    """Kinds of the pipelines that a fresh process loads; what they answer lies in files, as what those answer that
    were pushed."""
    pushed.run(ANSWER, "home", "cache")
    return pushed.run(LOAD, "other", "empty")


@pytest.mark.parametrize(
    ("repo_id", "kind", "shape"),
    [
        (PEOPLE, "PoseEstimation3DPipeline", (17, 3)),
        (HANDS, "HandPose3DPipeline", (42, 3)),
        (DETECTED_HANDS, "HandPose3DPipeline", (42, 3)),
    ],
)
@pytest.mark.slow
def test_fresh_process_gets_the_same_answers(
    pushed: Pushed, loaded: list[str], repo_id: str, kind: str, shape: tuple[int, int]
) -> None:
    assert loaded[pushed.printed.index(repo_id)] == kind
    before, after = pushed.answers(repo_id, "pushed"), pushed.answers(repo_id, "loaded")
    assert before["0 keypoints"].shape[1:] == before["3 keypoints"].shape[1:] == shape
    assert len(before["0 keypoints"]) >= 1
    assert before.keys() == after.keys()
    for key, expected in before.items():
        np.testing.assert_array_equal(after[key], expected, err_msg=key)


def test_weights_are_those_of_the_models(pushed: Pushed) -> None:
    people = get_entry("human3d")
    models = {"lifter": people, "pose": people.companions()[0], "detector": people.companions()[1]}
    files = pushed.files(PEOPLE)
    for part, entry in models.items():
        path = pushed.folder / "cache/models/v1" / entry.name / "model.safetensors"
        assert files[f"{part}/model.safetensors"] == hashlib.sha256(path.read_bytes()).hexdigest(), part


def test_index_names_the_parts(pushed: Pushed) -> None:
    index = json.loads(pushed.read(PEOPLE, "pose_pipeline.json"))
    assert (index["lifter"], index["pose"], index["detector"]) == ("lifter", "pose", "detector")
    assert "detector" in json.loads(pushed.read(DETECTED_HANDS, "pose_pipeline.json"))
    assert not [path for path in pushed.files(HANDS) if path.startswith("detector/")]


@pytest.mark.parametrize("repo_id", [PEOPLE, HANDS, DETECTED_HANDS])
def test_card_shows_how_to_get_3d_keypoints(pushed: Pushed, repo_id: str) -> None:
    card = ModelCard(pushed.read(repo_id, "README.md"))
    assert "3d" in card.data.tags
    assert f'pipeline("pose-estimation-3d", model="{repo_id}")' in card.text
