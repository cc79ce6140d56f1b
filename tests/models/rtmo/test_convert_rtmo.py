"""From the reference's RTMO settings and checkpoints to ours."""

from __future__ import annotations

import pytest
import torch

import hfpose
from golden import Golden
from hfpose.checkpoints.source import ModelSource
from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry, list_entries
from hfpose.models.rtmo.convert_rtmo import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)

GOLDEN = "rtmo-t_8xb32-600e_body7-416x416"
ENTRIES = [entry for entry in list_entries("pose") if entry.family == "rtmo"]
# Millions of parameters, from table 1 of the paper; -t is not in it.
PARAMETERS = {"rtmo-s": 9.9, "rtmo-m": 22.6, "rtmo-l": 44.8}


def meta_model(entry):
    source = ModelSource.from_entry(entry)
    with torch.device("meta"):
        return MODEL_CLASS(config_from_reference(source.reference, source.schema))


def test_the_zoo_has_all_eleven():
    assert len(ENTRIES) == 11
    assert get_entry("rtmo").name == get_entry("rtmo-l").name == "rtmo-l_16xb16-600e_body7-640x640"
    assert get_entry("rtmo-t").input_size == (416, 416)
    assert all(entry.default_detector is None for entry in ENTRIES)


@pytest.mark.parametrize("alias", PARAMETERS)
def test_models_have_the_published_sizes(alias):
    count = sum(parameter.numel() for parameter in meta_model(get_entry(alias)).parameters()) / 1e6
    assert count == pytest.approx(PARAMETERS[alias], rel=0.005)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_variant_has_places_for_the_references_names(entry):
    model = meta_model(entry)
    names = Golden("one_stage", GOLDEN).spec["state_dict"]  # those of the smallest, which all others have too
    tensors = {name: torch.empty(shape, device="meta") for name, shape in names.items()}
    converted = set(convert_state_dict(tensors, model.config))
    if "rtmo-l" in entry.name:  # its layers are as wide inside as outside, and have no convolution between
        converted = {name for name in converted if ".final_conv." not in name or "backbone" in name}
    assert converted <= model.state_dict().keys()
    assert list(model.config.id2label.values()) == list(hfpose.load_schema(entry.schema).keypoint_names)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("neck", {"use_encoder_idx": [1, 2]}, "use_encoder_idx"),
        ("neck", {"norm_cfg": {"type": "BN", "eps": 0.1}}, "batch_norm_eps=0.1"),
        ("head", {"num_classes": 3}, "num_classes=3"),
        ("head", {"prior_generator": {"type": "MlvlPointGenerator", "strides": [16, 32]}}, "centralize_points=False"),
        ("backbone", {"type": "Unheard"}, "Unheard"),
    ],
)
def test_settings_that_are_not_supported_are_named(part, changes, message):
    reference = get_entry("rtmo-t").reference
    reference[part].update(changes)
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, None)


def test_image_processor_has_the_references_test_settings():
    processor = image_processor_from_reference(get_entry("rtmo-t").reference)
    assert processor.size == {"height": 416, "width": 416}
    assert (processor.pad_value, processor.channel_order) == (114, "bgr")
    assert (processor.do_rescale, processor.do_normalize) == (False, False)
    assert (processor.score_threshold, processor.nms_threshold) == (0.1, 0.65)


def test_candidates_are_chosen_by_the_references_test_settings():
    reference = get_entry("rtmo-t").reference
    assert config_from_reference(reference, None).num_candidates == 300
    reference["test_cfg"] |= {"nms_pre": 20, "nms_thr": 0.9}
    config = config_from_reference(reference, None)
    assert (config.num_candidates, config.nms_threshold) == (20, 0.9)


def test_positions_stay_exact_in_half_precision():
    """Bins are a fraction of a pixel wide, hundreds of pixels from the place that they are encoded relative to."""
    from small_models import small_model

    model, processor = small_model("rtmo")
    image = (torch.rand(3, 64, 64) * 255).to(torch.uint8)
    inputs = processor(image, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        exact = model(pixel_values=inputs)
        half = model.bfloat16()(pixel_values=inputs.bfloat16())
    assert model.dtype == torch.bfloat16
    assert model.classifier.x_bins.dtype == model.classifier.positions.periods.dtype == torch.float32
    assert half.pred_keypoints.dtype == torch.float32
    assert (half.pred_boxes[..., 2:] > half.pred_boxes[..., :2]).all()
    assert exact.pred_keypoints.shape == half.pred_keypoints.shape


def test_the_head_can_be_loaded_from_what_was_saved(tmp_path):
    from transformers import AutoModelForPoseEstimation

    from small_models import small_model

    model, _ = small_model("rtmo")
    with torch.no_grad():
        model.classifier.x_bins.mul_(0.5)  # as a checkpoint may have them
    model.save_pretrained(tmp_path)
    again = AutoModelForPoseEstimation.from_pretrained(tmp_path)
    assert torch.equal(again.classifier.x_bins, model.classifier.x_bins)
    assert torch.equal(again.encoder.transformer.positions.periods, model.encoder.transformer.positions.periods)
