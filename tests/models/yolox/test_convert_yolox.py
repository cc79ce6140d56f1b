"""From the reference's YOLOX settings and checkpoints to ours."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.models.yolox.convert_yolox import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

# Millions of parameters, from table 3 and 4 of the paper; the face model has one class instead of 80.
PARAMETERS = {
    "yolox_tiny_8xb8-300e_coco": 5.06,
    "yolox_s_8xb8-300e_coco": 9.0,
    "yolox_l_8xb8-300e_coco": 54.2,
    "yolox_x_8xb8-300e_coco": 99.1,
    "yolox-s_8xb8-300e_coco-face": 8.94,
    "yolox_nano_8xb8-300e_coco": 0.91,
    "yolox_m_8xb8-300e_coco": 25.3,
    "yolox_nano_8xb8-300e_humanart": 0.91,
    "yolox_tiny_8xb8-300e_humanart": 5.06,
    "yolox_s_8xb8-300e_humanart": 8.97,
    "yolox_m_8xb8-300e_humanart": 25.3,
    "yolox_l_8xb8-300e_humanart": 54.2,
    "yolox_x_8xb8-300e_humanart": 99.1,
}


def meta_model(config):
    with torch.device("meta"):
        return MODEL_CLASS(config)


@pytest.fixture
def reference() -> dict[str, Any]:
    return get_entry("yolox_s_8xb8-300e_coco").reference


def test_the_zoo_has_no_other_yolox():
    assert {entry.name for entry in list_entries("detector") if entry.family == "yolox"} == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_zoo_model_has_the_published_size(name):
    entry = get_entry(name)
    model = meta_model(config_from_reference(entry.reference))
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert count == pytest.approx(PARAMETERS[name], rel=0.006)
    assert list(model.config.id2label.values()) == list(entry.labels)


def test_an_unknown_tensor_keeps_its_name(reference):
    config = config_from_reference(reference)
    assert list(convert_state_dict({"loss.weight": torch.zeros(1)}, config)) == ["loss.weight"]


def test_depthwise_variants_have_places_for_the_references_names(reference):
    for part in ("backbone", "neck", "bbox_head"):
        reference[part]["use_depthwise"] = True
    config = config_from_reference(reference)
    names = [
        "backbone.stage1.0.depthwise_conv.conv.weight",
        "backbone.stage4.2.blocks.0.conv2.pointwise_conv.bn.weight",
        "neck.downsamples.1.depthwise_conv.bn.running_var",
        "neck.out_convs.2.conv.weight",
        "bbox_head.multi_level_reg_convs.2.1.depthwise_conv.conv.weight",
    ]
    converted = convert_state_dict(dict.fromkeys(names, torch.zeros(1)), config)
    assert converted.keys() <= meta_model(config).state_dict().keys()


def test_classes_of_ones_own(reference):
    reference["bbox_head"]["num_classes"] = 2
    reference["classes"] = ["helmet", "vest"]
    config = config_from_reference(reference)
    assert config.id2label == {0: "helmet", 1: "vest"}
    assert config.label2id == {"helmet": 0, "vest": 1}
    assert meta_model(config).head.class_predictions[0].out_channels == 2


def test_classes_without_names(reference):
    reference["bbox_head"]["num_classes"] = 3
    del reference["classes"]
    assert config_from_reference(reference).num_labels == 3


def test_another_number_of_names_than_of_classes_is_refused(reference):
    reference["classes"] = ["helmet", "vest"]
    with pytest.raises(ConfigError, match=r"80 classes.*2 are named: helmet, vest"):
        config_from_reference(reference)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("backbone", {"type": "CSPNeXt"}, "The backbone with type='CSPNeXt'"),
        ("backbone", {"arch": "P6"}, "arch='P6'"),
        ("backbone", {"out_indices": [1, 2, 3]}, "out_indices"),
        ("neck", {"in_channels": [256, 512, 1024]}, "in_channels"),
        ("neck", {"upsample_cfg": {"scale_factor": 2, "mode": "bilinear"}}, "upsample_cfg"),
        ("neck", {"norm_cfg": {"type": "BN"}}, "batch_norm_eps=1e-05"),
        ("bbox_head", {"feat_channels": 256}, "feat_channels=256"),
        ("bbox_head", {"act_cfg": {"type": "ReLU"}}, "hidden_act='relu'"),
        ("bbox_head", {"use_depthwise": True}, "use_depthwise=True"),
        ("bbox_head", {"dcn_on_last_conv": True}, "dcn_on_last_conv"),
    ],
)
def test_settings_that_are_not_supported_are_named(reference, part, changes, message):
    reference[part].update(changes)
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference)


def test_image_processor_has_the_references_test_settings():
    processor = image_processor_from_reference(get_entry("yolox_tiny_8xb8-300e_coco").reference)
    assert processor.size == {"height": 416, "width": 416}
    assert (processor.keep_aspect_ratio, processor.pad_value, processor.channel_order) == (True, 114, "bgr")
    assert (processor.do_rescale, processor.do_normalize, processor.clip_boxes) == (False, False, False)
    assert (processor.score_threshold, processor.nms_threshold) == (0.01, 0.65)


def test_limits_that_the_references_head_does_not_know_are_left_out(reference):
    reference["test_cfg"] |= {"nms_pre": 10, "max_per_img": 5}
    processor = image_processor_from_reference(reference)
    assert (processor.max_candidates, processor.max_detections) == (None, None)
