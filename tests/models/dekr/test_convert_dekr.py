"""The reference's DEKR, today's and that from before MMPose 1.0."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hfpose.errors import ConfigError
from hfpose.models.dekr.convert_dekr import config_from_reference, convert_state_dict, image_processor_from_reference
from small_bottom_up import SCHEMA, small_reference


def test_older_checkpoints_have_the_center_first_and_displacements_the_other_way() -> None:
    config = config_from_reference(small_reference("dekr"), SCHEMA)
    older = {
        f"keypoint_head.{layer}.{part}": torch.randn(size)
        for layer, size in (("heatmap_conv_layers.2", 4), ("offset_conv_layers.3", 6))
        for part in ("weight", "bias")
    }
    converted = convert_state_dict(older, config)
    heatmaps, moves = (
        older["keypoint_head.heatmap_conv_layers.2.bias"],
        older["keypoint_head.offset_conv_layers.3.bias"],
    )
    torch.testing.assert_close(converted["head.heatmaps.2.bias"], heatmaps.roll(-1))
    torch.testing.assert_close(converted["head.displacements.3.bias"], -moves)
    newer = {name.replace("offset", "displacement"): tensor for name, tensor in older.items()}
    torch.testing.assert_close(convert_state_dict(newer, config)["head.heatmaps.2.bias"], heatmaps)


def test_steps_of_the_kernel_are_not_weights() -> None:
    config = config_from_reference(small_reference("dekr"), SCHEMA)
    assert convert_state_dict({"head.displacement_conv_layers.1.regular_matrix": torch.ones(3, 9)}, config) == {}


def test_settings_are_kept() -> None:
    reference = small_reference("dekr")
    reference["head"]["decoder"] |= {"decode_thr": 0.2, "decode_max_instances": 12, "minimal_diagonal_length": 7}
    reference["test_cfg"] |= {"nms_dist_thr": 0.1, "max_num_people": 5}
    config, processor = config_from_reference(reference, SCHEMA), image_processor_from_reference(reference)
    assert (config.num_queries, config.min_diagonal, config.displacement_loss_weight) == (12, 7, 0.002)
    assert (config.rescoring_size, tuple(config.rescoring_links)) == (256, (0, 1))
    assert (processor.center_threshold, processor.nms_threshold, processor.max_instances) == (0.2, 0.1, 5)
    del reference["head"]["rescore_cfg"]
    assert config_from_reference(reference, SCHEMA).rescoring_size == 0


@pytest.mark.parametrize(
    ("place", "change", "message"),
    [
        ("head", {"type": "CIDHead"}, "CIDHead"),
        ("decoder", {"generate_keypoint_heatmaps": False}, "generate_keypoint_heatmaps=False"),
        ("decoder", {"root_type": "bbox_center"}, "bbox_center"),
        ("head", {"num_keypoints": 5}, "5 keypoints"),
    ],
)
def test_unsupported_settings_are_named(place: str, change: dict[str, Any], message: str) -> None:
    reference = small_reference("dekr")
    (reference["head"]["decoder"] if place == "decoder" else reference[place]).update(change)
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, SCHEMA)


def test_flip_tests_that_do_not_move_heatmaps_are_refused() -> None:
    reference = small_reference("dekr")
    reference["test_cfg"]["shift_heatmap"] = False
    with pytest.raises(ConfigError, match="shift_heatmap=False"):
        image_processor_from_reference(reference)
    reference["test_cfg"]["flip_test"] = False
    assert not image_processor_from_reference(reference).flip_test
