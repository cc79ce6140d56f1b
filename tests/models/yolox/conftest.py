"""A YOLOX small enough for every test."""

from __future__ import annotations

import pytest
import torch

from hfpose.models.yolox.configuration_yolox import YOLOXConfig
from hfpose.models.yolox.modeling_yolox import YOLOXForObjectDetection
from networks import settle_normalizations


@pytest.fixture(scope="session")
def small_model() -> YOLOXForObjectDetection:
    """Random weights that tell places apart."""
    torch.manual_seed(0)
    names = {0: "cat", 1: "dog", 2: "owl"}
    model = YOLOXForObjectDetection(
        YOLOXConfig(depth_multiplier=0.1, width_multiplier=0.125, neck_size=32, id2label=names)
    )
    head = model.head
    for prediction in (*head.class_predictions, *head.box_predictions, *head.objectness_predictions):
        torch.nn.init.normal_(prediction.weight, std=0.1)
        torch.nn.init.zeros_(prediction.bias)
    settle_normalizations(model, torch.rand(4, 3, 64, 64) * 255)
    return model
