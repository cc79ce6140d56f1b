"""YOLOX-Pose as a model of transformers."""

from __future__ import annotations

import torch

from small_models import small_model


def test_the_loss_is_the_first_of_a_tuple():
    model, _ = small_model("yolox_pose")
    labels = {
        "boxes": torch.tensor([[8.0, 8, 40, 56]]),
        "keypoints": torch.rand(1, 17, 2) * 40 + 8,
        "keypoint_weights": torch.ones(1, 17),
        "areas": torch.tensor([900.0]),
    }
    images = torch.rand(1, 3, 64, 64) * 255
    given = model(images, labels=[labels], return_dict=False)
    torch.testing.assert_close(given[0], model(images, labels=[labels]).loss)
