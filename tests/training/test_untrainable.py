"""Models without a loss are refused when a `Trainer` is made of them."""

from __future__ import annotations

import pytest
from transformers import Trainer, TrainingArguments

import hfpose
from hfpose.errors import ConfigError
from small_models import small_model


def _edpose():
    backbone = {"model_type": "resnet_backbone", "stem_channels": 4, "base_channels": 4, "depths": (1, 1, 1, 1)}
    config = hfpose.EDPoseConfig(
        backbone_config={**backbone, "block_type": "basic", "out_indices": [2, 3, 4]}, hidden_size=32,
        num_attention_heads=4, num_norm_groups=4, intermediate_size=32, num_encoder_layers=1, num_decoder_layers=3,
        num_queries=20, num_instances=4,
    )  # fmt: skip
    return hfpose.EDPoseForPoseEstimation(config)


@pytest.mark.parametrize("name", ["SSDLiteForObjectDetection", "InterNetForHandPose", "EDPoseForPoseEstimation"])
def test_the_trainer_is_not_even_made(name, tmp_path):
    model = _edpose() if name.startswith("EDPose") else small_model(name.split("For")[0].lower())[0]
    with pytest.raises(ConfigError, match=rf"^{name} computes no loss, so it cannot be trained, only used\.$"):
        Trainer(model, TrainingArguments(str(tmp_path), use_cpu=True, report_to="none"))
