"""RTMPose and RTMW take crops of other sizes than multiples of their backbones' stride."""

from __future__ import annotations

import pytest
import torch

import hfpose
from hfpose.hub.zoo import get_main_entry
from hfpose.models.rtmpose.convert_rtmpose import config_from_reference, image_processor_from_reference

BACKBONE = {"model_type": "cspnext_backbone", "depth_multiplier": 0.167, "width_multiplier": 0.125}


@pytest.mark.parametrize(
    ("config_class", "model_class", "out_indices", "size"),
    [
        (hfpose.RTMPoseConfig, hfpose.RTMPoseForPoseEstimation, [4], (58, 40)),
        (hfpose.RTMWConfig, hfpose.RTMWForPoseEstimation, [2, 3, 4], (58, 95)),
    ],
)
def test_crops_of_any_size(config_class, model_class, out_indices, size):
    backbone = {**BACKBONE, "out_indices": out_indices}
    config = config_class(backbone_config=backbone, image_size=size, hidden_size=16, attention_size=8, num_labels=5)
    outputs = model_class(config).eval()(torch.rand(1, 3, *size))
    assert (outputs.simcc_y.shape, outputs.simcc_x.shape) == ((1, 5, 2 * size[0]), (1, 5, 2 * size[1]))


def test_configs_of_crops_of_any_size():
    reference = get_main_entry("rtmpose-m").reference
    reference["head"] |= {"input_size": (186, 250), "in_featuremap_size": (6, 8)}
    reference["head"]["decoder"]["input_size"] = (186, 250)
    assert tuple(config_from_reference(reference, None).image_size) == (250, 186)
    assert image_processor_from_reference(reference).size == {"height": 250, "width": 186}
