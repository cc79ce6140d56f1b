"""The reference's temporal convolutions with seeded weights, and a model small enough for every test."""

from __future__ import annotations

import pytest
import torch

from golden import Golden
from hfpose.models.temporal_convolution.configuration_temporal_convolution import TemporalConvolutionConfig
from hfpose.models.temporal_convolution.modeling_temporal_convolution import TemporalConvolutionForPoseLifting

IMAGE, VIDEO = "image-pose-lift_tcn_8xb64-200e_h36m", "video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m"


@pytest.fixture(scope="session", params=[IMAGE, VIDEO])
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden("pose3d", request.param)


@pytest.fixture(scope="session")
def small_model() -> TemporalConvolutionForPoseLifting:
    """Random weights with which every frame of nine counts."""
    torch.manual_seed(0)
    model = TemporalConvolutionForPoseLifting(TemporalConvolutionConfig(hidden_size=16, kernel_sizes=(3, 3))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model
