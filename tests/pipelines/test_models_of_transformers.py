"""Pipelines of transformers' own pose models, and what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file
from transformers import Sapiens2Config, SuperGlueConfig, SuperPointConfig

import hfpose
from hfpose.errors import ConfigError, InputError
from hfpose.models.sapiens2.image_processing_sapiens2 import Sapiens2ImageProcessor

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def sapiens2(tmp_path_factory) -> Path:
    """A small Sapiens2 of 308 keypoints, as on the Hub: with the settings of transformers' image processor."""
    folder = tmp_path_factory.mktemp("sapiens2")
    config = Sapiens2Config(
        image_size=(64, 48), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        num_register_tokens=2, num_labels=308,
        head_config={"upsample_out_channels": [8, 8], "conv_out_channels": [8], "conv_kernel_sizes": [1]},
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.Sapiens2ForPoseEstimation(config).save_pretrained(folder)
    Sapiens2ImageProcessor(size={"height": 64, "width": 48}).save_pretrained(folder)
    return folder


def test_sapiens2_has_names_groups_and_mirror_pairs(sapiens2):
    people = hfpose.pipeline("pose-estimation", model=sapiens2, detector="whole_image", device="cpu")(
        IMAGE, flip_test=True
    )
    schema = people.schema
    assert people.keypoints.shape == (1, 308, 2)
    assert np.isfinite(people.keypoints).all()
    assert people[0]["left_wrist"].shape == (2,)
    assert {name: len(ids) for name, ids in schema.groups.items()} == {
        "body": 17, "foot": 6, "left_hand": 20, "right_hand": 20, "extra": 7, "face": 238,
    }  # fmt: skip
    assert sorted(sum(schema.groups.values(), ())) == list(range(308))
    assert schema.keypoint_names[schema.flip_indices[schema.index("left_thumb4")]] == "right_thumb4"
    assert people.draw(IMAGE).shape == IMAGE.shape


def test_sapiens2_in_the_pipeline_of_transformers(sapiens2):
    expected = hfpose.pipeline("pose-estimation", model=sapiens2, detector="whole_image", device="cpu")(IMAGE)
    pipe = transformers.pipeline("pose-estimation", model=str(sapiens2), detector="whole_image", device="cpu")
    assert type(pipe.image_processor) is Sapiens2ImageProcessor
    (found,) = pipe(IMAGE)
    places = [(point["x"], point["y"]) for point in found["keypoints"]]
    np.testing.assert_allclose(places, expected.keypoints[0], rtol=1e-5, atol=1e-4)


def test_sapiens2_of_another_task_is_no_pose_model(tmp_path, sapiens2):
    config = Sapiens2Config.from_pretrained(sapiens2)
    transformers.Sapiens2ForSemanticSegmentation(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="Sapiens2ForSemanticSegmentation model; expected a pose model"):
        hfpose.pipeline("pose-estimation", model=tmp_path)


@pytest.mark.parametrize("config", [SuperPointConfig(), SuperGlueConfig()], ids=lambda config: config.model_type)
def test_points_of_interest_are_no_keypoints(config, tmp_path):
    config.save_pretrained(tmp_path)
    save_file({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="points of interest for matching two images"):
        hfpose.pipeline("pose-estimation", model=tmp_path)


def test_experts_for_a_data_set_are_chosen_in_a_call_of_the_model(tmp_path):
    """`dataset_index` stays transformers' own; the pipeline takes COCO's experts."""
    from small_models import small_model

    model, processor = small_model("vitpose-experts")
    pipe = hfpose.pipeline(
        "pose-estimation", model=model, image_processor=processor, detector="whole_image", device="cpu"
    )
    inputs = processor(IMAGE, return_tensors="pt")
    with torch.no_grad():
        expected, other = (model(**inputs, dataset_index=torch.tensor([index])) for index in (0, 2))
    whole = np.array([[0, 0, IMAGE.shape[1], IMAGE.shape[0]]], np.float32)
    np.testing.assert_allclose(pipe(IMAGE).keypoints, processor.decode(expected, whole)[0], atol=1e-3)
    assert not np.allclose(processor.decode(other, whole)[0], processor.decode(expected, whole)[0], atol=1)


def test_the_image_processor_is_an_object_or_a_folder(sapiens2):
    pipe = hfpose.pipeline(
        "pose-estimation", sapiens2, image_processor=sapiens2, detector="whole_image", device="cpu", use_fast=False
    )
    assert type(pipe.estimator.stage.image_processor) is Sapiens2ImageProcessor
    with pytest.raises(InputError, match="image_processor is 5"):
        hfpose.pipeline("pose-estimation", sapiens2, image_processor=5)
