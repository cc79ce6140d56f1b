"""An SSDLite small enough for every test."""

from __future__ import annotations

import pytest
import torch

from hfpose.models.ssdlite.configuration_ssdlite import SSDLiteConfig
from hfpose.models.ssdlite.modeling_ssdlite import SSDLiteForObjectDetection
from networks import settle_normalizations


@pytest.fixture(scope="session")
def small_model() -> SSDLiteForObjectDetection:
    """Three levels of 4, 6 and 4 anchors a place, for images of 64 pixels, with weights that tell them apart."""
    torch.manual_seed(0)
    config = SSDLiteConfig(
        width_multiplier=0.25,
        extra_level_sizes=(32,),
        extra_level_strides=(2,),
        strides=(16, 32, 64),
        anchor_min_sizes=(10, 20, 40),
        anchor_max_sizes=(20, 40, 60),
        anchor_ratios=((2,), (2, 3), (2,)),
        id2label={0: "cat", 1: "dog", 2: "owl"},
    )
    model = SSDLiteForObjectDetection(config)
    for prediction in (*model.head.class_predictions, *model.head.box_predictions):
        torch.nn.init.normal_(prediction[1].weight, std=0.2)
    settle_normalizations(model, torch.randn(8, 3, 64, 64))
    return model
