"""MotionBERT frame by frame."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from hfpose.models.motionbert.configuration_motionbert import MotionBertConfig
from hfpose.models.motionbert.modeling_motionbert import MotionBertForPoseLifting
from hfpose.models.motionbert.online_motionbert import OnlineMotionBert

FRAMES = 8


def small_model(**settings: Any) -> MotionBertForPoseLifting:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "representation_size": 16}
    model = MotionBertForPoseLifting(MotionBertConfig(**sizes, max_frames=FRAMES, **settings)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def online(model: MotionBertForPoseLifting, people: int) -> OnlineMotionBert:
    network = OnlineMotionBert(model, FRAMES)
    for _ in range(people):
        network.add_row()
    return network


@pytest.mark.parametrize("settings", [{}, {"use_attention_fusion": False, "qkv_bias": False}, {"hidden_act": "relu"}])
def test_all_frames_at_once_are_the_clip(settings: dict[str, Any]) -> None:
    model, clips = small_model(**settings), torch.rand(2, FRAMES, 17, 3)
    with torch.inference_mode():
        expected = model(clips).keypoints_3d
    torch.testing.assert_close(online(model, 2)(clips, [0, 1]), expected, rtol=0, atol=1e-5)


def test_asking_for_some_frames_changes_nothing() -> None:
    network, clips = online(small_model(), 1), torch.rand(1, FRAMES, 17, 3)
    expected = network(clips, [0])
    network.lengths[0] = 0
    torch.testing.assert_close(network(clips, [0], slice(2, 5)), expected[:, 2:5], rtol=0, atol=1e-6)


def test_people_with_other_frames_before_go_through_the_network_together() -> None:
    model, clips = small_model(), torch.rand(3, FRAMES, 17, 3)
    alone, together = online(model, 3), online(model, 3)
    for network in (alone, together):
        for row, before in enumerate((1, 1, 3)):
            network(clips[row : row + 1, :before], [row])
    new = clips[:, 4:6]
    expected = torch.cat([alone(new[row : row + 1], [row]) for row in range(3)])
    torch.testing.assert_close(together(new, [0, 1, 2]), expected, rtol=0, atol=1e-6)
    assert together.lengths == [3, 3, 5]
