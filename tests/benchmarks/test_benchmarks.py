"""The benchmarks run, and say what they measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # scripts that import each other as scripts do

import end_to_end  # noqa: E402
import measuring  # noqa: E402
import stages  # noqa: E402
import systems  # noqa: E402
import tracking  # noqa: E402
import workloads  # noqa: E402
from eight_bits import errors_with_trained_weights  # noqa: E402
from hfpose.pipelines.stage import load_stage  # noqa: E402
from hfpose.tracking import identity_tracker  # noqa: E402


def run(benchmark, folder: Path, *arguments: str) -> tuple[str, dict]:
    benchmark.main(["--quick", "--threads", "1", "--output", str(folder), *arguments])
    name = benchmark.__name__
    return (folder / f"{name}.md").read_text(), json.loads((folder / f"{name}.json").read_text())


@pytest.mark.slow
def test_end_to_end(tmp_path):
    parts = ("--parts", "start", "images", "clip")
    text, results = run(end_to_end, tmp_path, "--systems", "hfpose torch", "--people", "1", *parts)
    image, clip = results["images"]["1"]["hfpose torch"], results["clip"]["hfpose torch"]
    assert len(image["seconds"]) == 2
    assert 0 < results["start"]["hfpose torch"]["seconds"][0] < 100
    assert image["stages"]["pose"] > 0
    assert clip["frames"] == 8
    assert "| hfpose torch |" in text


def test_one_stage_models_are_compared_with_and_without_rtmlib():
    seconds = {"RTMO-s, hfpose torch": [0.2], "RTMO-s, rtmlib": [0.3], "hfpose torch": [0.1]}
    images = {"1": {name: {"seconds": times} for name, times in seconds.items()}}
    text = end_to_end.one_stage_report({"machine": measuring.machine(1), "images": images, "repetitions": 1})
    assert "| RTMO-s | hfpose torch | 200 (1.50) |" in text
    assert "| RTMDet-nano, RTMPose-m | hfpose torch | 100 |" in text


def test_rtmlib_reads_the_scores_behind_boxes_and_keypoints():
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from rtmlib_export import as_rtmo

    shapes = {
        "logits": (1, 2),
        "pred_boxes": (1, 2, 4),
        "pred_keypoints": (1, 2, 17, 2),
        "keypoint_logits": (1, 2, 17),
    }
    values = [onnx.helper.make_tensor_value_info(f"{name}_in", 1, shape) for name, shape in shapes.items()]
    nodes = [onnx.helper.make_node("Identity", [f"{name}_in"], [name]) for name in shapes]
    outputs = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = onnx.helper.make_graph(nodes, "all", values, outputs)
    model = as_rtmo(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    dets, keypoints = session.run(None, {f"{name}_in": np.zeros(shape, np.float32) for name, shape in shapes.items()})
    assert dets.shape == (1, 2, 5) and keypoints.shape == (1, 2, 17, 3)
    assert dets[..., 4].tolist() == [[0.5, 0.5]] and (keypoints[..., 2] == 0.5).all()


def test_int8_is_exported_and_runs_and_its_error_is_that_of_trained_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(workloads, "DETECTOR_CHECKPOINT", tmp_path / "nothing")
    workload = workloads.make_workload(tmp_path / "workload", people=(2,), clip_frames=2, is_small=True)
    system = systems.make_system("hfpose onnxruntime int8", workload, 1, 1)
    (image,) = workload.images
    assert system.keypoints(image.path, image.people_boxes).shape == (2, 17, 2)
    assert json.loads((tmp_path / "workload" / "pose-int8" / "quantization.json").read_text())["mode"] == "static"
    errors = errors_with_trained_weights(workload)
    assert list(errors) == ["The demo's RTMPose"]
    assert 0 < errors["The demo's RTMPose"]["mean"] < 3
    assert "| The demo's RTMPose | 1 images of calibration |" in end_to_end._error_table(errors)


@pytest.mark.slow
def test_stages(tmp_path):
    text, results = run(stages, tmp_path, "--parts", "video", "people")
    assert results["video"]["1080p"]["frames"] == 5
    assert 0 < results["video"]["640"]["outside"] < 1
    assert set(results["people"]) == {"1", "4"}
    assert "Number of people" in text


@pytest.mark.slow
def test_operations_are_counted_and_compared_with_a_product_of_matrices(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "FORWARD_BATCHES", {"detector": (1,), "pose": (1, 2)})
    text, results = run(stages, tmp_path, "--parts", "forward", "--dtype", "bfloat16")
    forward = results["forward"]
    assert results["dtype"] == "bfloat16"
    assert set(forward["passes"]["pose"]) == {"torch, 1", "torch, 2"}
    assert forward["operations"]["pose"] > 1e6 and forward["peak"] > 1e6
    assert "share of the peak" in text and "| pose, 2 | torch |" in text


def test_the_operations_of_rtmpose_are_those_that_were_published(tmp_path):
    """1.93 billion multiplications with their additions for RTMPose-m 256x192."""
    pose = load_stage(workloads.make_pose_model(tmp_path / "pose", False), "pose")
    assert stages._operations(pose) == pytest.approx(2 * 1.93e9, rel=0.05)


def test_a_stopwatch_counts_what_runs_inside_for_itself(monkeypatch):
    now = iter([0.0, 1.0, 4.0, 9.0])
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(now))
    watch = measuring.Stopwatch()
    with watch.measure("outer"), watch.measure("inner"):
        pass
    assert watch.take() == {"inner": 3.0, "outer": 6.0}
    assert watch.take() == {}


def test_actions_take_turns():
    order: list[str] = []
    actions = {name: lambda name=name: order.append(name) or float(len(order)) for name in "ab"}
    assert measuring.in_turns(actions, repetitions=2, warm_up=1) == {"a": [3.0, 5.0], "b": [4.0, 6.0]}
    assert order == list("ababab")


def test_a_section_of_a_page_is_replaced():
    page = "before\n<!-- begin x -->\nold\n<!-- end x -->\nafter\n"
    assert measuring.with_section(page, "x", "new") == "before\n<!-- begin x -->\n\nnew\n\n<!-- end x -->\nafter\n"
    with pytest.raises(ValueError, match="begin y"):
        measuring.with_section(page, "y", "new")


SPEED = ("end_to_end", "one_stage", "stages", "stages_accelerator", "detect_every")
SECTIONS = {
    "performance": (*SPEED, "half_precision", "half_precision_families", "half_precision_accelerator"),
    "motion": ("motion_clips", "motion_streams"),
    "tracking": ("tracking",),
}


@pytest.mark.parametrize("page", SECTIONS)
def test_pages_have_room_for_the_tables(page):
    text = (measuring.ROOT / "docs" / f"{page}.md").read_text()
    assert all("new" in measuring.with_section(text, name, "new") for name in SECTIONS[page])


def test_what_the_benchmark_of_tracking_switches_off_is_there():
    names = {name for system in tracking.systems().values() for name, _ in system.without}
    assert [name for name in names if not hasattr(identity_tracker, name)] == []
