"""The fastest backend that is installed, and the fastest type that costs no accuracy."""

from __future__ import annotations

import pytest
import torch

from hfpose.backends import auto_backend
from hfpose.backends.auto_backend import AutoRunner, computes_bfloat16, fastest_dtype
from hfpose.backends.onnx_graphs import example_inputs
from hfpose.backends.torch_backend import TorchRunner
from hfpose.errors import ConfigError
from hfpose.pipelines.stage import load_stage
from small_models import small_model


@pytest.fixture(autouse=True)
def fast_machine(monkeypatch, tmp_path_factory):
    """A CPU with bfloat16, and nothing that the environment says."""
    for name in ("HFPOSE_BACKEND", "HFPOSE_DTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HFPOSE_CACHE", str(tmp_path_factory.getbasetemp() / "auto-cache"))
    monkeypatch.setattr(auto_backend, "computes_bfloat16", lambda: True)


@pytest.fixture
def no_openvino(monkeypatch):
    monkeypatch.setattr(auto_backend, "is_installed", lambda name: False)


@pytest.mark.parametrize("name", ["rtmpose", "vitpose"])
def test_families_that_lose_nothing_compute_in_bfloat16_on_a_cpu(name, monkeypatch):
    model, _ = small_model(name)
    cpu = torch.device("cpu")
    assert fastest_dtype(model, cpu) == (torch.bfloat16 if name == "rtmpose" else torch.float32)
    assert fastest_dtype(model, torch.device("cuda")) == (torch.float16 if name == "rtmpose" else torch.float32)
    monkeypatch.setattr(auto_backend, "computes_bfloat16", lambda: False)
    assert fastest_dtype(model, cpu) == torch.float32
    monkeypatch.setenv("HFPOSE_DTYPE", "bfloat16")
    assert fastest_dtype(model, cpu) == torch.bfloat16
    monkeypatch.setenv("HFPOSE_DTYPE", "fast")
    with pytest.raises(ConfigError, match="HFPOSE_DTYPE is 'fast'"):
        fastest_dtype(model, cpu)


def test_the_first_layer_and_the_head_stay_in_float32():
    model, processor = small_model("rtmpose")
    inputs = example_inputs(model, processor, 2)
    with torch.inference_mode():
        found, expected = TorchRunner(model, torch.bfloat16)(**inputs), model(**inputs)
    assert found.simcc_x.dtype == torch.float32
    assert (found.simcc_x - expected.simcc_x).abs().max() > 1e-4 * expected.simcc_x.abs().max()
    assert torch.corrcoef(torch.stack((found.simcc_x.flatten(), expected.simcc_x.flatten())))[0, 1] > 0.99
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_pipeline_chooses_what_is_installed_and_tells(tiny_pose, no_openvino):
    stage = load_stage(tiny_pose, "pose", device="cpu", dtype="auto", backend="auto")
    assert (stage.backend, stage.dtype, stage.model.dtype) == ("torch bfloat16", torch.float32, torch.float32)
    stage.cast("float32")
    stage.refresh()
    assert stage.backend == "torch float32"


@pytest.mark.skipif(not computes_bfloat16(), reason="needs a CPU that computes in bfloat16")
def test_openvino_is_taken_where_it_is_installed(tiny_pose, monkeypatch):
    pytest.importorskip("openvino")
    stage = load_stage(tiny_pose, "pose", device="cpu", dtype="auto", backend="auto")
    assert stage.backend == "openvino bfloat16"
    assert load_stage(tiny_pose, "pose", device="cpu", backend="auto").backend == "openvino float32"
    monkeypatch.setenv("HFPOSE_BACKEND", "torch")
    assert load_stage(tiny_pose, "pose", device="cpu", dtype="auto", backend="auto").backend == "torch bfloat16"


def test_what_openvino_cannot_run_torch_runs(caplog):
    pytest.importorskip("openvino")
    model, processor = small_model("rtmpose")
    with torch.no_grad():
        model.head.classifier_x.weight.fill_(float("nan"))
    runner = AutoRunner(model, processor, torch.bfloat16)
    assert runner.name == "torch"
    assert "torch runs the RTMPoseForPoseEstimation: " in caplog.text


@pytest.mark.parametrize(("name", "backend"), [("rtmdet", "openvino"), ("dekr", "torch")])
@pytest.mark.skipif(not computes_bfloat16(), reason="needs a CPU that computes in bfloat16")
def test_torch_runs_models_whose_flip_test_lies_within_the_network(name, backend):
    pytest.importorskip("openvino")
    runner = AutoRunner(*small_model(name), torch.bfloat16)
    assert (runner.name, runner.computing_dtype) == (backend, torch.bfloat16)


def test_models_of_the_caller_run_as_they_are():
    model, processor = small_model("rtmpose")
    stage = load_stage(model, "pose", processor, dtype="auto", backend="auto")
    assert stage.run is model
    assert stage.backend == "torch float32"
