"""Models as ONNX files."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import small_bottom_up
from hfpose.backends import onnx_graphs
from hfpose.backends.onnx_graphs import MAX_DIFFERENCE, Difference, compare_graph, example_inputs, export_graph
from hfpose.backends.onnx_sessions import OnnxSession
from hfpose.backends.openvino_sessions import OpenVinoSession
from hfpose.errors import CheckpointError, ConfigError
from hfpose.models.heatmap.configuration_heatmap import HeatmapConfig
from hfpose.models.heatmap.image_processing_heatmap import HeatmapImageProcessor
from hfpose.models.heatmap.modeling_heatmap import HeatmapForPoseEstimation
from hfpose.models.shared.gated_attention import GatedAttentionUnit
from hfpose.version import __version__
from networks import settle_normalizations
from small_backbones import SMALL_BACKBONES
from small_models import SMALL_MODELS, small_model

OUTPUTS = {
    "rtmpose": ["simcc_x", "simcc_y"],
    "heatmap": ["heatmaps"],
    "regression-rle": ["coordinates", "sigmas"],
    "regression-dsnt": ["coordinates", "heatmaps"],
    "simcc": ["simcc_x", "simcc_y"],
    "vitpose": ["heatmaps"],
    "vitpose-experts": ["heatmaps"],
    "internet": ["heatmaps", "root_depth", "hand_type"],
    "motionbert": ["keypoints_3d"],
    "rtmo": ["logits", "pred_boxes", "pred_keypoints", "keypoint_logits", "places"],
    "yolox_pose": ["logits", "objectness", "pred_boxes", "pred_keypoints", "keypoint_logits"],
    "dekr": [
        "pred_keypoints",
        "keypoint_scores",
        "center_scores",
        "pose_scores",
        "places",
        "heatmaps",
        "displacements",
    ],
    "cid": ["heatmaps", "centers", "center_scores", "places"],
    "associative_embedding": ["heatmaps", "tags"],
    "rtmdet": ["logits", "pred_boxes"],
    "yolox": ["logits", "objectness", "pred_boxes"],
    "ssdlite": ["logits", "pred_boxes"],
}


class Exported(NamedTuple):
    model: Any
    processor: Any
    path: Path
    differences: dict[str, Difference]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], Exported]:
    """The small model of a family and its graph, exported once; tests leave the model as it is."""

    @cache
    def export(name: str) -> Exported:
        model, processor = small_model(name)
        path = tmp_path_factory.mktemp(name) / "model.onnx"
        return Exported(model, processor, path, export_graph(model, processor, path))

    return export


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_every_family_computes_what_torch_computes_for_any_batch_size(name, exported):
    model, processor, path, differences = exported(name)
    assert list(differences) == OUTPUTS[name]
    assert all(difference.relative <= MAX_DIFFERENCE for difference in differences.values())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == OUTPUTS[name]
    for count in (1, 5):
        inputs = example_inputs(model, processor, count, seed=7)
        found = session.run(None, {key: value.numpy() for key, value in inputs.items()})
        with torch.inference_mode():
            expected = model(**inputs)
        for key, value in zip(OUTPUTS[name], found, strict=True):
            np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-4 * float(expected[key].abs().max()))


@pytest.mark.parametrize("name", small_bottom_up.FAMILIES)
def test_bottom_up_models_take_images_of_any_shape(name, exported):
    model, processor, path, _ = exported(name)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).integers(0, 256, (50, 110, 3), dtype=np.uint8)
    inputs = processor(image, return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 64, 160)
    with torch.inference_mode():
        expected = model(**inputs)
    found = session.run(None, {"pixel_values": inputs["pixel_values"].numpy()})
    for key, value in zip(OUTPUTS[name], found, strict=True):
        np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-4 * float(expected[key].abs().max()))


# YOLOX has the anchor points of RTMDet.
@pytest.mark.parametrize("name", ["rtmdet", pytest.param("yolox", marks=pytest.mark.slow), "ssdlite"])
def test_detectors_take_images_of_any_size_where_that_is_asked(name, tmp_path):
    model, processor = small_model(name)
    path = tmp_path / "model.onnx"
    export_graph(model, processor, path, any_size=True)
    size = processor.size
    other = processor.with_settings(size={"height": size["height"] + 32, "width": size["width"] + 96})
    inputs = example_inputs(model, other, 2)
    with torch.inference_mode():
        expected = model(**inputs)
    kinds = [OnnxSession, *[OpenVinoSession] * (importlib.util.find_spec("openvino") is not None)]
    for session in [kind(path) for kind in kinds]:
        for key, value in session(inputs).items():
            torch.testing.assert_close(value, expected[key], rtol=1e-3, atol=1e-4 * float(expected[key].abs().max()))


def test_pose_models_have_one_size(tmp_path):
    with pytest.raises(ConfigError, match="takes images of the size that it was trained with"):
        export_graph(*small_model("rtmpose"), tmp_path / "model.onnx", any_size=True)


@pytest.mark.parametrize(
    "name",
    [
        "resnest",
        "scnet",
        "shufflenet_v2",
        "vipnas_mobilenet_v3",
        "swin",
        "pvt",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vipnas_resnet", "vgg")),  # of the same operators
    ],
)
def test_backbones_compute_what_torch_computes(name, tmp_path):
    config = HeatmapConfig(
        backbone_config=SMALL_BACKBONES[name][0](), image_size=(64, 64), deconv_channels=(8,), deconv_kernel_sizes=(4,)
    )
    model = HeatmapForPoseEstimation(config)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(1.5 / parameter[0].numel()) ** 0.5)
    settle_normalizations(model, torch.randn(8, 3, 64, 64))
    processor = HeatmapImageProcessor(size={"height": 64, "width": 64})
    differences = export_graph(model.eval(), processor, tmp_path / "model.onnx")
    assert differences["heatmaps"].relative <= MAX_DIFFERENCE


@pytest.mark.parametrize("name", [name for name in SMALL_MODELS if not name.startswith("vitpose-")])
def test_openvino_computes_what_torch_computes_for_any_batch_size(name, exported):
    pytest.importorskip("openvino")
    model, processor, path, _ = exported(name)
    examples = (example_inputs(model, processor, count, seed=count) for count in (1, 3))
    assert list(compare_graph(OpenVinoSession(path), model, examples)) == OUTPUTS[name]


@pytest.mark.parametrize("name", ["rtmpose", "yolox"])
def test_graphs_tell_what_they_are_of_and_have_no_branches(name, exported):
    model, processor, path, _ = exported(name)
    graph = onnx.load(path)
    facts = {entry.key: entry.value for entry in graph.metadata_props}
    assert facts["hfpose_version"] == __version__
    assert facts["model_type"] == model.config.model_type
    assert facts["layout"] == "NCHW"
    assert json.loads(facts["image_mean"]) == processor.image_mean
    assert ("keypoint_names" in facts) == (name == "rtmpose")
    assert "If" not in {node.op_type for node in graph.graph.node}


@pytest.mark.parametrize("name", ["rtmpose", "rtmdet", "yolox"])
def test_opencv_computes_the_same_from_a_graph(name, exported):
    model, processor, path, _ = exported(name)
    inputs = example_inputs(model, processor, 1)
    network = cv2.dnn.readNetFromONNX(str(path))
    network.setInput(inputs["pixel_values"].numpy())
    with torch.inference_mode():
        expected = model(**inputs)
    for value, found in zip(expected.values(), network.forward(OUTPUTS[name]), strict=True):
        torch.testing.assert_close(torch.from_numpy(found), value, rtol=1e-3, atol=1e-3)


def test_normalizations_are_folded_and_the_model_stays_as_it_was(exported):
    model, _, path, _ = exported("rtmpose")
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators
    before, after = small_model("rtmpose")[0].state_dict(), model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_half_precision_is_exported_in_full(tmp_path):
    model, processor = small_model("vitpose")
    export_graph(model.half(), processor, tmp_path / "model.onnx")
    assert model.dtype == torch.float16
    types = {tensor.data_type for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert onnx.TensorProto.FLOAT in types
    assert onnx.TensorProto.FLOAT16 not in types


def test_the_asked_opset_is_written_and_a_strange_one_refused(tmp_path):
    model, processor = small_model("vitpose")
    export_graph(model, processor, tmp_path / "model.onnx", opset=18)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 18
    with pytest.raises(ConfigError, match="opset is 9; expected 14 to 20"):
        export_graph(model, processor, tmp_path / "model.onnx", opset=9)


def test_large_weights_lie_in_a_file_beside_the_graph(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graphs, "_MAX_PROTOBUF_BYTES", 10_000)
    model, processor = small_model("vitpose")
    for _ in range(2):  # written again, not added to
        export_graph(model, processor, tmp_path / "model.onnx")
        sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
        assert sizes.keys() == {"model.onnx", "model.onnx.data"}
    assert sizes["model.onnx.data"] < 4 * sum(value.numel() for value in model.parameters()) * 1.1


def test_a_file_that_computes_something_else_is_an_error(exported):
    path, (model, processor) = exported("rtmpose").path, small_model("rtmpose")
    attention = next(module for module in model.modules() if isinstance(module, GatedAttentionUnit))
    with torch.no_grad():
        attention.query_key_bias.add_(0.5)
    with pytest.raises(CheckpointError, match="something else than torch: simcc_"):
        compare_graph(OnnxSession(path), model, [example_inputs(model, processor, 1)])
    with torch.no_grad():
        attention.query_key_bias.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        compare_graph(OnnxSession(path), model, [example_inputs(model, processor, 1)])


def test_models_of_other_families_are_refused(tmp_path):
    from transformers import YolosConfig, YolosForObjectDetection

    config = YolosConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    with pytest.raises(ConfigError, match=r"YolosForObjectDetection \(yolos\) is not one of the models"):
        export_graph(YolosForObjectDetection(config), None, tmp_path / "model.onnx")
