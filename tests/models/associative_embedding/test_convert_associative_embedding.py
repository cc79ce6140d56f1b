"""The reference's associative embedding."""

from __future__ import annotations

from typing import Any

import pytest

from hfpose.errors import ConfigError
from hfpose.models.associative_embedding.convert_associative_embedding import (
    config_from_reference,
    image_processor_from_reference,
)
from small_bottom_up import SCHEMA, small_reference


def test_settings_are_kept() -> None:
    reference = small_reference("associative_embedding")
    decoding = {"decode_topk": 9, "decode_keypoint_thr": 0.2, "decode_tag_thr": 2.0, "decode_center_shift": 0.5}
    reference["head"]["decoder"] |= decoding | {"decode_nms_kernel": 3}
    config, processor = config_from_reference(reference, SCHEMA), image_processor_from_reference(reference)
    assert (config.tag_size, config.heatmap_sigma, config.tag_loss_weight) == (1, 2, 0.001)
    assert (processor.num_candidates, processor.keypoint_threshold, processor.tag_threshold) == (9, 0.2, 2.0)
    assert (processor.center_shift, processor.nms_kernel_size, processor.keypoint_order) == (0.5, 3, [1, 0, 2])
    assert processor.max_instances is None
    assert processor.restore_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tag_per_keypoint": False}, "tag_per_keypoint=False"),
        ({"deconv_out_channels": [32]}, "deconv_out_channels"),
        ({"conv_out_channels": [32]}, "conv_out_channels"),
        ({"type": "HeatmapHead"}, "HeatmapHead"),
    ],
)
def test_unsupported_heads_are_named(change: dict[str, Any], message: str) -> None:
    reference = small_reference("associative_embedding")
    reference["head"] |= change
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, SCHEMA)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"use_udp": True}, "use_udp"), ({"decode_keypoint_order": [0, 1]}, "each of the 3 keypoints once")],
)
def test_unsupported_decoders_are_named(change: dict[str, Any], message: str) -> None:
    reference = small_reference("associative_embedding")
    reference["head"]["decoder"] |= change
    with pytest.raises(ConfigError, match=message):
        image_processor_from_reference(reference)
