"""The reference's MotionBERT with seeded weights, and a model small enough for every test."""

from __future__ import annotations

import pytest
import torch

from golden import Golden
from hfpose.checkpoints.convert_checkpoint import build_model
from hfpose.checkpoints.source import ModelSource
from hfpose.hub.zoo import get_entry
from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden("pose3d", "motionbert_dstformer-ft-243frm_8xb32-120e_h36m")


@pytest.fixture(scope="session")
def seeded_model(golden: Golden) -> MotionBertForPoseLifting:
    model = build_model(ModelSource.from_entry(get_entry(golden.name)), golden.state_dict(), golden.name)
    assert isinstance(model, MotionBertForPoseLifting)
    return model.eval()


@pytest.fixture(scope="session")
def small_model() -> MotionBertForPoseLifting:
    """Random weights large enough that every input matters."""
    torch.manual_seed(0)
    config = MotionBertConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, representation_size=16, max_frames=12
    )
    model = MotionBertForPoseLifting(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model
