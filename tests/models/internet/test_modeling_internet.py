from __future__ import annotations

import numpy as np
import pytest
import torch

from golden import Golden, relative_error
from hfpose.errors import ConfigError
from hfpose.models.internet.configuration_internet import InterNetConfig
from hfpose.models.internet.modeling_internet import InterNetForHandPose


def test_outputs_are_those_of_the_reference(seeded_model: InterNetForHandPose, golden: Golden) -> None:
    with torch.no_grad():
        outputs = seeded_model(golden.network_input(1, 3, 256, 256))
    assert outputs.heatmaps.shape == (1, 42, 64, 64, 64)
    assert relative_error(outputs.heatmaps[:, ::2, ::8, ::8, ::8], golden.arrays["raw/heatmap3d_stride4"]) < 1e-4
    np.testing.assert_allclose(outputs.root_depth.numpy(), golden.arrays["raw/out.1"], rtol=1e-5)
    np.testing.assert_allclose(outputs.hand_type.numpy(), golden.arrays["raw/out.2"], rtol=1e-5)


def test_shapes_follow_the_configuration(small_model: InterNetForHandPose) -> None:
    outputs = small_model(torch.randn(2, 3, 64, 96))
    assert outputs.heatmaps.shape == (2, 42, 5, 8, 12)
    assert outputs.root_depth.shape == (2, 1)
    assert outputs.hand_type.shape == (2, 2)
    assert (outputs.root_depth >= 0).all() and (outputs.root_depth <= 5).all()


def test_right_hand_comes_first(small_model: InterNetForHandPose) -> None:
    pixels = torch.randn(1, 3, 64, 64)
    before = small_model(pixels).heatmaps
    with torch.no_grad():
        small_model.head.right_hand.projection.bias += 1
        after = small_model(pixels).heatmaps
        small_model.head.right_hand.projection.bias -= 1
    assert (after[:, :21] != before[:, :21]).all()
    assert (after[:, 21:] == before[:, 21:]).all()


def test_return_dict_false_gives_a_tuple(small_model: InterNetForHandPose) -> None:
    assert len(small_model(torch.randn(1, 3, 64, 64), return_dict=False)) == 3


def test_hands_have_the_same_number_of_keypoints() -> None:
    assert InterNetConfig().keypoint_schema["name"] == "interhand3d"
    assert InterNetConfig().id2label[41] == "left_wrist"
    with pytest.raises(ConfigError, match=r"finds 21 keypoints.*even number"):
        InterNetConfig(num_labels=21)
