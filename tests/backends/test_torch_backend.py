"""What runs the models of a pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import hfpose
from hfpose.errors import ConfigError
from hfpose.pipelines.stage import load_stage

BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0]]


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)


def crops(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 256, 192, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
def outputs(runs) -> torch.Tensor:
    return runs(pixel_values=crops())["simcc_x"]


@pytest.fixture
def stage(tiny_pose):
    return load_stage(tiny_pose, "pose")


def test_a_model_of_the_pipelines_own_runs_as_a_copy_without_normalizations(stage):
    plain, fast = outputs(stage.model), outputs(stage.run)
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
    copy = stage.runner.made.network
    assert not any(isinstance(module, nn.BatchNorm2d) for module in copy.modules())
    assert stage.memory_format == torch.channels_last


def test_a_model_of_the_caller_is_called_itself(tiny_pose):
    model = hfpose.RTMPoseForPoseEstimation.from_pretrained(tiny_pose)
    stage = load_stage(model, "pose")
    called = []
    model.register_forward_hook(lambda *_: called.append(True))
    torch.testing.assert_close(outputs(stage.run), outputs(model), rtol=0, atol=0)
    assert len(called) == 2
    assert any(isinstance(module, nn.BatchNorm2d) for module in stage.model.modules())


def test_saving_after_running_writes_the_weights_that_were_loaded(tiny_pose, tmp_path):
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", device="cpu")
    pipe(image())
    pipe.save_pretrained(tmp_path)
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_pose, tmp_path / "pose"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_weights_that_change_are_followed(stage):
    before = outputs(stage.run)
    with torch.no_grad():
        stage.model.head.classifier_x.weight.mul_(2)
    torch.testing.assert_close(outputs(stage.run), 2 * before, rtol=1e-4, atol=1e-4)
    stage.model.load_state_dict({name: value * 0.5 for name, value in stage.model.state_dict().items()})
    torch.testing.assert_close(outputs(stage.run), outputs(stage.model), rtol=1e-3, atol=1e-4)


def test_a_pipeline_that_is_cast_refreshes_its_backends(tiny_pose):
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector="whole_image", device="cpu")
    expected = pipe(image()).keypoints
    stage = pipe.stages["pose"]
    pipe.to(dtype="float64")
    with torch.inference_mode():
        assert stage.run(pixel_values=crops().double())["simcc_x"].dtype == torch.float64
    np.testing.assert_allclose(pipe(image()).keypoints, expected, atol=0.5)


def test_an_unchanged_model_is_copied_once(stage):
    outputs(stage.run)
    copy = stage.runner.made.network
    outputs(stage.run)
    assert stage.runner.made.network is copy


def test_a_model_in_training_and_one_that_accelerate_moves_are_called_themselves(stage):
    from accelerate import cpu_offload
    from accelerate.hooks import remove_hook_from_module

    expected = outputs(stage.run)
    called = []
    stage.model.register_forward_hook(lambda *_: called.append(True))
    cpu_offload(stage.model, torch.device("cpu"))
    torch.testing.assert_close(outputs(stage.run), expected, rtol=1e-4, atol=1e-4)
    remove_hook_from_module(stage.model, recurse=True)
    stage.model.train()
    stage.run(pixel_values=crops())
    assert len(called) == 2
    assert stage.memory_format == torch.contiguous_format


def test_an_unknown_backend_lists_the_known_ones(tiny_pose):
    with pytest.raises(ConfigError, match="'torch', 'compile', 'onnxruntime'"):
        load_stage(tiny_pose, "pose", backend="tensorrt")
