"""Providers of ONNX Runtime for devices, and float16 for those that compute in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hfpose.backends.onnx_cache import cached_graph
from hfpose.backends.onnx_graphs import example_inputs
from hfpose.backends.onnx_providers import providers
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.errors import ConfigError
from hfpose.pipelines.stage import load_stage
from small_models import small_model

CPU = ("CPUExecutionProvider", {})
CUDA = ("CUDAExecutionProvider", {"device_id": 1})
ENGINES = {"trt_engine_cache_enable": True, "trt_engine_cache_path": "engines",
           "trt_timing_cache_enable": True, "trt_timing_cache_path": "engines"}  # fmt: skip


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("cpu", [CPU]),
        ("cuda:1", [CUDA, CPU]),
        (
            "tensorrt:1",
            [("TensorrtExecutionProvider", {"device_id": 1, "trt_fp16_enable": True, **ENGINES}), CUDA, CPU],
        ),
        ("coreml", [("CoreMLExecutionProvider", {"ModelFormat": "MLProgram", "ModelCacheDirectory": "engines"}), CPU]),
        ("directml", [("DmlExecutionProvider", {"device_id": 0}), CPU]),
    ],
)
def test_each_device_has_its_provider_and_what_computes_the_rest(device, expected):
    available = [f"{name}ExecutionProvider" for name in ("Azure", "Tensorrt", "CUDA", "CoreML", "Dml", "CPU")]
    assert providers(device, available, is_half=True, cache=Path("engines")) == expected


@pytest.mark.parametrize(
    ("device", "advice"),
    [
        ("tensorrt", "Install onnxruntime-gpu in its place"),
        ("coreml", "Install onnxruntime, on macOS in its place"),
        ("directml", "Install onnxruntime-directml, on Windows in its place"),
        ("xpu", "Devices are cpu, cuda, tensorrt, coreml, directml"),
    ],
)
def test_a_provider_that_is_not_there_is_named_with_its_package(device, advice):
    with pytest.raises(ConfigError, match=f"cannot run on {device}: .* offers CPUExecutionProvider. {advice}"):
        providers(device, ["CPUExecutionProvider"])


@pytest.fixture
def stage(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path))
    model, processor = small_model("rtmpose")
    return load_stage(model, "pose", processor)


def test_a_device_of_onnxruntime_that_is_not_there_is_refused_when_a_stage_is_loaded(stage):
    with pytest.raises(ConfigError, match="cannot run on tensorrt"):
        load_stage(stage.model, "pose", stage.image_processor, backend="onnxruntime", device="tensorrt")


def test_a_graph_in_float16_keeps_the_first_layer_the_head_and_outputs_in_float32(stage):
    path = cached_graph(stage.model, stage.image_processor)
    inputs = example_inputs(stage.model, stage.image_processor, 2)
    exact, half = (OnnxSession(path, dtype=dtype)(inputs)["simcc_x"] for dtype in (torch.float32, torch.float16))
    assert half.dtype == torch.float32
    apart = (half - exact).abs().max() / exact.abs().max()
    assert 1e-5 < apart < 1e-2
