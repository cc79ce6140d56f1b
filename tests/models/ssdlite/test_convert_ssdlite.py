"""From the reference's SSDLite settings and checkpoints to ours."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.models.ssdlite.configuration_ssdlite import SSDLiteConfig
from hfpose.models.ssdlite.convert_ssdlite import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

HAND = "ssdlite_mobilenetv2_scratch_600e_onehand"
NAMES = (HAND, "ssdlite_mobilenetv2-scratch_8xb24-600e_coco")


def meta_model(config):
    with torch.device("meta"):
        return MODEL_CLASS(config)


@pytest.fixture
def reference() -> dict[str, Any]:
    return get_entry(HAND).reference


def test_the_zoo_has_no_other_ssdlite():
    assert {entry.name for entry in list_entries("detector") if entry.family == "ssdlite"} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_zoo_model_builds_with_its_classes(name):
    entry = get_entry(name)
    model = meta_model(config_from_reference(entry.reference))
    assert list(model.config.id2label.values()) == list(entry.labels)
    with torch.device("meta"):
        outputs = model.eval()(torch.rand(1, 3, 320, 320))
    places = 6 * (20**2 + 10**2 + 5**2 + 3**2 + 2**2 + 1)
    assert outputs.logits.shape == (1, places, len(entry.labels) + 1)


def test_an_unknown_tensor_keeps_its_name(reference):
    config = config_from_reference(reference)
    assert list(convert_state_dict({"neck.l2_norm.weight": torch.zeros(1)}, config)) == ["neck.l2_norm.weight"]


def test_classes_and_anchors_of_ones_own(reference):
    reference["bbox_head"]["num_classes"] = 2
    reference["classes"] = ["left", "right"]
    reference["bbox_head"]["anchor_generator"]["ratios"] = [[2], [2, 3], [2, 3], [2, 3], [2], [2]]
    config = config_from_reference(reference)
    assert config.id2label == {0: "left", 1: "right"}
    assert config.anchors_per_place == [4, 6, 6, 6, 4, 4]
    head = meta_model(config).head
    assert [head.class_predictions[level][1].out_channels for level in (0, 1)] == [4 * 3, 6 * 3]
    assert image_processor_from_reference(reference).anchors_per_place == [4, 6, 6, 6, 4, 4]


def test_another_number_of_names_than_of_classes_is_refused(reference):
    reference["bbox_head"]["num_classes"] = 2
    with pytest.raises(ConfigError, match=r"2 classes.*1 are named: hand"):
        config_from_reference(reference)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("backbone", {"type": "SSDVGG"}, "MobileNetV2 with type='SSDVGG'"),
        ("backbone", {"norm_cfg": {"type": "BN"}}, "batch_norm_eps"),
        ("backbone", {"widen_factor": 0.5}, "out_channels"),
        ("neck", {"l2_norm_scale": 20}, "l2_norm_scale=20"),
        ("neck", {"use_depthwise": False}, "use_depthwise=False"),
        ("neck", {"level_paddings": [1, 1, 0, 0]}, "level_paddings"),
        ("neck", {"act_cfg": {"type": "ReLU"}}, "hidden_act='relu'"),
        ("bbox_head", {"use_depthwise": False}, "use_depthwise=False"),
        ("bbox_head", {"stacked_convs": 1}, "stacked_convs=1"),
        ("bbox_head", {"anchor_generator": {"type": "AnchorGenerator"}}, "type='AnchorGenerator'"),
        (
            "bbox_head",
            {"anchor_generator": {"strides": [16, 32], "scale_major": False}},
            "one number of pixels for each of the 6",
        ),
        ("bbox_head", {"bbox_coder": {"type": "TBLRBBoxCoder"}}, "TBLRBBoxCoder"),
    ],
)
def test_settings_that_are_not_supported_are_named(reference, part, changes, message):
    reference[part].update(changes)
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference)


def test_image_processor_has_the_references_test_settings(reference):
    processor = image_processor_from_reference(reference)
    assert processor.size == {"height": 320, "width": 320}
    assert (processor.keep_aspect_ratio, processor.channel_order, processor.clip_boxes) == (False, "rgb", True)
    assert processor.image_mean == pytest.approx([0.485, 0.456, 0.406])
    assert processor.image_std == pytest.approx([0.229, 0.224, 0.225])
    assert (processor.score_threshold, processor.nms_threshold) == (0.02, 0.45)
    assert (processor.max_candidates, processor.max_detections) == (1000, 200)


def test_the_coder_says_whether_boxes_end_at_the_image(reference):
    reference["bbox_head"]["bbox_coder"]["clip_border"] = False
    assert not image_processor_from_reference(reference).clip_boxes


def test_a_configuration_survives_saving(reference, tmp_path):
    config = config_from_reference(reference)
    config.save_pretrained(tmp_path)
    assert SSDLiteConfig.from_pretrained(tmp_path).anchors_per_place == config.anchors_per_place


@pytest.mark.parametrize("side", [300, 320, 384])
def test_boxes_are_told_apart_by_level_in_images_of_any_size(reference, side):
    """The distances between anchors, 107 and 160 pixels, are not those between the features of a level."""
    reference["test_pipeline"] = [{"type": "Resize", "scale": [side, side], "keep_ratio": False}]
    processor, model = image_processor_from_reference(reference), meta_model(config_from_reference(reference)).eval()
    with torch.device("meta"):
        levels = model.neck(model.backbone(torch.rand(1, 3, side, side)).feature_maps)
    sizes = [end - start for start, end in processor._level_ranges(sum(6 * level[0, 0].numel() for level in levels))]
    assert sizes == [6 * level[0, 0].numel() for level in levels]
