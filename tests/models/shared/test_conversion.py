"""From the reference's settings to ours, where families agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hfpose.errors import ConfigError
from hfpose.models.shared.conversion import (
    detection_arguments,
    expect_whole_inputs,
    label_arguments,
    layer_arguments,
    letterbox_arguments,
    normalization_arguments,
    top_down_arguments,
)
from hfpose.models.yolox.image_processing_yolox import YOLOXImageProcessor


@pytest.fixture
def reference() -> dict[str, Any]:
    return {
        "bbox_head": {"bbox_coder": {"type": "DistancePointBBoxCoder"}},
        "data_preprocessor": {"bgr_to_rgb": False},
        "test_cfg": {
            "score_thr": 0.05,
            "nms_pre": 1000,
            "max_per_img": 100,
            "nms": {"type": "nms", "iou_threshold": 0.6},
        },
        "test_pipeline": [
            {"type": "Resize", "scale": [640, 480], "keep_ratio": True},
            {"type": "Pad", "size": [640, 480], "pad_val": {"img": [114, 114, 114]}},
        ],
    }


def test_test_settings_of_a_detector(reference):
    assert detection_arguments(reference) == {
        "size": {"height": 480, "width": 640},
        "keep_aspect_ratio": True,
        "pad_value": 114,
        "score_threshold": 0.05,
        "nms_threshold": 0.6,
        "nms_across_classes": False,
        "min_box_size": 0,
        "max_candidates": 1000,
        "max_detections": 100,
        "clip_boxes": True,
        "channel_order": "bgr",
        "do_rescale": False,
        "do_normalize": False,
    }


def test_stretched_images_need_no_padding(reference):
    reference["test_pipeline"] = [{"type": "Resize", "scale": [320, 320], "keep_ratio": False}]
    assert "pad_value" not in detection_arguments(reference)


@pytest.mark.parametrize(
    ("pad_val", "expected"), [({"img": (114.0,) * 3}, 114), ({"img": 20}, 20), (0, 0), ({"seg": 255}, 0)]
)
def test_padding_values_as_the_reference_may_state_them(reference, pad_val, expected):
    reference["test_pipeline"][1]["pad_val"] = pad_val
    assert detection_arguments(reference)["pad_value"] == expected


def test_padding_to_a_square(reference):
    reference["test_pipeline"] = [
        {"type": "Resize", "scale": (416, 416), "keep_ratio": True},
        {"type": "Pad", "pad_to_square": True, "pad_val": {"img": (114.0, 114.0, 114.0)}},
    ]
    assert detection_arguments(reference)["size"] == {"height": 416, "width": 416}


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ([], "no Resize step"),
        ([{"type": "Resize", "scale_factor": 2.0}], "no Resize step"),
        ([{"type": "Resize", "scale": [640, 640], "keep_ratio": True}], "does not pad"),
        (
            [{"type": "Resize", "scale": [640, 640], "keep_ratio": True}, {"type": "Pad", "size_divisor": 32}],
            "does not pad",
        ),
        (
            [{"type": "Resize", "scale": [640, 480], "keep_ratio": True}, {"type": "Pad", "pad_to_square": True}],
            "does not pad",
        ),
        (
            [
                {"type": "Resize", "scale": [640, 640], "keep_ratio": True},
                {"type": "Pad", "size": [640, 640], "pad_val": {"img": [0, 0, 255]}},
            ],
            "one value for all channels",
        ),
    ],
)
def test_pipelines_that_leave_the_size_or_the_padding_open_are_refused(reference, pipeline, message):
    reference["test_pipeline"] = pipeline
    with pytest.raises(ConfigError, match=message):
        detection_arguments(reference)


def test_another_suppression_is_refused(reference):
    for setting in ({"type": "soft_nms"}, {"score_threshold": 0.4}, {"offset": 1}):
        reference["test_cfg"]["nms"] = {"type": "nms", "iou_threshold": 0.6} | setting
        with pytest.raises(ConfigError, match=f"nms with {next(iter(setting))}"):
            detection_arguments(reference)


def test_suppression_across_classes_and_boxes_of_a_least_size(reference):
    reference["test_cfg"] |= {"min_bbox_size": 8, "nms": {"type": "nms", "iou_threshold": 0.5, "class_agnostic": True}}
    given = detection_arguments(reference)
    assert given["nms_across_classes"] and given["min_box_size"] == 8


@pytest.mark.parametrize(
    ("max_per_img", "max_num", "expected"), [(100, None, 100), (100, 50, 50), (-1, 50, 50), (-1, -1, None)]
)
def test_both_limits_of_the_number_of_boxes_count(reference, max_per_img, max_num, expected):
    reference["test_cfg"]["max_per_img"] = max_per_img
    reference["test_cfg"]["nms"]["max_num"] = max_num
    assert detection_arguments(reference)["max_detections"] == expected


def test_names_of_classes():
    arguments = label_arguments(2, ["cat", "dog"])
    assert arguments == {"id2label": {0: "cat", 1: "dog"}, "label2id": {"cat": 0, "dog": 1}}
    assert label_arguments(2, None) == {"num_labels": 2}


def test_another_number_of_names_than_of_classes_is_refused():
    with pytest.raises(ConfigError, match="3 classes"):
        label_arguments(3, ["cat", "dog"])


def test_activation_and_normalization_as_stated_or_by_default():
    stated = {"act_cfg": {"type": "ReLU6"}, "norm_cfg": {"type": "BN", "eps": 0.01}}
    assert layer_arguments(stated) == {"hidden_act": "relu6", "batch_norm_eps": 0.01}
    assert layer_arguments({}, "Swish", 1e-5) == {"hidden_act": "swish", "batch_norm_eps": 1e-5}
    with pytest.raises(ConfigError, match="LeakyReLU"):
        layer_arguments({"act_cfg": {"type": "LeakyReLU"}})


@pytest.mark.parametrize("swap", ["bgr_to_rgb", "rgb_to_bgr"])
def test_channels_are_swapped_by_either_setting(swap):
    assert normalization_arguments({swap: True})["channel_order"] == "rgb"
    assert normalization_arguments({})["channel_order"] == "bgr"


def test_pixels_are_normalized_as_stated_whatever_a_family_does_by_itself():
    """YOLOX and RTMO take pixels as they are; a config of one's own may normalize them all the same."""
    stated = {"mean": [103.53, 116.28, 123.675], "std": [1.0, 1.0, 255.0]}
    processor = YOLOXImageProcessor(**normalization_arguments(stated))
    given = processor.normalize_pixels(np.full((1, 1, 1, 3), 200, np.uint8), torch.contiguous_format)
    expected = [200 - 103.53, 200 - 116.28, (200 - 123.675) / 255]
    assert given[0, :, 0, 0].tolist() == pytest.approx(expected, rel=1e-6)


def test_a_normalization_that_changes_nothing_is_none():
    given = normalization_arguments({"mean": [0, 0, 0], "std": [1, 1, 1]})
    assert given == {"channel_order": "bgr", "do_rescale": False, "do_normalize": False}


def test_crops_are_cut_as_the_pipeline_says():
    pipeline = [
        {"type": "mmpose.GetBBoxCenterScale", "padding": 1.1},
        {"type": "TopdownAffine", "input_size": [192, 256], "use_udp": True},
    ]
    reference: dict[str, Any] = {"test_pipeline": pipeline, "test_cfg": {"flip_test": True}, "data_preprocessor": {}}
    given = top_down_arguments(reference, (192, 256))
    assert given["box_padding"] == 1.1 and given["use_udp"] and given["flip_test"]
    assert given["size"] == {"height": 256, "width": 192}
    with pytest.raises(ConfigError, match="TopdownAffine with input_size=\\(192, 256\\)"):
        top_down_arguments(reference, (288, 384))


def letterbox_reference(**resize):
    return {
        "data_preprocessor": {},
        "test_cfg": {"score_thr": 0.1, "nms_thr": 0.65},
        "test_pipeline": [{"type": "BottomupResize", "input_size": (640, 480), **resize}],
    }


def test_one_stage_models_take_over_how_many_candidates_are_suppressed():
    reference = letterbox_reference()
    assert letterbox_arguments(reference)["max_candidates"] is None
    reference["test_cfg"]["nms_pre"] = 20
    assert letterbox_arguments(reference)["max_candidates"] == 20


def test_letterboxed_images_have_sides_of_multiples_of_the_size_factor():
    assert letterbox_arguments(letterbox_reference(size_factor=80))["size"] == {"height": 480, "width": 640}
    with pytest.raises(ConfigError, match="multiples of its size_factor=64"):
        letterbox_arguments(letterbox_reference(size_factor=64))


@pytest.mark.parametrize("divisor", [None, 1, 16, 32])
def test_a_padding_that_never_happens_is_taken(divisor):
    expect_whole_inputs({"pad_size_divisor": divisor}, 640, 480)


def test_inputs_that_are_padded_once_more_are_refused(reference):
    for arguments, settings in (
        (detection_arguments, reference),
        (letterbox_arguments, letterbox_reference()),
    ):
        settings["data_preprocessor"]["pad_size_divisor"] = 64
        with pytest.raises(ConfigError, match="pad_size_divisor=64"):
            arguments(settings)
