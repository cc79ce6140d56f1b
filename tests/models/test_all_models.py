"""What the models of all families have in common."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from golden import Golden, all_goldens
from hfpose.models.shared.heatmaps import blur_matrix
from hfpose.models.shared.pixels import _value_table
from hfpose.models.vitpose.experts import forward_arguments
from networks import with_checkpointing
from small_models import SMALL_MODELS, save_model, small_model
from transformers_common.tiny_models import NAMES, inputs_for, tiny_models


@pytest.fixture(scope="module")
def tiny() -> dict[str, Any]:
    return tiny_models()


@pytest.fixture
def model(name: str, tiny: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    model_class, config = tiny[name]
    return model_class(config)


@pytest.mark.parametrize("options", [{}, {"device_map": "cpu"}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_saved_models_load_whole_and_compute_the_same(
    model: PreTrainedModel, options: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model.eval().save_pretrained(tmp_path)
    loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True, **options)
    assert not any(report.values())
    assert not caplog.records
    assert loaded.config.id2label == model.config.id2label
    assert getattr(loaded.config, "keypoint_schema", None) == getattr(model.config, "keypoint_schema", None)
    inputs = inputs_for(type(model), model.config)
    with torch.inference_mode():
        torch.testing.assert_close(dict(loaded(**inputs)), dict(model(**inputs)), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "internet"])  # which does not support it
def test_gradient_checkpointing_changes_no_gradient(model: PreTrainedModel) -> None:
    saving = with_checkpointing(copy.deepcopy(model))
    inputs = inputs_for(type(model), model.config)
    for each in (model, saving):
        torch.manual_seed(1)
        outputs = [value for value in each.train()(**inputs).values() if isinstance(value, Tensor)]
        sum(output.square().mean() for output in outputs if output.requires_grad).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert any(gradient.any() for gradient in gradients.values())
    for name, parameter in saving.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients.get(name), msg=name, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("golden", all_goldens(), ids=lambda golden: golden.name)
def test_every_tensor_of_the_reference_has_its_place(golden: Golden) -> None:
    golden.check_places()


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_saved_image_processors_are_the_same(name: str, tmp_path: Path) -> None:
    _, processor = small_model(name)
    processor.save_pretrained(tmp_path)
    assert type(processor).from_pretrained(tmp_path).to_dict() == processor.to_dict()


@pytest.mark.parametrize("name", ["rtmdet", "yolox", "ssdlite"])
def test_boxes_are_float32_whatever_the_weights_are(model: PreTrainedModel) -> None:
    with torch.inference_mode():
        outputs = model.eval().bfloat16()(torch.rand(1, 3, 64, 64).bfloat16())
    assert outputs.logits.dtype == torch.bfloat16
    assert outputs.pred_boxes.dtype == torch.float32


@pytest.mark.parametrize(("name", "threshold"), [("rtmdet", 0.5), ("yolox", 0.2), ("ssdlite", 0.3)])
def test_object_detection_pipeline_of_transformers(name: str, threshold: float, tmp_path: Path) -> None:
    model, processor = small_model(name)
    image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    detector = transformers.pipeline("object-detection", model=str(save_model(name, tmp_path)))
    found = detector(Image.fromarray(image), threshold=threshold)
    with torch.inference_mode():
        outputs = model(**processor(image, return_tensors="pt"))
    expected = processor.post_process_object_detection(outputs, threshold, [(48, 80)])[0]
    assert len(found) == len(expected["scores"]) > 0
    assert [each["score"] for each in found] == pytest.approx(expected["scores"].tolist())
    assert [each["label"] for each in found] == [model.config.id2label[int(label)] for label in expected["labels"]]
    assert [list(each["box"].values()) for each in found] == expected["boxes"].int().tolist()


@pytest.mark.parametrize("name", NAMES)
def test_models_compute_within_autocast(model: PreTrainedModel) -> None:
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outputs = model.eval()(**inputs_for(type(model), model.config))
    assert all(value.isfinite().all() for value in outputs.values() if isinstance(value, Tensor))


@pytest.mark.parametrize("name", [name for name in SMALL_MODELS if name != "motionbert"])
def test_processors_work_wherever_torch_makes_tensors(name: str) -> None:
    model, processor = small_model(name)
    image = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    for cached in (blur_matrix, _value_table):
        cached.cache_clear()
    with torch.device("meta"):
        pixel_values = processor(image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        outputs = model(pixel_values=pixel_values, **forward_arguments(model, 1))
    found = []
    for device, dtype in (("meta", torch.float32), ("cpu", torch.bfloat16), ("cpu", torch.float32)):
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                found.append(_found(processor, outputs))
        finally:
            torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found[:2], found[1:], rtol=0, atol=0, equal_nan=True)


def _found(processor: Any, outputs: Any) -> Any:
    """What is found in one image of 80x48 pixels."""
    if hasattr(processor, "post_process_object_detection"):
        return processor.post_process_object_detection(outputs, 0.0, [(48, 80)])
    if getattr(processor, "is_one_stage", False):
        return processor.post_process_pose_estimation(outputs, [(48, 80)])
    return processor.post_process_pose_estimation(outputs, [[[0, 0, 80, 48]]])
