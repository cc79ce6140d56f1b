"""The reference's InterNet with seeded weights, and a model small enough for every test."""

from __future__ import annotations

import pytest

import small_models
from golden import Golden
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry
from hfpose.models.internet.modeling_internet import InterNetForHandPose


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden("pose3d", "internet_res50_4xb16-20e_interhand3d-256x256")


@pytest.fixture(scope="session")
def seeded_model(golden: Golden) -> InterNetForHandPose:
    model = build_model(ModelSource.from_entry(get_entry(golden.name)), golden.state_dict(), golden.name)
    assert isinstance(model, InterNetForHandPose)
    return model.eval()


@pytest.fixture(scope="session")
def small_model() -> InterNetForHandPose:
    return small_models.small_model("internet")[0]
