"""Stages that torch.compile has compiled."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import hfpose
from hfpose.backends.compile_backend import CompiledRunner
from hfpose.backends.onnx_graphs import example_inputs
from hfpose.errors import ConfigError
from hfpose.pipelines.stage import load_stage
from small_models import small_lifter, small_model

BOXES = [[40.0, 30.0, 120.0, 200.0], [150.0, 20.0, 260.0, 220.0]]


@pytest.fixture(autouse=True)
def forget_compiled():
    import torch._dynamo  # takes a second, in which files are only collected

    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def counter(monkeypatch):
    """Counts graphs that are compiled, and runs them without compiling, which would take long."""
    from torch._dynamo.testing import CompileCounter

    counter, compile = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda network, **_: compile(network, backend=counter))
    return counter


@pytest.mark.parametrize(
    "make",
    [
        partial(small_model, "heatmap"),
        small_lifter,
        pytest.param(partial(small_model, "motionbert"), marks=pytest.mark.slow),
    ],
    ids=["images", "clips", "motionbert"],
)
def test_one_image_and_several_are_compiled_and_other_numbers_are_not(make, counter):
    model, processor = make()
    runner = CompiledRunner(model)
    with torch.inference_mode():
        for count in (1, 2, 3, 5, 8):
            inputs = example_inputs(model, processor, count, seed=count)
            if "pixel_values" in inputs:  # whatever order they come in
                order = torch.channels_last if count % 2 else torch.contiguous_format
                inputs["pixel_values"] = inputs["pixel_values"].contiguous(memory_format=order)
            found, expected = runner(**inputs), model(**inputs)
            for key, value in expected.items():
                torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4 * float(value.abs().max()))
    assert counter.frame_count == 2


def test_weights_that_change_are_followed(counter):
    model, processor = small_model("vitpose")
    stage = load_stage(model, "pose", processor, backend="compile")
    inputs = example_inputs(model, processor, 2)
    with torch.inference_mode():
        before = stage.run(**inputs).heatmaps
    with torch.no_grad():
        model.head.conv.weight.mul_(2)
        model.head.conv.bias.mul_(2)
    with torch.inference_mode():
        torch.testing.assert_close(stage.run(**inputs).heatmaps, 2 * before, rtol=1e-3, atol=1e-4)


def test_models_of_other_families_are_compiled_as_they_are(counter):
    from transformers import YolosConfig, YolosForObjectDetection

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    model = YolosForObjectDetection(YolosConfig(image_size=[32, 32], num_detection_tokens=3, **sizes)).eval()
    runner, pixel_values = CompiledRunner(model), torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(runner(pixel_values=pixel_values).logits, model(pixel_values).logits)
    assert runner.memory_format == torch.contiguous_format
    assert counter.frame_count > 0


def test_a_machine_without_a_compiler_is_told_what_to_do():
    from torch._inductor import config

    model, processor = small_model("rtmpose")
    message = r'needs a C\+\+ compiler.*Install one.*backend="onnxruntime"'
    with config.patch({"cpp.cxx": (None, "no-such-compiler")}), pytest.raises(ConfigError, match=message):
        load_stage(model, "pose", processor, backend="compile")


def test_a_model_that_accelerate_moves_is_refused(counter):
    from accelerate import cpu_offload

    model, processor = small_model("rtmpose")
    stage = load_stage(model, "pose", processor, backend="compile")
    cpu_offload(model, torch.device("cpu"))
    with pytest.raises(ConfigError, match="cannot follow"):
        stage.run(**example_inputs(model, processor, 1))


@pytest.mark.slow
def test_a_pipeline_gives_the_same_people(tiny_pose):
    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    expected, found = (
        hfpose.pipeline(model=tiny_pose, detector="whole_image", device="cpu", backend=backend)(image, boxes=BOXES)
        for backend in ("torch", "compile")
    )
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.1)
    np.testing.assert_allclose(found.keypoint_scores, expected.keypoint_scores, atol=1e-3)
