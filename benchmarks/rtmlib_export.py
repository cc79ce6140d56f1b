"""The benchmark's models as ONNX files in the layout that rtmlib expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hfpose.backends.onnx_graphs import export_graph
from hfpose.pipelines.stage import load_stage
from workloads import Workload

# What MMDeploy writes into an export of RTMDet.
_IOU_THRESHOLD, _SCORE_THRESHOLD, _MOST_BOXES = 0.6, 0.05, 100


def export_for_rtmlib(workload: Workload) -> dict[str, Path]:
    """Files by stage, written beside the models."""
    files = {"pose": _export(workload.pose, "pose")}
    if workload.detector is not None:
        detector = _export(workload.detector, "detector")
        onnx.save(with_suppression(onnx.load(detector)), detector)
        files["detector"] = detector
    for name, folder in (workload.one_stage or {}).items():
        files[name] = _export(folder, "pose")
        onnx.save(as_rtmo(onnx.load(files[name])), files[name])
    return files


def _export(folder: Path, task: str) -> Path:
    stage = load_stage(folder, task)  # type: ignore[arg-type]
    path = folder / f"{task}.onnx"
    export_graph(stage.model, stage.image_processor, path)
    return path


def with_suppression(model: onnx.ModelProto) -> onnx.ModelProto:
    """A detector of one class and one image whose one output is (1, M, 5): corners and score of the boxes that stay.

    Args:
        model: its outputs are `logits` (1, P, 1) and `pred_boxes` (1, P, 4).
    """
    constants = {
        "most": ([_MOST_BOXES], "int64"),
        "iou": ([_IOU_THRESHOLD], "float32"),
        "least": ([_SCORE_THRESHOLD], "float32"),
        "column": ([2], "int64"),
        "one": ([1], "int64"),
    }
    graph = model.graph
    for name, (values, kind) in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, kind), f"nms_{name}"))
    nodes = [
        helper.make_node("Sigmoid", ["logits"], ["nms_scores"]),
        helper.make_node("Transpose", ["nms_scores"], ["nms_by_class"], perm=[0, 2, 1]),
        helper.make_node(
            "NonMaxSuppression", ["pred_boxes", "nms_by_class", "nms_most", "nms_iou", "nms_least"], ["nms_chosen"]
        ),
        helper.make_node("Gather", ["nms_chosen", "nms_column"], ["nms_places"], axis=1),
        helper.make_node("Squeeze", ["nms_places", "nms_one"], ["nms_rows"]),
        helper.make_node("Gather", ["pred_boxes", "nms_rows"], ["nms_boxes"], axis=1),
        helper.make_node("Gather", ["nms_scores", "nms_rows"], ["nms_kept_scores"], axis=1),
        helper.make_node("Concat", ["nms_boxes", "nms_kept_scores"], ["dets"], axis=2),
    ]
    graph.node.extend(nodes)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, None, 5]))
    return model


def as_rtmo(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose outputs are boxes with scores (B, N, 5) and keypoints with scores (B, N, K, 3).

    Args:
        model: its outputs are `logits` (B, N), `pred_boxes` (B, N, 4), `pred_keypoints` (B, N, K, 2) and
            `keypoint_logits` (B, N, K).
    """
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "last_axis"))
    parts = (("logits", "pred_boxes", "dets", (5,)), ("keypoint_logits", "pred_keypoints", "keypoints", (17, 3)))
    del graph.output[:]
    for logits, places, name, sizes in parts:
        graph.node.extend(
            [
                helper.make_node("Sigmoid", [logits], [f"{name}_scores"]),
                helper.make_node("Unsqueeze", [f"{name}_scores", "last_axis"], [f"{name}_column"]),
                helper.make_node("Concat", [places, f"{name}_column"], [name], axis=-1),
            ]
        )
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None, *sizes]))
    return model
