"""Object detectors of transformers as the first stage."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import (
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    YolosConfig,
    YolosForObjectDetection,
)

import hfpose

LABELS = {0: "car", 1: "person"}


def rt_detr() -> RTDetrForObjectDetection:
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1], layer_type="basic", out_features=None,
        out_indices=[2, 3, 4],
    )  # fmt: skip
    config = RTDetrConfig(
        backbone_config=backbone,
        encoder_in_channels=[16, 16, 16],
        encoder_hidden_dim=16,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=20,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=1,
        decoder_attention_heads=2,
        num_denoising=0,
        id2label=LABELS,
    )
    return RTDetrForObjectDetection(config)


def yolos() -> YolosForObjectDetection:
    config = YolosConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=[64, 64],
        num_detection_tokens=10,
        id2label=LABELS,
    )
    model = YolosForObjectDetection(config)
    model.class_labels_classifier.layers[-1].bias.data[1] = 5  # every box is a person's
    return model


PROCESSORS = {
    "RTDetrImageProcessor": {"size": {"height": 64, "width": 64}, "do_normalize": False},
    "YolosImageProcessor": {"size": {"height": 64, "width": 64}},
}


@pytest.mark.parametrize(("make", "processor"), [(rt_detr, "RTDetrImageProcessor"), (yolos, "YolosImageProcessor")])
def test_a_detector_of_transformers_finds_boxes(make, processor, tiny_pose, tmp_path):
    torch.manual_seed(0)
    make().save_pretrained(tmp_path)
    settings = {"image_processor_type": processor, **PROCESSORS[processor]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    pipe = hfpose.pipeline("pose-estimation", model=tiny_pose, detector=tmp_path, detector_labels=["person"])
    images = [np.random.default_rng(seed).integers(0, 256, (90, 120, 3), dtype=np.uint8) for seed in range(2)]
    outputs = list(pipe(images, box_threshold=0.01, batch_size=2))
    assert all(output.num_instances > 0 for output in outputs)
    assert pipe.detector.label_ids == [1]
    boxes = np.concatenate([output.boxes for output in outputs])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    alone = pipe(images[1], box_threshold=0.01)
    np.testing.assert_allclose(outputs[1].boxes, alone.boxes, atol=1e-2)
