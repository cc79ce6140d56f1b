"""The reference's ED-Pose. Its configuration cannot be read by itself, so there are no outputs to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hfpose.errors import ConfigError
from hfpose.hub.zoo import get_entry
from hfpose.keypoints import load_schema
from hfpose.models.edpose.configuration_edpose import EDPoseConfig
from hfpose.models.edpose.convert_edpose import (
    MODEL_CLASS,
    config_from_reference,
    convert_state_dict,
    image_processor_from_reference,
)
from hfpose.models.edpose.image_processing_edpose import EDPoseImageProcessor

# Names of the reference with what they become; None for those that inference does not use.
NAMES = {
    "neck.convs.0.conv.weight": "neck.levels.0.0.weight",
    "neck.extra_convs.0.gn.bias": "neck.halvings.0.1.bias",
    "head.level_embed": "level_features",
    "head.encoder.layers.0.self_attn.sampling_offsets.weight": "encoder.0.attention.sampling_offsets.weight",
    "head.encoder.layers.0.ffn.layers.0.0.weight": "encoder.0.feed_forward.layers.0.weight",
    "head.encoder.layers.0.ffn.layers.1.bias": "encoder.0.feed_forward.layers.1.bias",
    "head.encoder.layers.0.norms.1.weight": "encoder.0.feed_forward_norm.weight",
    "head.decoder.layers.2.self_attn.attn.in_proj_weight": "decoder.layers.2.self_attention.in_proj_weight",
    "head.decoder.layers.2.cross_attn.value_proj.bias": "decoder.layers.2.cross_attention.value_proj.bias",
    "head.decoder.layers.2.norms.1.bias": "decoder.layers.2.cross_attention_norm.bias",
    "head.decoder.norm.weight": "decoder.norm.weight",
    "head.decoder.ref_point_head.layers.1.weight": "decoder.box_positions.layers.1.weight",
    "head.decoder.hw.weight": "decoder.keypoint_sizes.weight",
    "head.decoder.keypoint_embed.weight": "decoder.keypoint_features.weight",
    "head.decoder.bbox_embed.0.layers.0.weight": None,
    "head.out_head.bbox_embed.0.layers.0.weight": "decoder.boxes.0.layers.0.weight",
    "head.out_head.class_embed.2.bias": "decoder.classes.2.bias",
    "head.out_head.pose_embed.0.layers.2.weight": "decoder.places.0.layers.2.weight",
    "head.out_head.pose_embed.1.layers.2.weight": "decoder.first_places.layers.2.weight",
    "head.out_head.pose_hw_embed.0.layers.0.weight": "decoder.sizes.layers.0.weight",
    "head.out_head.pose_hw_embed.1.layers.0.weight": None,
    "head.memory_trans_fc.weight": "proposal_projection.weight",
    "head.memory_trans_norm.bias": "proposal_norm.bias",
    "head.enc_out_class_embed.weight": "proposal_classes.weight",
    "head.enc_out_bbox_embed.layers.2.bias": "proposal_boxes.layers.2.bias",
    "head.label_enc.weight": None,
}


def test_tensors_find_their_places(reference: dict[str, Any]) -> None:
    config = config_from_reference(reference, None)
    converted = convert_state_dict({name: torch.zeros(1) for name in NAMES}, config)
    assert list(converted) == [name for name in NAMES.values() if name]
    with torch.device("meta"):
        assert set(converted) <= set(MODEL_CLASS(config).state_dict())


def test_settings_are_kept(reference: dict[str, Any]) -> None:
    config, processor = config_from_reference(reference, None), image_processor_from_reference(reference)
    assert (config.num_queries, config.num_instances, config.num_classes, config.num_decoder_layers) == (40, 5, 2, 3)
    assert config.position_temperature == 20
    assert processor.size == {"shortest_edge": 96, "longest_edge": 160}
    assert processor.max_instances == 4


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("head", {"as_two_stage": False}, "as_two_stage=False"),
        ("neck", {"type": "FPN"}, "FPN"),
        ("neck", {"kernel_size": 3}, "kernel_size=3"),
        ("neck", {"norm_cfg": {"type": "BN"}}, "BN"),
    ],
)
def test_unsupported_settings_are_named(
    part: str, change: dict[str, Any], message: str, reference: dict[str, Any]
) -> None:
    reference[part] |= change
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, None)


def test_a_decoder_of_boxes_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_box_layers"):
        EDPoseConfig(num_box_layers=6)


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(480, 640, (800, 1067)), (400, 1000, (533, 1333)), (1600, 800, (1333, 667))]
)
def test_images_get_as_large_as_both_limits_allow(height: int, width: int, expected: tuple[int, int]) -> None:
    assert EDPoseImageProcessor().input_size(height, width) == expected


def test_images_fill_the_input() -> None:
    processor = EDPoseImageProcessor()
    corner = processor.fit_matrix(425, 640) @ np.array([640, 425, 1])
    np.testing.assert_allclose(corner, processor.input_size(425, 640)[::-1])


def test_smaller_images_of_a_batch_are_padded_and_masked() -> None:
    processor = EDPoseImageProcessor(size={"shortest_edge": 32, "longest_edge": 64})
    images = [np.full((32, 32, 3), 255, np.uint8), np.full((32, 64, 3), 255, np.uint8)]
    batch = processor(images, return_tensors="pt")
    assert batch["pixel_values"].shape == (2, 3, 32, 64)
    assert batch["pixel_mask"].sum((1, 2)).tolist() == [32 * 32, 32 * 64]
    assert (batch["pixel_values"][0, :, :, 32:] == 0).all()


def test_no_images_are_an_empty_batch() -> None:
    batch = EDPoseImageProcessor(size={"shortest_edge": 32, "longest_edge": 64})([], return_tensors="pt")
    assert batch["pixel_values"].shape == (0, 3, 32, 32)
    assert batch["pixel_mask"].shape == (0, 32, 32)


def test_published_settings_are_the_defaults() -> None:
    entry = get_entry("edpose")
    config = config_from_reference(entry.reference, load_schema(entry.schema)).to_dict()
    names = ("keypoint_schema", "id2label", "label2id")
    default = EDPoseConfig().to_dict()
    assert {key: value for key, value in config.items() if key not in names} == {
        key: value for key, value in default.items() if key not in names
    }
    assert image_processor_from_reference(entry.reference).to_dict() == EDPoseImageProcessor().to_dict()
