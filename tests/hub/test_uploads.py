"""Pushes to a hub on the loopback interface, and what a fresh process loads from there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from checkpoint_host import CheckpointHost, zoo_environment
from hfpose.cli.push_zoo import push_model, push_pipeline
from hfpose.hub.uploads import UploadError
from hfpose.hub.zoo import get_entry
from hub_server import USER, HubServer
from processes import run_python
from small_zoo import save_small_model

POSE = "rtmpose-m_8xb256-420e_body8-256x192"
DETECTOR = "rtmdet_nano_320-8xb32_hand"


# --- models of the zoo and their pipeline

PUSH = f"""
from hfpose.cli.push_zoo import push_model, push_pipeline
from hfpose.hub.zoo import get_entry
for push, name in ((push_model, "{DETECTOR}"), (push_model, "{POSE}"), (push_pipeline, "{POSE}")):
    upload = push(get_entry(name), "{USER}")
    print(upload.repo_id, upload.revision)
"""

COMPARE = f"""
import hfpose, torch
from transformers import AutoImageProcessor, AutoModelForObjectDetection
from hfpose.hub import resolve as hub

def outputs(model):
    pixels = torch.rand(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(pixels)

pushed = AutoModelForObjectDetection.from_pretrained("{USER}/{DETECTOR}")
local = AutoModelForObjectDetection.from_pretrained(hub.resolve("hand", "detector"))
assert all(torch.equal(a, b) for a, b in zip(outputs(pushed).to_tuple(), outputs(local).to_tuple()) if torch.is_tensor(a))
AutoImageProcessor.from_pretrained("{USER}/{DETECTOR}")

boxes = [[10, 20, 200, 220]]
expected = hfpose.pipeline("pose-estimation", model="human", device="cpu")("photo.jpg", boxes=boxes)
assert expected.keypoints.shape == (1, 17, 2)
for name in ("{USER}/{POSE}", "{USER}/{POSE}-pipeline"):
    pipe = hfpose.pipeline("pose-estimation", model=name, device="cpu")
    assert (pipe("photo.jpg", boxes=boxes).keypoints == expected.keypoints).all(), name
    assert pipe("photo.jpg").keypoints.shape[1:] == (17, 2)
"""


@dataclass
class Hub:
    """A hub with the zoo's pushed models, and a process's environment for it."""

    server: HubServer
    folder: Path
    environment: dict[str, str]
    pushed: dict[str, str]  # repository -> revision

    def card(self, name: str) -> ModelCard:
        repository = self.server.repository(f"{USER}/{name}")
        files = repository.commit_at("main")["files"]
        return ModelCard(repository.read(files["README.md"]["sha256"]).decode())


@pytest.fixture(scope="module")
def pushed_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("push")
    with CheckpointHost() as host, HubServer(folder / "hub") as server:
        for entry in (get_entry(DETECTOR), get_entry(POSE)):  # as if they had been converted
            save_small_model(entry, folder / "cache/models/v1" / entry.name)
        for item in host.zoo["models"]:  # the smallest one, to keep the test quick
            if "default_detector" in item:
                item["default_detector"] = DETECTOR
        environment = {
            **server.environment(folder / "home"),
            **zoo_environment(host.write_zoo(folder / "zoo.json")),
            "HFPOSE_CACHE": str(folder / "cache"),
        }
        pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photo.jpg")
        output = run_python(PUSH, folder, environment)
        yield Hub(server, folder, environment, dict(line.split() for line in output.splitlines()))


def test_repositories_have_weights_processor_card_and_image(pushed_hub: Hub) -> None:
    assert list(pushed_hub.pushed) == [f"{USER}/{DETECTOR}", f"{USER}/{POSE}", f"{USER}/{POSE}-pipeline"]
    files = {repo: set(pushed_hub.server.repository(repo).commit_at("main")["files"]) for repo in pushed_hub.pushed}
    model = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    assert files[f"{USER}/{DETECTOR}"] == {*model, "hfpose_code.py"}
    assert files[f"{USER}/{POSE}"] == {*model, "hfpose_code.py"}
    parts = {f"{part}/{name}" for part in ("pose", "detector") for name in model - {"README.md"}}
    assert files[f"{USER}/{POSE}-pipeline"] == {*parts, "pose_pipeline.json", "README.md"}


def test_printed_revision_is_the_commit(pushed_hub: Hub) -> None:
    for repo, revision in pushed_hub.pushed.items():
        assert pushed_hub.server.repository(repo).commit_at("main")["id"] == revision


def test_pushed_pipeline_names_its_parts_as_base_models(pushed_hub: Hub) -> None:
    assert pushed_hub.card(f"{POSE}-pipeline").data.base_model == [f"{USER}/{POSE}", f"{USER}/{DETECTOR}"]


@pytest.mark.slow
def test_fresh_process_gets_the_same_outputs_from_the_repositories(pushed_hub: Hub) -> None:
    run_python(COMPARE, pushed_hub.folder, pushed_hub.environment)


def test_snippets_of_the_cards_run(pushed_hub: Hub) -> None:
    cards = [pushed_hub.card(name).text for name in (POSE, f"{POSE}-pipeline")]
    snippets = [code for card in cards for code in re.findall(r"```python\n(.*?)```", card, re.DOTALL)]
    # The card of the hand detector shows it before a hand model, which is not on this hub.
    alone = re.findall(r"```python\n(.*?)```", pushed_hub.card(DETECTOR).text, re.DOTALL)[1]
    assert len(snippets) == 2
    assert "object-detection" in alone
    namespaced = {**pushed_hub.environment, "HFPOSE_NAMESPACE": USER}
    run_python(
        "\n".join([*snippets, "assert result.keypoints.shape[1:] == (17, 2)", alone]), pushed_hub.folder, namespaced
    )


# --- models of every family

FAMILIES = """
import json
import hfpose, torch
import numpy as np
from hfpose.keypoints import load_schema
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

body = load_schema("coco").to_dict()
DETECTION = {"num_labels": 3}
POSE = {"num_labels": 17, "keypoint_schema": body, "image_size": (64, 64)}
SMALL = {"depth_multiplier": 0.17, "width_multiplier": 0.125}
TINY = {
    "RTMPose": (
        "ForPoseEstimation",
        {
            **POSE,
            "backbone_config": {"model_type": "cspnext_backbone", **SMALL},
            "hidden_size": 32,
            "attention_size": 16,
        },
    ),
    "RTMDet": ("ForObjectDetection", {**DETECTION, **SMALL, "neck_size": 32, "num_neck_blocks": 1}),
    "YOLOX": ("ForObjectDetection", {**DETECTION, **SMALL, "neck_size": 32}),
    "SSDLite": ("ForObjectDetection", {**DETECTION, "width_multiplier": 0.25}),
    "Heatmap": (
        "ForPoseEstimation",
        {
            **POSE,
            "backbone_config": {
                "model_type": "hrnet_backbone",
                "stem_channels": 8,
                "stage_modules": (1, 1, 1, 1),
                "stage_blocks": ((1,), (1,) * 2, (1,) * 3, (1,) * 4),
                "stage_channels": ((8,), (8, 16), (8, 16, 32), (8, 16, 32, 64)),
            },
            "deconv_channels": (),
            "deconv_kernel_sizes": (),
        },
    ),
    "MotionBert": (
        "ForPoseLifting",
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "representation_size": 32},
    ),
    "InterNet": (
        "ForHandPose",
        {
            "backbone_config": {
                "model_type": "resnet",
                "embedding_size": 8,
                "hidden_sizes": [8, 16, 16, 32],
                "depths": [1, 1, 1, 1],
                "layer_type": "basic",
            },
            "upsample_sizes": (16, 16, 16),
        },
    ),
}
INPUTS = {
    "ForPoseEstimation": (1, 3, 64, 64),
    "ForObjectDetection": (1, 3, 64, 64),
    "ForPoseLifting": (1, 9, 17, 3),
    "ForHandPose": (1, 3, 256, 256),
}

def cases():
    for prefix, (head, settings) in TINY.items():
        yield prefix, getattr(hfpose, f"{prefix}{head}"), getattr(hfpose, f"{prefix}Config")(**settings), INPUTS[head]
    backbone = VitPoseBackboneConfig(
        image_size=[64, 64], hidden_size=32, num_hidden_layers=1, num_attention_heads=2, out_indices=[1]
    )
    yield "ViTPose", VitPoseForPoseEstimation, VitPoseConfig(backbone_config=backbone, num_labels=17), (1, 3, 64, 64)

def outputs(model, shape):
    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        flat = model.eval()(inputs).to_tuple()
    return [tensor for value in flat for tensor in (value if isinstance(value, (tuple, list)) else [value])]
"""
PUSH_FAMILIES = f"""
{FAMILIES}
expected = {{}}
for name, model_class, config, shape in cases():
    torch.manual_seed(0)
    model = model_class(config)
    model.push_to_hub("{USER}/" + name)
    expected[name] = model.state_dict(), outputs(model, shape)
torch.save(expected, "expected.pt")

processor = hfpose.RTMPoseImageProcessor(size={{"height": 64, "width": 64}})
model = hfpose.RTMPoseForPoseEstimation.from_pretrained("{USER}/RTMPose")
pipe = hfpose.PoseEstimationPipeline(model, processor, detector="whole_image", device="cpu")
assert pipe.push_to_hub("{USER}/my-pipeline") == "{USER}/my-pipeline"
torch.save(torch.tensor(pipe(np.arange(75 * 80 * 3, dtype=np.uint8).reshape(75, 80, 3)).keypoints), "keypoints.pt")
"""
LOAD_FAMILIES = f"""
{FAMILIES}
expected = torch.load("expected.pt")
for name, model_class, config, shape in cases():
    model = model_class.from_pretrained("{USER}/" + name)
    weights, tensors = expected[name]
    found = model.state_dict()
    assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights), name
    # Where memory happens to lie decides how a convolution adds up, so the last bit may differ.
    torch.testing.assert_close(outputs(model, shape), tensors, rtol=1e-5, atol=1e-6)
print(json.dumps(list(expected)))

pipe = hfpose.pipeline("pose-estimation", model="{USER}/my-pipeline", device="cpu")
found = torch.tensor(pipe(np.arange(75 * 80 * 3, dtype=np.uint8).reshape(75, 80, 3)).keypoints)
torch.testing.assert_close(found, torch.load("keypoints.pt"))
"""


def test_models_of_each_family_and_pipelines_of_them_come_back_as_they_were_pushed(tmp_path: Path) -> None:
    with HubServer(tmp_path / "hub") as server:
        environment = server.environment(tmp_path / "home")
        run_python(PUSH_FAMILIES, tmp_path, environment)
        names = json.loads(run_python(LOAD_FAMILIES, tmp_path, environment))
        assert len(names) == 8
        for name in names:
            repository = server.repository(f"{USER}/{name}")
            files = repository.commit_at("main")["files"]
            card = ModelCard(repository.read(files["README.md"]["sha256"]).decode())
            if name != "ViTPose":  # transformers' own class, with transformers' own card
                assert card.data.library_name == "hfpose", name
                assert f'"{USER}/{name}"' in card.text
        assert "pose_pipeline.json" in server.repository(f"{USER}/my-pipeline").commit_at("main")["files"]


# --- refusals


def test_namespace_that_cannot_be_one() -> None:
    with pytest.raises(UploadError, match="'a/b' cannot be a user or organization"):
        push_model(get_entry("rtmdet-m"), "a/b", dry_run=True)


def test_pipeline_around_a_detector() -> None:
    with pytest.raises(UploadError, match="is a detector; a pipeline is made around a pose model or a lifter"):
        push_pipeline(get_entry("rtmdet-m"), "my-org", dry_run=True)


@pytest.mark.parametrize("token", ["hf_wrong", ""])
def test_push_without_the_right_to(tmp_path: Path, token: str) -> None:
    code = f"""
from fake_conversion import convert
from hfpose.hub import resolve as hub
from hfpose.cli.push_zoo import push_model
from hfpose.hub.uploads import UploadError
from hfpose.hub.zoo import get_entry
hub._convert_checkpoint = convert
try:
    push_model(get_entry("{DETECTOR}"), "my-org")
except UploadError as error:
    print(error)
"""
    with CheckpointHost() as host, HubServer(tmp_path / "hub") as server:
        host.add(DETECTOR, b"\x80weights")  # no text, which is refused
        zoo = zoo_environment(host.write_zoo(tmp_path / "zoo.json"))
        environment = {**server.environment(tmp_path / "home"), **zoo, "HF_TOKEN": token}
        tests = str(Path(__file__).parents[1])
        message = run_python(code, tmp_path, {**environment, "PYTHONPATH": f"{zoo['PYTHONPATH']}:{tests}"})
    assert message.startswith(f"The Hub refused to write 'my-org/{DETECTOR}' (HTTP 401)")
    assert "`hf auth login`" in message
