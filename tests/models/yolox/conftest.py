from __future__ import annotations

import pytest

import small_models
from hfpose.models.yolox.modeling_yolox import YOLOXForObjectDetection


@pytest.fixture(scope="session")
def small_model() -> YOLOXForObjectDetection:
    return small_models.small_model("yolox")[0]
