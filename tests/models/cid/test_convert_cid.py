"""The reference's CID."""

from __future__ import annotations

from typing import Any

import pytest

from hfpose.errors import ConfigError
from hfpose.models.cid.convert_cid import config_from_reference, image_processor_from_reference
from small_bottom_up import SCHEMA, small_reference


def test_settings_are_kept() -> None:
    reference = small_reference("cid")
    reference["test_cfg"] |= {"max_instances": 7, "blur_kernel_size": 5, "score_threshold": 0.2}
    config, processor = config_from_reference(reference, SCHEMA), image_processor_from_reference(reference)
    assert (config.num_queries, config.smoothing_kernel_size, config.contrastive_temperature) == (7, 5, 0.05)
    assert config.instance_loss_weight == 4
    assert (processor.max_instances, processor.smoothing_kernel_size, processor.center_threshold) == (7, 5, 0.2)
    assert processor.stride == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "DEKRHead"}, "DEKRHead"),
        ({"decoder": {"type": "SPR"}}, "SPR"),
        ({"contrastive_loss": {"loss_weight": 2.0}}, "contrastive_loss with loss_weight=2.0"),
    ],
)
def test_unsupported_settings_are_named(change: dict[str, Any], message: str) -> None:
    reference = small_reference("cid")
    reference["head"] |= change
    with pytest.raises(ConfigError, match=message):
        config_from_reference(reference, SCHEMA)
