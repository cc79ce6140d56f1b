"""What an accelerator of this machine finds, beside what its CPU finds."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch

import hfpose
from clips import write_frames
from coco_files import write_people
from hfpose.backends.onnx_graphs import comparable_outputs, example_inputs
from hfpose.backends.torch_backend import TorchRunner
from hfpose.models.shared.devices import default_device
from hfpose.training.fine_tuning import FineTuning, fine_tune
from small_models import SMALL_MODELS, small_model

DEVICE = default_device()
BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0]]

pytestmark = pytest.mark.skipif(DEVICE.type == "cpu", reason="this machine has no accelerator")


@pytest.fixture(autouse=True)
def exact_products():
    """Float32 that is not rounded to fewer bits before it is multiplied."""
    kinds = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [kind.allow_tf32 for kind in kinds]
    for kind in kinds:
        kind.allow_tf32 = False
    yield
    for kind, allowed in zip(kinds, before, strict=True):
        kind.allow_tf32 = allowed


def image(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return coarse.repeat(10, axis=0).repeat(10, axis=1)


def moved(inputs):
    return {name: value.to(DEVICE) if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


@pytest.mark.parametrize("name", [*SMALL_MODELS])
@torch.inference_mode()
def test_every_family_computes_what_the_cpu_computes(name):
    """Also by way of graphs, for batches that are padded."""
    model, processor = small_model(name)
    batches = [example_inputs(model, processor, count) for count in (1, 3)]
    expected = [model(**inputs) for inputs in batches]
    runner = TorchRunner(model.to(DEVICE))
    for _ in range(3):
        for inputs, outputs in zip(batches, expected, strict=True):
            found = {name: value.cpu() for name, value in runner(**moved(inputs)).items()}
            for value, other in comparable_outputs(found, outputs).values():
                assert (value - other).abs().max() <= 1e-3 * other.abs().max()


@pytest.fixture
def pipes(tiny_pose):
    return [hfpose.pipeline(model=tiny_pose, detector="whole_image", device=device) for device in ("cpu", DEVICE)]


def test_a_clip_gives_what_its_frames_give(pipes, tmp_path):
    _, pipe = pipes
    frames = [image(seed) for seed in range(9)]
    clip = write_frames(tmp_path / "clip.mp4", (frame[..., ::-1] for frame in frames))
    found = [output.keypoints for output in pipe(clip, batch_size=4)]
    again = [output.keypoints for output in pipe(clip, batch_size=1)]
    assert len(found) == 9
    np.testing.assert_allclose(np.concatenate(found), np.concatenate(again), atol=0.5)
    assert all(not np.allclose(one, other) for one, other in pairwise(again))


def test_threads_share_a_pipeline(pipes):
    _, pipe = pipes
    images = [image(seed) for seed in range(12)]
    expected = [pipe(one, boxes=BOXES).keypoints for one in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: pipe(one, boxes=BOXES).keypoints, images))
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_keypoints_are_those_of_the_cpu(pipes):
    on_cpu, pipe = ([pipe(image(seed), boxes=BOXES, flip_test=True) for seed in range(4)] for pipe in pipes)
    apart = [np.linalg.norm(one.keypoints - other.keypoints, axis=-1) for one, other in zip(on_cpu, pipe, strict=True)]
    assert np.median(apart) < 0.5


def test_a_pipeline_moves_and_is_pickled(pipes):
    on_cpu, pipe = pipes
    expected = on_cpu(image(), boxes=BOXES).keypoints
    for _ in range(3):
        pipe(image(), boxes=BOXES)
    twin = pickle.loads(pickle.dumps(pipe))
    assert twin.device.type == DEVICE.type
    assert np.median(np.abs(twin(image(), boxes=BOXES).keypoints - expected)) < 0.5
    assert pipe.to("cpu").device.type == "cpu"
    np.testing.assert_allclose(pipe(image(), boxes=BOXES).keypoints, expected, atol=1e-3)


def test_the_default_type_is_half_precision_inside(tiny_pose, pipes):
    on_cpu, _ = pipes
    pipe = hfpose.pipeline(model=tiny_pose, detector="whole_image", device=DEVICE, dtype="float16")
    assert pipe(image(), boxes=BOXES).keypoints.shape == on_cpu(image(), boxes=BOXES).keypoints.shape


def test_videos_are_lifted(tmp_path):
    clip = write_frames(tmp_path / "clip.mp4", (image(0)[..., ::-1] for _ in range(12)))
    on_cpu, pipe = (hfpose.pipeline("pose-estimation-3d", model="demo3d", device=device) for device in ("cpu", DEVICE))
    box = [[60.0, 20.0, 260.0, 220.0]]
    expected, found = ([output.keypoints for output in p(clip, boxes=[box] * 12)] for p in (on_cpu, pipe))
    assert np.median(np.abs(np.asarray(found) - np.asarray(expected))) < 0.05


def test_models_learn(tiny_pose, tmp_path):
    (tmp_path / "data").mkdir()
    data = write_people(tmp_path / "data")
    task = FineTuning(str(tiny_pose), data, tmp_path / "trained", num_steps=3, batch_size=2, num_workers=0)
    fine_tune(task, tell=lambda message: None)
    trained = hfpose.pipeline(model=tmp_path / "trained", detector="whole_image", device=DEVICE)
    assert np.isfinite(trained(image()).keypoints).all()
