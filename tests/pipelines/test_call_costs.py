"""What a pipeline opens and decodes, nothing of it twice, and how deep below a call its models are.

That a lifted video which is drawn is decoded once stands in test_pose_estimation_3d.py.
"""

from __future__ import annotations

import json
import traceback
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import hfpose
from processes import run_python
from small_models import save_model

SRC = str(Path(hfpose.__file__).parent)
MAX_FRAMES = 8
KINDS = {
    "2D": ("pose-estimation", {"model": "rtmpose", "detector": "rtmdet"}),
    "one-stage": ("pose-estimation", {"model": "rtmo"}),
    "3D": ("pose-estimation-3d", {"model": "motionbert", "pose": "rtmpose", "detector": "rtmdet"}),
}

COUNT = """
import collections, json, sys
import cv2, hfpose
opened, decode = collections.Counter(), cv2.imdecode
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened[arguments[0]] += 1
def counted(*arguments):
    opened["decoded"] += 1
    return decode(*arguments)
sys.addaudithook(note)
cv2.imdecode = counted
task, arguments, image = json.loads(sys.argv[1])
pipe = hfpose.pipeline(task, device="cpu", **arguments)
output = pipe(image, box_threshold=0.0, nms_threshold=0.0, keypoint_threshold=0.0, return_visualization=True)
assert output.num_instances and output.visualization is not None
print(json.dumps(opened))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Folder of small models with random weights, and an image."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("rtmpose", "rtmdet", "rtmo", "motionbert"):
        save_model(name, folder / name)
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "image.jpg")
    return folder


def given(kind: str, folder: Path) -> tuple[str, dict[str, str]]:
    """Task and models of a pipeline."""
    task, models = KINDS[kind]
    return task, {argument: str(folder / name) for argument, name in models.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_file_is_opened_once_and_an_image_decoded_once(kind, folder, tmp_path):
    task, arguments = given(kind, folder)
    image = str(folder / "image.jpg")
    settings = {"HFPOSE_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
    opened = json.loads(run_python(COUNT, tmp_path, settings, (json.dumps([task, arguments, image]),)))
    names = ("config.json", "preprocessor_config.json")
    once = {image, "decoded", *(str(Path(model, name)) for model in arguments.values() for name in names)}
    assert {name: opened.get(name) for name in once} == dict.fromkeys(once, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_at_most_eight_frames_of_ours_lie_between_a_call_and_a_model(kind, folder):
    task, arguments = given(kind, folder)
    pipe, depths = hfpose.pipeline(task, device="cpu", backend="torch", **arguments), {}

    def note(model, *_):
        frames = [frame for frame, _ in traceback.walk_stack(None) if frame.f_code.co_filename.startswith(SRC)]
        depths.setdefault(type(model).__name__, len(frames))  # later passes may be recorded

    for stage in pipe.stages.values():
        stage.model.register_forward_pre_hook(note)
    pipe(folder / "image.jpg", box_threshold=0.0, nms_threshold=0.0)
    assert len(depths) == len(pipe.stages) == len(arguments)
    assert max(depths.values()) <= MAX_FRAMES, depths
