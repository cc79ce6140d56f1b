"""Whatever way a model goes to the Hub, its card goes with it, to the same branch, and plain transformers knows what
it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from hub_server import USER, HubServer
from processes import run_python

PUSH = f"""
import transformers
from small_models import small_model
import hfpose

model, processor = small_model("rtmpose")
model.push_to_hub("{USER}/model", tags=["mine"])
processor.push_to_hub("{USER}/model")
model.save_pretrained("saved", push_to_hub=True, repo_id="{USER}/saved")
processor.push_to_hub("{USER}/processor-first")
model.push_to_hub("{USER}/processor-first")
pipe = hfpose.PoseEstimationPipeline(model, processor, detector="whole_image", device="cpu")
pipe.push_to_hub("{USER}/pipeline")

arguments = transformers.TrainingArguments("trained", hub_model_id="{USER}/trained", report_to="none", use_cpu=True)
trainer = transformers.Trainer(model, arguments, processing_class=processor)
trainer.state.log_history = [{{"eval_AP": 0.25, "epoch": 1, "step": 1}}]
trainer.push_to_hub(finetuned_from="someone/model", dataset="people", tags="mine", blocking=True)

card = transformers.utils.hub.ModelCard("---\\nlicense: mit\\n---\\nMy own words.")
transformers.utils.hub.hf_api().create_repo("{USER}/own-card")
card.push_to_hub("{USER}/own-card")
for pushed in (model, processor, hfpose.PoseEstimationPipeline(model, processor, detector="whole_image", device="cpu")):
    pushed.push_to_hub("{USER}/own-card")
transformers.Trainer(model, transformers.TrainingArguments(
    "own", hub_model_id="{USER}/own-card", report_to="none", use_cpu=True)).push_to_hub(blocking=True)

for name, options in (("branch", {{"revision": "trial"}}), ("review", {{"create_pr": True}})):
    for kind, pushed in (("model", model), ("pipeline", pipe)):
        pushed.push_to_hub(f"{USER}/{{kind}}-{{name}}", **options)
processor.push_to_hub("{USER}/model-branch", revision="trial")
wrapped = transformers.pipeline("pose-estimation", model=pipe)
wrapped.push_to_hub("{USER}/wrapped")
arguments.hub_model_id = "{USER}/trained-branch"
api = transformers.utils.hub.hf_api()
api.create_repo(arguments.hub_model_id)
api.create_branch(arguments.hub_model_id, branch="trial")
transformers.Trainer(model, arguments).push_to_hub(revision="trial")
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    folder = tmp_path_factory.mktemp("routes")
    with HubServer(folder / "hub") as server:
        find_tests = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        run_python(find_tests + PUSH, folder, server.environment(folder / "home"))
        yield server


def files(hub: HubServer, name: str, revision: str = "main") -> dict[str, bytes]:
    """Content of the files of a repository by their names."""
    repository = hub.repository(f"{USER}/{name}")
    found = repository.commit_at(revision)["files"]
    return {path: repository.read(described["sha256"]) for path, described in found.items()}


def card(hub: HubServer, name: str, revision: str = "main") -> ModelCard:
    return ModelCard(files(hub, name, revision)["README.md"].decode())


@pytest.mark.parametrize("name", ["model", "saved", "processor-first", "pipeline", "wrapped", "trained"])
def test_five_routes_carry_our_card(hub, name):
    found = card(hub, name)
    assert found.data.library_name == "hfpose"
    assert found.data.pipeline_tag == "keypoint-detection"
    assert f'"{USER}/{name}"' in found.text


def test_tags_are_kept_and_the_trainer_tells_of_the_training(hub):
    assert "mine" in card(hub, "model").data.tags
    trained = card(hub, "trained")
    assert {"mine", "generated_from_trainer"} <= {*trained.data.tags}
    for text in ("`someone/model`", "people", "learning_rate 5e-05"):
        assert text in trained.text


def test_a_card_that_says_something_stays(hub):
    assert "My own words." in card(hub, "own-card").text


@pytest.mark.parametrize(
    "name", ["model-branch", "pipeline-branch", "trained-branch", "model-review", "pipeline-review"]
)
def test_branches_and_pull_requests_leave_main_alone(hub, name):
    revision = "trial" if name.endswith("branch") else "refs/pr/1"
    assert files(hub, name) == {}
    assert card(hub, name, revision).data.library_name == "hfpose"


@pytest.mark.parametrize("name", ["model", "processor-first", "trained"])
def test_settings_name_the_code(hub, name):
    pushed = files(hub, name)
    assert json.loads(pushed["config.json"])["auto_map"] == {"AutoConfig": "hfpose_code.RTMPoseConfig"}
    processor = json.loads(pushed["preprocessor_config.json"])
    assert processor["auto_map"] == {"AutoImageProcessor": "hfpose_code.RTMPoseImageProcessor"}
    assert b"pip install hfpose" in pushed["hfpose_code.py"]


LOAD = f"""
import sys
from transformers import AutoBackbone, AutoImageProcessor, AutoModelForPoseEstimation

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "hfpose":
            raise ModuleNotFoundError("No module named 'hfpose'")

sys.meta_path.insert(0, Missing())
for trust in (True, False):
    try:
        AutoModelForPoseEstimation.from_pretrained("{USER}/model", trust_remote_code=trust)
    except (ImportError, ValueError) as error:
        print(" ".join(str(error).split()))
del sys.meta_path[0]
assert "hfpose" not in sys.modules
processor = AutoImageProcessor.from_pretrained("{USER}/model", trust_remote_code=True)
model = AutoModelForPoseEstimation.from_pretrained("{USER}/model", trust_remote_code=True)
for part in (model, processor):
    assert type(part).__module__.startswith("hfpose.")
    part.save_pretrained("again")
backbone = AutoBackbone.from_pretrained("{USER}/model", out_indices=[1, 4])  # known since hfpose was imported
assert backbone.out_indices == [1, 4] and type(backbone).__module__.startswith("hfpose.")
"""


def test_plain_transformers_says_what_to_install_or_loads(hub, tmp_path):
    environment = {**os.environ, **hub.environment(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", LOAD], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    without_package, without_trust = done.stdout.splitlines()
    assert "pip install hfpose" in without_package
    assert "trust_remote_code=True" in without_trust
    assert not [path.name for path in (tmp_path / "again").iterdir() if path.suffix == ".py"]
