"""The reference's InterNet with seeded weights, and a model small enough for every test."""

from __future__ import annotations

import pytest
import torch

from golden import Golden
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.internet.configuration_internet import InterNetConfig
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
    torch.manual_seed(0)
    backbone = ResNetBackboneConfig(stem_channels=4, base_channels=4, depths=(1, 1, 1, 1), block_type="basic")
    config = InterNetConfig(
        backbone_config=backbone,
        upsample_sizes=(4, 4),
        upsample_kernel_sizes=(4, 2),
        depth_size=5,
        root_depth_size=6,
        root_depth_hidden_sizes=(3,),
        hand_type_hidden_sizes=(),
    )
    return InterNetForHandPose(config).eval()
