"""SimCC estimators: every published one is built, and they learn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

import hfpose
from golden import facts, source_from_facts
from hfpose.errors import ConfigError
from hfpose.models.simcc.convert_simcc import MODEL_CLASS, config_from_reference
from hfpose.models.simcc.modeling_simcc import SimCCOutput
from networks import losses_of_steps
from small_models import small_model


def published_models() -> list[str]:
    return [name for name, row in facts().items() if row["head"]["type"] == "SimCCHead"]


def test_every_published_model_is_built() -> None:
    names = published_models()
    assert len(names) == 4
    for name in names:
        source = source_from_facts(name)
        config = source.conversion.config_from_reference(source.reference, None)
        with torch.device("meta"):
            model = MODEL_CLASS(config)
        height, width = config.image_size
        assert [width, height] == facts()[name]["input_size_wh"]
        assert model.head.classifier_x.out_features == 2 * width
        assert source.conversion.image_processor_from_reference(source.reference).simcc_split_ratio == 2


def test_unknown_deconvolutions_are_named() -> None:
    row: dict[str, Any] = json.loads(json.dumps(facts()[published_models()[0]]))
    row["head"]["deconv_type"] = "other"
    with pytest.raises(ConfigError, match="deconv_type='other'"):
        config_from_reference(row, None)


@pytest.mark.parametrize("use_udp", [False, True])
def test_bins_lie_in_the_whole_region_with_and_without_udp(use_udp: bool) -> None:
    processor = hfpose.SimCCImageProcessor(size={"height": 8, "width": 8}, box_padding=1.0, use_udp=use_udp)
    responses = torch.eye(16)[[0, 8]][None]  # bins of two keypoints
    outputs = SimCCOutput(simcc_x=responses, simcc_y=responses)
    keypoints, _ = processor.decode(outputs, np.array([[10, 20, 18, 28]]))
    assert keypoints.tolist() == [[[10, 20], [14, 24]]]


def test_a_few_steps_lower_the_loss() -> None:
    model = small_model("simcc")[0].train()
    assert isinstance(model, hfpose.SimCCForPoseEstimation)
    torch.manual_seed(0)
    crops, labels = torch.randn(4, 3, 64, 64), torch.rand(4, 5, 2) * 60
    losses = losses_of_steps(model, 15, 1e-2, pixel_values=crops, labels=labels)
    assert losses[-1] < 0.9 * losses[0]
