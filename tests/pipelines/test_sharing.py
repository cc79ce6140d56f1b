"""One pipeline in several threads, in copies and in forked children; and how it may be asked for."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import hfpose
from hfpose.errors import ConfigError, InputError
from hfpose.models.shared.devices import default_device

BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0]]
BACKENDS = ["torch", "onnxruntime"]


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)


@pytest.fixture
def make(tiny_pose):
    def make(**options) -> hfpose.PosePipeline:
        if options.get("backend") == "onnxruntime":
            pytest.importorskip("onnxruntime")
        return hfpose.pipeline(model=tiny_pose, detector="whole_image", **{"device": "cpu", **options})

    return make


@pytest.mark.parametrize("backend", BACKENDS)
def test_several_threads_get_what_one_gets(make, backend):
    images = [image(seed) for seed in range(12)]
    alone, pipe = make(backend=backend), make(backend=backend)
    expected = [alone(one, boxes=BOXES).keypoints for one in images]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: pipe(one, boxes=BOXES).keypoints, images))
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("twin_of", [copy.deepcopy, lambda pipe: pickle.loads(pickle.dumps(pipe))])
def test_a_pipeline_that_was_used_can_be_copied_and_pickled(make, backend, twin_of):
    pipe = make(backend=backend)
    expected = [pipe(image(), boxes=BOXES).keypoints for _ in range(4)][-1]  # so often that it is recorded
    np.testing.assert_allclose(twin_of(pipe)(image(), boxes=BOXES).keypoints, expected, atol=1e-3)


def _estimate(pipe: hfpose.PosePipeline, expected: np.ndarray) -> None:
    np.testing.assert_allclose(pipe(image(), boxes=BOXES).keypoints, expected, atol=1e-3)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork")
def test_a_forked_child_goes_on(make, backend):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    pipe = make(backend=backend)
    expected = pipe(image(), boxes=BOXES).keypoints
    child = multiprocessing.get_context("fork").Process(target=_estimate, args=(pipe, expected))
    child.start()
    child.join(60)
    torch.set_num_threads(threads)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0


@pytest.mark.parametrize("device", [-1, "auto", None])
def test_devices_by_number_and_by_themselves(make, device):
    assert make(device=device).device.type == ("cpu" if device == -1 else default_device().type)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", 0, "gpu"])
def test_a_device_that_is_not_there_is_named(make, device):
    with pytest.raises(InputError, match="This machine has"):
        make(device=device)


@pytest.mark.parametrize(
    ("options", "dtype"),
    [
        ({"dtype": "fp16"}, torch.float16),
        ({"dtype": "bf16"}, torch.bfloat16),
        ({"dtype": "torch.float64"}, torch.float64),
        ({"torch_dtype": torch.bfloat16}, torch.bfloat16),
        ({"dtype": "auto"}, torch.float32),
    ],
)
def test_types_by_the_names_that_people_use(make, options, dtype):
    assert make(**options).stages["pose"].dtype == dtype


def test_other_types_and_code_of_repositories_are_refused(make):
    for dtype in ("int8", "fast", "Tensor", "", 16, torch.int8, np.float32, "float8_e4m3fn"):
        with pytest.raises(InputError, match="expected 'auto'"):
            make(dtype=dtype)
    with pytest.raises(ConfigError, match="runs no code"):
        make(trust_remote_code=True)
    for options in ({"quantization_config": object()}, {"model_kwargs": {"quantization_config": object()}}):
        with pytest.raises(ConfigError, match="cannot be built"):
            make(**options)


@pytest.mark.parametrize("model", ["", 5, b"demo", ["demo"], {}])
def test_what_names_no_model_is_one_sentence(model):
    with pytest.raises(InputError, match="expected an alias"):
        hfpose.pipeline(model=model)
    with pytest.raises(InputError, match="detector is"):
        hfpose.pipeline(model="demo", detector=model)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("batch_size", "4"),
        ("batch_size", 1.5),
        ("batch_size", 0),
        ("num_workers", -1),
        ("num_workers", "2"),
        ("box_threshold", "high"),
        ("nms_threshold", float("nan")),
        ("flip_test", "yes"),
        ("detect_every", "2"),
        ("keypoint_threshold", None),
    ],
)
def test_options_of_another_type_or_range_are_one_sentence(make, option, value):
    with pytest.raises(InputError, match=f"{option} is .*(expected|must be)"):
        make()(image(), **{option: value})
    if option in ("batch_size", "num_workers"):
        with pytest.raises(InputError, match=option):
            make(**{option: value})


def test_the_task_has_the_name_of_the_hub_too():
    pipe = hfpose.pipeline("keypoint-detection", model="demo", device="cpu")
    assert type(pipe) is hfpose.PoseEstimationPipeline
    with pytest.raises(ValueError, match="keypoint-detection"):
        hfpose.pipeline("object-detection", model="demo")


def test_options_of_all_calls_are_given_once(make, monkeypatch):
    pipe = make(batch_size=3, num_workers=0)
    sizes, estimate = [], pipe.estimator._estimate
    monkeypatch.setattr(
        pipe.estimator, "_estimate", lambda images, *rest: sizes.append(len(images)) or estimate(images, *rest)
    )
    pipe([image()] * 4)
    pipe([image()] * 4, batch_size=2)
    assert sizes == [3, 1, 2, 2]
