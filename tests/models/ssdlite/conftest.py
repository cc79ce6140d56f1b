from __future__ import annotations

import pytest

import small_models
from hfpose.models.ssdlite.modeling_ssdlite import SSDLiteForObjectDetection


@pytest.fixture(scope="session")
def small_model() -> SSDLiteForObjectDetection:
    """Three levels of 4, 6 and 4 anchors a place, for images of 64 pixels."""
    return small_models.small_model("ssdlite")[0]
