"""RTMPose learns: labels in, loss out."""

from __future__ import annotations

import pytest
import torch

from hfpose.hub.zoo import get_entry
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.models.rtmpose.configuration_rtmpose import RTMPoseConfig
from hfpose.models.rtmpose.convert_rtmpose import config_from_reference
from hfpose.models.rtmpose.modeling_rtmpose import RTMPoseForPoseEstimation
from hfpose.models.shared.losses import simcc_loss
from networks import losses_of_steps


@pytest.fixture
def model() -> RTMPoseForPoseEstimation:
    torch.manual_seed(0)
    config = RTMPoseConfig(
        backbone_config=ResNetBackboneConfig(stem_channels=8, base_channels=8, depths=(1, 1, 1, 1), block_type="basic"),
        image_size=(64, 64), hidden_size=64, attention_size=32,
        num_labels=5, simcc_sigma=(2.0, 2.0),
    )  # fmt: skip
    return RTMPoseForPoseEstimation(config)


def test_no_labels_no_loss(model):
    assert model(torch.zeros(1, 3, 64, 64)).loss is None


def test_the_loss_is_that_of_the_outputs_with_the_settings_of_the_configuration(model):
    model.config.simcc_beta, model.config.simcc_label_beta = 3.0, 7.0
    labels, weights = torch.rand(2, 5, 2) * 64, torch.rand(2, 5)
    output = model(torch.rand(2, 3, 64, 64), labels=labels, keypoint_weights=weights)
    expected = simcc_loss(
        output.simcc_x, output.simcc_y, labels, weights,
        split_ratio=2.0, sigma=(2.0, 2.0), beta=3.0, label_softmax=True, label_beta=7.0,
    )  # fmt: skip
    torch.testing.assert_close(output.loss, expected)
    assert model(torch.rand(2, 3, 64, 64), labels=labels, return_dict=False)[0].ndim == 0


def test_a_keypoint_of_weight_zero_teaches_nothing(model):
    labels, weights = torch.rand(2, 5, 2) * 64, torch.ones(2, 5)
    weights[:, 3] = 0
    elsewhere = labels.clone()
    elsewhere[:, 3] = 1
    crops = torch.rand(2, 3, 64, 64)
    model.eval()
    first = model(crops, labels=labels, keypoint_weights=weights).loss
    assert first == model(crops, labels=elsewhere, keypoint_weights=weights).loss
    assert first != model(crops, labels=elsewhere).loss


def test_a_few_steps_on_eight_samples_find_their_keypoints(model):
    torch.manual_seed(1)
    crops, labels = torch.randn(8, 3, 64, 64), torch.randint(4, 60, (8, 5, 2)).float()
    losses = losses_of_steps(model, 30, 6e-3, pixel_values=crops, labels=labels)
    assert losses[-1] < 0.1 * losses[0]
    output = model(crops)  # in training mode, with the statistics of these samples
    found = torch.stack((output.simcc_x.argmax(-1), output.simcc_y.argmax(-1)), -1) / 2
    assert float((found - labels).norm(dim=-1).mean()) < 1


def test_the_settings_of_a_custom_model_reach_the_loss():
    reference = get_entry("rtmpose-s_8xb256-420e_coco-256x192").reference
    config = config_from_reference(reference, None)
    assert (config.simcc_beta, config.simcc_label_softmax, config.simcc_label_beta) == (10.0, True, 10.0)
    reference["head"]["loss"] = {"type": "KLDiscretLoss", "use_target_weight": True, "beta": 2.0, "label_beta": 5.0}
    config = config_from_reference(reference, None)
    assert (config.simcc_beta, config.simcc_label_softmax, config.simcc_label_beta) == (2.0, False, 5.0)
