"""What is learned is what is measured: labels of training and decoding of pipelines agree to the pixel.

Small models learn a few images by heart, without augmentation, and are then measured on them through files.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import hfpose
from hfpose.annotations import image_boxes, pose_instances, read_coco
from hfpose.evaluation.evaluation_run import evaluate_detector, evaluate_pose_pipeline
from hfpose.models.backbones.resnet import ResNetBackboneConfig
from hfpose.pipelines import PoseEstimationPipeline
from hfpose.pipelines.stage import Stage
from hfpose.training.augmentation import FittedImages, PersonCrops
from hfpose.training.collators import DetectionCollator, PoseCollator
from hfpose.training.datasets import AnnotatedImages, AnnotatedPeople, SampleStream
from hfpose.training.training_run import TrainingSettings, train
from rendered_people.scene_files import write_scenes

SETTINGS = TrainingSettings(
    num_steps=40, batch_size=6, learning_rate=1e-2, weight_decay=0.0, warmup_steps=5, average_decay=0.9,
    num_workers=0, log_steps=50, save_steps=1000, use_cpu=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Annotation file of two scenes."""
    return write_scenes(tmp_path_factory.mktemp("scenes"), range(60, 62))


def test_keypoints_learned_by_heart_are_found_where_they_are(scenes, tmp_path):
    schema = hfpose.load_schema("coco")
    coco = read_coco(scenes)
    people = AnnotatedPeople(pose_instances(coco, schema))
    torch.manual_seed(1)
    model = hfpose.RTMPoseForPoseEstimation(
        hfpose.RTMPoseConfig(
            backbone_config=ResNetBackboneConfig(
                stem_channels=8, base_channels=8, depths=(1, 1, 1, 1), block_type="basic"
            ),
            image_size=(96, 64), hidden_size=64, attention_size=32,
            simcc_sigma=(2.0, 2.0), keypoint_schema=schema.to_dict(), num_labels=17,
        )
    )  # fmt: skip
    processor = hfpose.RTMPoseImageProcessor(size={"height": 96, "width": 64})
    stream = SampleStream(people, PersonCrops(processor, schema, None), SETTINGS.num_steps * SETTINGS.batch_size)
    train(model, stream, PoseCollator(processor), tmp_path, SETTINGS)
    run = evaluate_pose_pipeline(PoseEstimationPipeline(Stage(model, processor)), coco, "annotations")
    assert run.metrics["AP"] > 0.9
    assert run.metrics["PCK@0.05"] > 0.95


@pytest.mark.slow
def test_boxes_learned_by_heart_are_found_where_they_are(scenes, tmp_path):
    coco = read_coco(scenes)
    images = AnnotatedImages(image_boxes(coco, {1: 0}))
    torch.manual_seed(0)
    config = hfpose.RTMDetConfig(
        depth_multiplier=0.167, width_multiplier=0.125, neck_size=32, num_neck_blocks=1, id2label={0: "person"}
    )
    model = hfpose.RTMDetForObjectDetection(config)
    processor = hfpose.RTMDetImageProcessor(size={"height": 128, "width": 128})
    settings = replace(SETTINGS, num_steps=200, batch_size=2, learning_rate=6e-3)
    stream = SampleStream(images, FittedImages(processor, None), settings.num_steps * settings.batch_size)
    train(model, stream, DetectionCollator(processor), tmp_path, settings)
    run = evaluate_detector(Stage(model, processor), coco)
    assert run.metrics["AP"] > 0.6
