"""Models that find people without a detector learn from images with all their instances."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import hfpose
from coco_files import write_people
from hfpose import pipeline
from hfpose.annotations import pose_instances, read_coco
from hfpose.hub.resolve import PACKAGED_SCENES
from hfpose.models.shared.one_stage_losses import keypoint_sigmas, normalized, similarity
from hfpose.training.augmentation import FittedInstances, InstanceAugmentation, InstancesSample, PixelAugmentation
from hfpose.training.collators import InstanceCollator
from hfpose.training.datasets import AnnotatedInstances
from hfpose.training.fine_tuning import FineTuning, fine_tune
from small_models import small_model

SCHEMA = hfpose.load_schema("coco")


def scenes(processor, count: int):
    """A batch of scenes that come with hfpose."""
    instances = pose_instances(read_coco(PACKAGED_SCENES / "annotations.json"), SCHEMA)
    data, make = AnnotatedInstances(instances), FittedInstances(processor, SCHEMA, None)
    rng = np.random.default_rng(0)
    return InstanceCollator(processor)([make(data.load(index, rng), rng, 0.0) for index in range(count)])


@pytest.mark.slow
def test_rtmo_finds_people_after_training_whom_it_did_not_find_before():
    torch.manual_seed(0)
    config = hfpose.RTMOConfig(
        backbone_config={
            "model_type": "csp_darknet_backbone", "depth_multiplier": 0.1, "width_multiplier": 0.25,
            "out_indices": [2, 3, 4],
        },
        hidden_size=64, num_attention_heads=2, intermediate_size=64, fusion_size=32, head_size=32, pose_branch_size=64,
        num_pose_groups=4, pose_size=64, token_size=32, num_bins=(48, 64), bin_size=32, attention_size=32,
        num_candidates=60, max_instances=30, uses_pose_targets=False, oks_loss_weight=30.0, coordinate_loss_weight=1.0,
        id2label=dict(enumerate(SCHEMA.keypoint_names)), keypoint_schema=SCHEMA.to_dict(),
    )  # fmt: skip
    model, processor = (
        hfpose.RTMOForPoseEstimation(config),
        hfpose.RTMOImageProcessor(size={"height": 128, "width": 128}),
    )
    batch = scenes(processor, 2)

    def best_similarities() -> list[float]:
        """OKS of each person with the most similar one of those that are found."""
        with torch.inference_mode():
            outputs = model.eval()(pixel_values=batch["pixel_values"])
        values = []
        for found, true in zip(processor.instances(outputs, [(128, 128)] * 2, 0.3), batch["labels"], strict=True):
            if len(found.boxes) == 0:
                values += [0.0] * len(true["boxes"])
                continue
            keypoints = torch.from_numpy(found.keypoints)[:, None]
            sigmas = keypoint_sigmas(config, keypoints.device)
            parts = similarity(
                keypoints, true["keypoints"], normalized(true["keypoint_weights"]), true["areas"], sigmas
            )
            values += parts.sum(-1).amax(0).tolist()
        return values

    assert max(best_similarities()) == 0
    optimizer = torch.optim.AdamW(model.train().parameters(), lr=3e-3)
    for step in range(70):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 10) * (1 - 0.95 * step / 70)
        optimizer.zero_grad()
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10)
        optimizer.step()
    found = best_similarities()
    assert len(found) == 5
    assert min(found) > 0.5


@pytest.mark.parametrize("name", ["rtmo", "yolox_pose"])
def test_every_parameter_learns_and_images_without_people_are_fine(name):
    model, _ = small_model(name)
    model.train()
    rng = torch.Generator().manual_seed(0)
    labels = [
        {
            "boxes": torch.tensor([[8.0, 8.0, 40.0, 56.0]]),
            "keypoints": torch.rand(1, 17, 2, generator=rng) * 32 + 8,
            "keypoint_weights": torch.ones(1, 17),
            "areas": torch.tensor([800.0]),
        },
        {
            "boxes": torch.zeros(0, 4),
            "keypoints": torch.zeros(0, 17, 2),
            "keypoint_weights": torch.zeros(0, 17),
            "areas": torch.zeros(0),
        },
    ]
    images = torch.rand(2, 3, 64, 64, generator=rng) * 255
    model(images, labels=labels).loss.backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []
    model.zero_grad()
    empty = model(images, labels=labels[1:] * 2).loss
    empty.backward()
    assert torch.isfinite(empty)


@pytest.mark.parametrize("name", ["rtmo", "yolox_pose"])
def test_fine_tuning_writes_a_folder_that_pipelines_load(name, tmp_path):
    model, processor = small_model(name)
    model.save_pretrained(tmp_path / "before")
    processor.save_pretrained(tmp_path / "before")
    (tmp_path / "data").mkdir()
    data = write_people(tmp_path / "data")
    task = FineTuning(
        str(tmp_path / "before"), data, tmp_path / "after", num_steps=2, batch_size=2, num_workers=0, use_cpu=True,
        validation_data=data,
    )  # fmt: skip
    messages: list[str] = []
    fine_tune(task, tell=messages.append)
    assert any(message.startswith("Training pose model on 4 samples") for message in messages)
    assert messages[-1].startswith("On people.json, boxes of its own: AP ")
    assert json.loads((tmp_path / "after" / "config.json").read_text())["model_type"] == name
    pipe = pipeline("pose-estimation", model=tmp_path / "after", device="cpu")
    assert pipe(np.zeros((32, 32, 3), np.uint8)).keypoints.shape[1:] == (17, 2)


def test_an_unchanged_image_is_the_image_processors():
    processor = hfpose.RTMOImageProcessor(size={"height": 64, "width": 64})
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    keypoints = np.array([[[10.0, 5.0]] * 17])
    sample = InstancesSample(image, np.array([[0.0, 0.0, 50.0, 30.0]]), keypoints, np.ones((1, 17)), np.array([100.0]))
    fitted = FittedInstances(processor, SCHEMA, None)(sample, np.random.default_rng(0))
    expected = processor(image, return_tensors="pt")["pixel_values"]
    assert torch.equal(processor.normalize_pixels(fitted["image"][None]), expected)
    # 64 / 50 times as large, and in the middle of 64 rows.
    np.testing.assert_allclose(fitted["keypoints"][0, 0], [12.8, 5 * 1.28 + (64 - 30 * 1.28) / 2], rtol=1e-6)
    np.testing.assert_allclose(fitted["boxes"][0], [0, (64 - 38.4) / 2, 64, (64 + 38.4) / 2], rtol=1e-6)
    np.testing.assert_allclose(fitted["areas"], [100 * 1.28**2], rtol=1e-6)


def test_a_mirrored_image_swaps_left_and_right_and_leaves_out_what_is_outside():
    processor = hfpose.RTMOImageProcessor(size={"height": 64, "width": 64})
    flip = InstanceAugmentation(
        flip_probability=1.0, scale_range=(1.0, 1.0), shift=0.0, rotation=0.0, pixels=PixelAugmentation(0, 0, 0)
    )
    keypoints = np.full((2, 17, 2), 20.0)
    keypoints[0, 5], keypoints[0, 6] = (10, 20), (30, 40)  # left and right shoulder
    keypoints[1] = 500.0
    boxes = np.array([[5.0, 5, 35, 45], [5.0, 5, 35, 45]])
    sample = InstancesSample(np.zeros((64, 64, 3), np.uint8), boxes, keypoints, np.ones((2, 17)), np.ones(2))
    fitted = FittedInstances(processor, SCHEMA, flip)(sample, np.random.default_rng(0))
    assert len(fitted["boxes"]) == 1
    np.testing.assert_allclose(fitted["keypoints"][0, 6], [54, 20], atol=1e-5)
    np.testing.assert_allclose(fitted["keypoints"][0, 5], [34, 40], atol=1e-5)
    np.testing.assert_allclose(fitted["boxes"][0], [29, 5, 59, 45], atol=1e-5)
